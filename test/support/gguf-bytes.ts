// GGUF files put together by hand, byte by byte, so that tests can make them lie about anything. Knows
// nothing of the writer under test.
import type { RangeSource } from '../../src/models/range-source.ts';

export const u8 = (value: number): Buffer => Buffer.from([value]);

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** A string with its length, which may be another than the true one. */
export function text(value: string | Buffer, claimedLength?: number | bigint): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(claimedLength ?? bytes.length), bytes]);
}

/** Numbers of the value types. */
export const typeId = { uint8: 0, uint32: 4, float32: 6, bool: 7, string: 8, array: 9, uint64: 10 } as const;

/** A metadata pair: key, type, and the value's bytes as they come. */
export function pair(key: string, type: number, ...value: Buffer[]): Buffer {
  return Buffer.concat([text(key), u32(type), ...value]);
}

/** An array's bytes: element type, count, elements. */
export function array(elementType: number, count: number | bigint, ...elements: Buffer[]): Buffer {
  return Buffer.concat([u32(elementType), u64(count), ...elements]);
}

export interface RawTensor {
  readonly name?: string;
  readonly dimensions?: ReadonlyArray<number | bigint>;
  readonly dimensionCount?: number;
  readonly type?: number;
  readonly offset?: number | bigint;
}

/** A row of the tensor table; by default 8 F32 at the start of the data. */
export function tensorEntry(tensor: RawTensor = {}): Buffer {
  const dimensions = tensor.dimensions ?? [8];
  return Buffer.concat([
    text(tensor.name ?? 'weight'),
    u32(tensor.dimensionCount ?? dimensions.length),
    ...dimensions.map(u64),
    u32(tensor.type ?? 0),
    u64(tensor.offset ?? 0),
  ]);
}

export interface RawGguf {
  readonly magic?: string;
  readonly version?: number;
  readonly tensorCount?: number | bigint;
  readonly pairCount?: number | bigint;
  readonly pairs?: readonly Buffer[];
  readonly tensors?: readonly Buffer[];
  /** What the header is padded to. */
  readonly alignment?: number;
  readonly dataBytes?: number;
}

/** A file of these parts. What is not given is right. */
export function rawGguf(file: RawGguf = {}): Buffer {
  const pairs = file.pairs ?? [];
  const tensors = file.tensors ?? [];
  const header = Buffer.concat([
    Buffer.from(file.magic ?? 'GGUF'),
    u32(file.version ?? 3),
    u64(file.tensorCount ?? tensors.length),
    u64(file.pairCount ?? pairs.length),
    ...pairs,
    ...tensors,
  ]);
  const alignment = file.alignment ?? 32;
  const padding = (alignment - (header.length % alignment)) % alignment;
  return Buffer.concat([header, Buffer.alloc(padding), Buffer.alloc(file.dataBytes ?? 0)]);
}

/** Bytes as a file that counts what is read of it. */
export function memorySource(bytes: Uint8Array): RangeSource & { readonly readBytes: number } {
  let readBytes = 0;
  return {
    sizeBytes: bytes.length,
    read(offset, length) {
      const part = bytes.slice(offset, offset + length);
      readBytes += part.length;
      return Promise.resolve(part);
    },
    get readBytes() {
      return readBytes;
    },
  };
}
