// Writes GGUF files, version 3, little-endian. Equal content gives equal bytes. Tensor data is asked for
// when its turn comes, so that a model of any size needs no more memory than one chunk.
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { assertInvariant } from '../util/errors.ts';
import {
  alignUp,
  defaultAlignment,
  type GgmlTypeName,
  type GgufArray,
  type GgufMetadata,
  type GgufValue,
  type GgufValueType,
  ggmlTypes,
  ggufMagic,
  ggufValueTypes,
  tensorBytes,
} from './gguf.ts';

/** Bytes of a tensor, whole or in chunks. */
export type TensorData = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A tensor to write. */
export interface TensorContent {
  readonly name: string;
  readonly type: GgmlTypeName;
  /** Fastest running dimension first. */
  readonly dimensions: readonly number[];
  /** Called once, when the tensor's turn comes; gives exactly as many bytes as the tensor has. */
  readonly data: () => TensorData;
}

export interface GgufContent {
  /** Written in the map's order. `general.alignment`, if there, is obeyed. */
  readonly metadata: GgufMetadata;
  readonly tensors: readonly TensorContent[];
}

/** The bytes of the file, chunk by chunk. A chunk is only valid until the next one is asked for. */
export async function* ggufChunks(content: GgufContent): AsyncGenerator<Uint8Array, void, undefined> {
  const alignment = contentAlignment(content.metadata);
  const header = encodeHeader(content, alignment);
  yield header;
  let position = header.length;
  for (const tensor of content.tensors) {
    yield new Uint8Array(alignUp(position, alignment) - position);
    position = alignUp(position, alignment);
    const expected = sizeOf(tensor);
    let written = 0;
    for await (const chunk of chunksOf(tensor.data())) {
      written += chunk.length;
      yield chunk;
    }
    assertInvariant(written === expected, `${tensor.name} has ${written} bytes of data, not ${expected}`);
    position += written;
  }
}

/** Writes the file beside `path` and renames it: a file of that name is always whole. */
export async function writeGguf(
  path: string,
  content: GgufContent,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const partial = `${path}.partial`;
  const handle = await open(partial, 'w');
  try {
    await writeChunks(handle, ggufChunks(content), options.signal).finally(() => handle.close());
    await rename(partial, path);
  } catch (cause) {
    await rm(partial, { force: true });
    throw cause;
  }
}

async function writeChunks(
  handle: FileHandle,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    let written = 0;
    while (written < chunk.length) {
      written += (await handle.write(chunk, written)).bytesWritten;
    }
  }
}

function chunksOf(data: TensorData): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  return data instanceof Uint8Array ? [data] : data;
}

function contentAlignment(metadata: GgufMetadata): number {
  const value = metadata.get('general.alignment');
  return value?.type === 'uint32' ? value.value : defaultAlignment;
}

function sizeOf(tensor: TensorContent): number {
  const bytes = tensorBytes(tensor.type, tensor.dimensions.map(BigInt));
  assertInvariant(bytes !== undefined, `the rows of ${tensor.name} are whole blocks of ${tensor.type}`);
  return Number(bytes);
}

function encodeHeader(content: GgufContent, alignment: number): Uint8Array {
  const writer = new ByteWriter();
  writer.uint32(ggufMagic);
  writer.uint32(3);
  writer.uint64(BigInt(content.tensors.length));
  writer.uint64(BigInt(content.metadata.size));
  for (const [key, value] of content.metadata) {
    writer.string(key);
    writer.type(value.type);
    writeValue(writer, value);
  }
  let offset = 0;
  for (const tensor of content.tensors) {
    writer.string(tensor.name);
    writer.uint32(tensor.dimensions.length);
    for (const dimension of tensor.dimensions) {
      writer.uint64(BigInt(dimension));
    }
    writer.uint32(ggmlTypes[tensor.type].id);
    writer.uint64(BigInt(offset));
    offset = alignUp(offset + sizeOf(tensor), alignment);
  }
  return writer.bytes();
}

function writeValue(writer: ByteWriter, value: GgufValue): void {
  if (value.type === 'array') {
    writeArray(writer, value);
  } else {
    writer.value(value.type, value.value);
  }
}

function writeArray(writer: ByteWriter, array: GgufArray): void {
  assertInvariant(array.values?.length === array.count, 'an array to write holds its values');
  writer.type(array.elementType);
  writer.uint64(BigInt(array.count));
  for (const element of array.values) {
    if (typeof element === 'object') {
      writeArray(writer, element);
    } else {
      writer.value(array.elementType, element);
    }
  }
}

/** A growing buffer of little-endian values. */
class ByteWriter {
  #buffer = Buffer.alloc(64 * 1024);
  #length = 0;

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  type(type: GgufValueType): void {
    this.uint32(ggufValueTypes.indexOf(type));
  }

  uint32(value: number): void {
    this.#append(4, (buffer, at) => buffer.writeUInt32LE(value, at));
  }

  uint64(value: bigint): void {
    this.#append(8, (buffer, at) => buffer.writeBigUInt64LE(value, at));
  }

  string(value: string): void {
    const length = Buffer.byteLength(value);
    this.uint64(BigInt(length));
    this.#append(length, (buffer, at) => buffer.write(value, at));
  }

  value(type: GgufValueType, value: number | bigint | boolean | string): void {
    switch (type) {
      case 'string':
        this.string(String(value));
        break;
      case 'uint8':
      case 'bool':
        this.#append(1, (buffer, at) => buffer.writeUInt8(Number(value), at));
        break;
      case 'int8':
        this.#append(1, (buffer, at) => buffer.writeInt8(Number(value), at));
        break;
      case 'uint16':
        this.#append(2, (buffer, at) => buffer.writeUInt16LE(Number(value), at));
        break;
      case 'int16':
        this.#append(2, (buffer, at) => buffer.writeInt16LE(Number(value), at));
        break;
      case 'uint32':
        this.uint32(Number(value));
        break;
      case 'int32':
        this.#append(4, (buffer, at) => buffer.writeInt32LE(Number(value), at));
        break;
      case 'float32':
        this.#append(4, (buffer, at) => buffer.writeFloatLE(Number(value), at));
        break;
      case 'float64':
        this.#append(8, (buffer, at) => buffer.writeDoubleLE(Number(value), at));
        break;
      case 'uint64':
        this.uint64(BigInt(value));
        break;
      case 'int64':
        this.#append(8, (buffer, at) => buffer.writeBigInt64LE(BigInt(value), at));
        break;
      case 'array':
        assertInvariant(false, 'arrays are written by writeArray');
    }
  }

  /** Makes room for `length` bytes and has them filled. */
  #append(length: number, fill: (buffer: Buffer, at: number) => void): void {
    const end = this.#length + length;
    if (end > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(end, this.#buffer.length * 2));
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    fill(this.#buffer, this.#length);
    this.#length = end;
  }
}
