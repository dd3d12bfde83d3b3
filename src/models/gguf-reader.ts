// Reads the header, metadata and tensor table of a GGUF file (versions 2 and 3, little-endian) by ranges.
// The file may be anybody's: what is wrong with it is `gguf_invalid`, naming the field. Never reads tensors.
import { ggufLimits } from '../util/limits/models.ts';
import {
  alignUp,
  defaultAlignment,
  type GgmlTypeName,
  type Gguf,
  type GgufArray,
  type GgufElement,
  type GgufMetadata,
  type GgufScalar,
  type GgufTensor,
  type GgufValue,
  type GgufValueType,
  ggmlTypeName,
  ggufMagic,
  ggufValueTypes,
  isScalarType,
  scalarSizes,
  tensorBytes,
} from './gguf.ts';
import { GgufCursor, ggufInvalid } from './gguf-cursor.ts';
import { openFileRange, type RangeSource } from './range-source.ts';

export interface ReadGgufOptions {
  readonly signal?: AbortSignal;
  /** Longer arrays (vocabularies) stay in the file: only their type, count and place are kept. */
  readonly keepElements?: number;
}

/** Elements of an array that is kept by default: per-layer settings fit, vocabularies do not. */
const defaultKeepElements = 4096;

/** Smallest space one entry takes: an empty key, a type, one byte; an empty name, a count, a type, an offset. */
const metadataEntryBytes = 13;
const tensorEntryBytes = 24;

/** Reads what a GGUF file says of itself. Throws `model_file_missing`, `gguf_invalid` or the signal's reason. */
export async function readGguf(path: string, options: ReadGgufOptions = {}): Promise<Gguf> {
  const source = await openFileRange(path);
  try {
    return await parseGguf(source, path, options);
  } finally {
    await source.close();
  }
}

/** As `readGguf`, from any source of bytes; `path` only names it. */
export async function parseGguf(
  source: RangeSource,
  path: string,
  options: ReadGgufOptions = {},
): Promise<Gguf> {
  const cursor = new GgufCursor(source, path, options.signal);
  const version = await readVersion(cursor);
  const tensorCount = await cursor.count('header.tensor_count', ggufLimits.tensors, tensorEntryBytes);
  const pairCount = await cursor.count('header.metadata_count', ggufLimits.metadataPairs, metadataEntryBytes);
  const metadata = await new MetadataReader(cursor, options.keepElements ?? defaultKeepElements).read(
    pairCount,
  );
  const alignment = readAlignment(metadata, cursor);
  const entries = await readTensorTable(cursor, tensorCount);
  const dataOffset = alignUp(cursor.position, alignment);
  const tensors = entries.map((entry) => placeTensor(entry, { source, path, alignment, dataOffset }));
  refuseOverlaps(tensors, path);
  return { path, version, alignment, metadata, tensors, dataOffset, fileSizeBytes: source.sizeBytes };
}

async function readVersion(cursor: GgufCursor): Promise<number> {
  if ((await cursor.uint32('header.magic')) !== ggufMagic) {
    throw cursor.invalid('header.magic', 'is not "GGUF"', 0);
  }
  const version = await cursor.uint32('header.version');
  if (version === 2 || version === 3) {
    return version;
  }
  // A small number stored the other way round has its low half empty.
  const problem =
    version !== 0 && (version & 0xffff) === 0
      ? 'is big-endian; only little-endian files are read'
      : `is ${version}; only 2 and 3 are read`;
  throw cursor.invalid('header.version', problem, 4);
}

/** Reads metadata pairs and keeps what all of them take in memory under `ggufLimits.metadataBytes`. */
class MetadataReader {
  readonly #cursor: GgufCursor;
  readonly #keepElements: number;
  #budgetBytes: number = ggufLimits.metadataBytes;

  constructor(cursor: GgufCursor, keepElements: number) {
    this.#cursor = cursor;
    this.#keepElements = keepElements;
  }

  async read(pairCount: number): Promise<GgufMetadata> {
    const metadata = new Map<string, GgufValue>();
    for (let index = 0; index < pairCount; index++) {
      const keyField = `metadata[${index}].key`;
      const offset = this.#cursor.position;
      const key = await this.#cursor.string(keyField, ggufLimits.keyBytes, true);
      this.#spend(this.#cursor.position - offset, keyField);
      if (key === '' || metadata.has(key)) {
        const problem = key === '' ? 'is empty' : `appears twice: ${key}`;
        throw this.#cursor.invalid(keyField, problem, offset);
      }
      const field = `metadata[${key}]`;
      metadata.set(key, await this.#value(await this.#valueType(`${field}.type`), field));
    }
    return metadata;
  }

  async #valueType(field: string): Promise<GgufValueType> {
    const offset = this.#cursor.position;
    const id = await this.#cursor.uint32(field);
    const type = ggufValueTypes[id];
    if (type === undefined) {
      throw this.#cursor.invalid(field, `is ${id}, no known value type`, offset);
    }
    return type;
  }

  async #value(type: GgufValueType, field: string): Promise<GgufValue> {
    if (type === 'array') {
      return this.#array(field, 1);
    }
    if (type === 'string') {
      return { type, value: await this.#string(field) };
    }
    return { type, value: await this.#cursor.scalar(type, field) } as GgufScalar;
  }

  async #string(field: string): Promise<string> {
    const offset = this.#cursor.position;
    const value = await this.#cursor.string(field, ggufLimits.stringBytes, false);
    this.#spend(this.#cursor.position - offset, field);
    return value;
  }

  /** `keepElements` of 0 passes over the elements, whatever their number. */
  async #array(field: string, depth: number, keepElements = this.#keepElements): Promise<GgufArray> {
    if (depth > ggufLimits.arrayDepth) {
      throw this.#cursor.invalid(field, `nests arrays deeper than ${ggufLimits.arrayDepth} levels`);
    }
    const elementType = await this.#valueType(`${field}.type`);
    const count = await this.#cursor.count(
      `${field}.count`,
      ggufLimits.arrayElements,
      smallestBytes(elementType),
    );
    const array = { type: 'array', elementType, count, fileOffset: this.#cursor.position } as const;
    if (count > keepElements) {
      await this.#skipElements(elementType, count, field, depth);
      return array;
    }
    this.#spend(count * 8, field);
    const values: GgufElement[] = [];
    for (let index = 0; index < count; index++) {
      values.push(await this.#element(elementType, `${field}[${index}]`, depth));
    }
    return { ...array, values };
  }

  #element(type: GgufValueType, field: string, depth: number): Promise<GgufElement> {
    if (type === 'array') {
      return this.#array(field, depth + 1);
    }
    return type === 'string' ? this.#string(field) : this.#cursor.scalar(type, field);
  }

  async #skipElements(type: GgufValueType, count: number, field: string, depth: number): Promise<void> {
    if (isScalarType(type)) {
      this.#cursor.skip(count * scalarSizes[type], field);
    } else if (type === 'string') {
      await this.#cursor.skipStrings(count, field, ggufLimits.stringBytes);
    } else {
      for (let index = 0; index < count; index++) {
        await this.#array(`${field}[${index}]`, depth + 1, 0);
      }
    }
  }

  /** Counts what is kept; the numbers are near enough, what matters is that there is an end. */
  #spend(bytes: number, field: string): void {
    this.#budgetBytes -= bytes;
    if (this.#budgetBytes < 0) {
      throw this.#cursor.invalid(field, `exceeds the ${ggufLimits.metadataBytes} bytes of metadata kept`);
    }
  }
}

/** The least space an element can take: a string has a length, an array a type and a count. */
function smallestBytes(type: GgufValueType): number {
  if (type === 'string') {
    return 8;
  }
  return type === 'array' ? 12 : scalarSizes[type];
}

function readAlignment(metadata: GgufMetadata, cursor: GgufCursor): number {
  const field = 'metadata[general.alignment]';
  const value = metadata.get('general.alignment');
  if (value === undefined) {
    return defaultAlignment;
  }
  if (value.type !== 'uint32') {
    throw cursor.invalid(field, `is of type ${value.type} instead of uint32`);
  }
  if (value.value === 0 || (value.value & (value.value - 1)) !== 0) {
    throw cursor.invalid(field, `is ${value.value}, no power of two`);
  }
  return value.value;
}

/** A row of the tensor table as the file has it: the offset counts from the start of the data. */
interface TensorEntry {
  readonly field: string;
  readonly tableOffset: number;
  readonly name: string;
  readonly type: GgmlTypeName;
  readonly dimensions: readonly number[];
  readonly sizeBytes: bigint;
  readonly dataOffset: bigint;
}

async function readTensorTable(cursor: GgufCursor, count: number): Promise<TensorEntry[]> {
  const names = new Set<string>();
  const entries: TensorEntry[] = [];
  for (let index = 0; index < count; index++) {
    const entry = await readTensorEntry(cursor, `tensor[${index}]`);
    if (names.has(entry.name)) {
      throw cursor.invalid(`${entry.field}.name`, `appears twice: ${entry.name}`, entry.tableOffset);
    }
    names.add(entry.name);
    entries.push(entry);
  }
  return entries;
}

async function readTensorEntry(cursor: GgufCursor, field: string): Promise<TensorEntry> {
  const tableOffset = cursor.position;
  const name = await cursor.string(`${field}.name`, ggufLimits.tensorNameBytes, true);
  if (name === '') {
    throw cursor.invalid(`${field}.name`, 'is empty', tableOffset);
  }
  const dimensions = await readDimensions(cursor, field);
  const typeOffset = cursor.position;
  const typeId = await cursor.uint32(`${field}.type`);
  const type = ggmlTypeName(typeId);
  if (type === undefined) {
    throw cursor.invalid(`${field}.type`, `is ${typeId}, no known tensor type`, typeOffset);
  }
  const sizeBytes = tensorBytes(type, dimensions);
  if (sizeBytes === undefined) {
    const problem = `is ${dimensions[0]}, no whole number of ${type} blocks`;
    throw cursor.invalid(`${field}.dimensions[0]`, problem, tableOffset);
  }
  const dataOffset = await cursor.uint64(`${field}.offset`);
  return { field, tableOffset, name, type, dimensions: dimensions.map(Number), sizeBytes, dataOffset };
}

async function readDimensions(cursor: GgufCursor, field: string): Promise<bigint[]> {
  const offset = cursor.position;
  const count = await cursor.uint32(`${field}.dimensions`);
  if (count > ggufLimits.dimensions) {
    const problem = `are ${count}, more than the allowed ${ggufLimits.dimensions}`;
    throw cursor.invalid(`${field}.dimensions`, problem, offset);
  }
  const dimensions: bigint[] = [];
  let elements = 1n;
  for (let index = 0; index < count; index++) {
    const dimension = await cursor.uint64(`${field}.dimensions[${index}]`);
    elements *= dimension;
    if (dimension > maxSafe || elements > maxSafe) {
      throw cursor.invalid(`${field}.dimensions[${index}]`, `is ${dimension}: too many elements`, offset);
    }
    dimensions.push(dimension);
  }
  return dimensions;
}

const maxSafe = BigInt(Number.MAX_SAFE_INTEGER);

interface DataSection {
  readonly source: RangeSource;
  readonly path: string;
  readonly alignment: number;
  readonly dataOffset: number;
}

/** The tensor at its place in the file, which must be aligned and inside. */
function placeTensor(entry: TensorEntry, data: DataSection): GgufTensor {
  const { field, name, type, dimensions, tableOffset } = entry;
  if (entry.dataOffset % BigInt(data.alignment) !== 0n) {
    const problem = `is ${entry.dataOffset}, not aligned to ${data.alignment}`;
    throw ggufInvalid(data.path, `${field}.offset`, tableOffset, problem);
  }
  const offset = BigInt(data.dataOffset) + entry.dataOffset;
  if (offset + entry.sizeBytes > BigInt(data.source.sizeBytes)) {
    const problem = `puts ${name} beyond the end of the file (${data.source.sizeBytes} bytes)`;
    throw ggufInvalid(data.path, `${field}.offset`, tableOffset, problem);
  }
  return { name, type, dimensions, offset: Number(offset), sizeBytes: Number(entry.sizeBytes) };
}

function refuseOverlaps(tensors: readonly GgufTensor[], path: string): void {
  const inOrder = [...tensors.entries()].sort(([, one], [, other]) => one.offset - other.offset);
  let end = 0;
  for (const [index, tensor] of inOrder) {
    if (tensor.sizeBytes > 0 && tensor.offset < end) {
      throw ggufInvalid(
        path,
        `tensor[${index}].offset`,
        tensor.offset,
        `lets ${tensor.name} overlap another`,
      );
    }
    end = Math.max(end, tensor.offset + tensor.sizeBytes);
  }
}
