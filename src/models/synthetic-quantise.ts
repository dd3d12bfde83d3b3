// Numbers into the tensor formats the made models use: F32, F16, Q8_0 and Q4_0. Plain rounding, the same
// bytes on every platform.
import { assertInvariant } from '../util/errors.ts';
import { ggmlTypes } from './gguf.ts';

/** Tensor types that can be encoded. */
export type EncodableType = 'F32' | 'F16' | 'Q8_0' | 'Q4_0';

/** Encodes whole rows of `values`; quantised types need a multiple of 32. */
export function encodeTensor(type: EncodableType, values: Float32Array): Uint8Array {
  const { blockElements, blockBytes } = ggmlTypes[type];
  assertInvariant(values.length % blockElements === 0, `${values.length} values are whole ${type} blocks`);
  const bytes = new Uint8Array((values.length / blockElements) * blockBytes);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block * blockElements < values.length; block++) {
    const start = block * blockElements;
    encoders[type](values.subarray(start, start + blockElements), view, block * blockBytes);
  }
  return bytes;
}

type BlockEncoder = (values: Float32Array, view: DataView, offset: number) => void;

const encoders: Record<EncodableType, BlockEncoder> = {
  F32: ([value = 0], view, offset) => view.setFloat32(offset, value, true),
  F16: ([value = 0], view, offset) => view.setUint16(offset, toFloat16(value), true),
  Q8_0: encodeQ8Block,
  Q4_0: encodeQ4Block,
};

/** A scale and 32 signed bytes: value = scale x byte. */
function encodeQ8Block(values: Float32Array, view: DataView, offset: number): void {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = largest / 127;
  view.setUint16(offset, toFloat16(scale), true);
  for (const [index, value] of values.entries()) {
    view.setInt8(offset + 2 + index, scale === 0 ? 0 : Math.round(value / scale));
  }
}

/** A scale and 32 nibbles, element j beside element j + 16: value = scale x (nibble - 8). */
function encodeQ4Block(values: Float32Array, view: DataView, offset: number): void {
  const extreme = values.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
  const scale = extreme / -8;
  const nibble = (value: number): number =>
    scale === 0 ? 8 : Math.min(15, Math.max(0, Math.round(value / scale) + 8));
  view.setUint16(offset, toFloat16(scale), true);
  for (let index = 0; index < 16; index++) {
    const low = nibble(values[index] ?? 0);
    const high = nibble(values[index + 16] ?? 0);
    view.setUint8(offset + 2 + index, low | (high << 4));
  }
}

const floatBits = new DataView(new ArrayBuffer(4));

/** The bits of the nearest half-precision number, ties to even; beyond its range infinity. */
export function toFloat16(value: number): number {
  floatBits.setFloat32(0, value);
  const bits = floatBits.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  const fraction = bits & 0x7fffff;
  if (exponent >= 31) {
    const notANumber = exponent === 143 && fraction !== 0;
    return sign | 0x7c00 | (notANumber ? 0x200 : 0);
  }
  if (exponent <= 0) {
    return exponent < -10 ? sign : sign | shiftToEven(fraction | 0x800000, 14 - exponent);
  }
  // A carry out of the fraction rightly raises the exponent.
  return sign | ((exponent << 10) + shiftToEven(fraction, 13));
}

/** The value of a half-precision number's bits. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) {
    return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

function shiftToEven(value: number, bits: number): number {
  const kept = value >>> bits;
  const rest = value & ((1 << bits) - 1);
  const half = 1 << (bits - 1);
  return rest > half || (rest === half && (kept & 1) === 1) ? kept + 1 : kept;
}
