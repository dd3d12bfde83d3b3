// The vocabulary of the GGUF format: value types, tensor types with their block sizes, and what a read
// file looks like. Only types and tables; gguf-reader.ts and gguf-writer.ts do the work.

/** First four bytes of every GGUF file, read as a little-endian integer. */
export const ggufMagic = 0x46554747;

/** Where tensors are aligned to when `general.alignment` is absent, bytes. */
export const defaultAlignment = 32;

/** Names of the metadata value types, at the index the file stores. */
export const ggufValueTypes = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
] as const;

export type GgufValueType = (typeof ggufValueTypes)[number];

/** Bytes of one value of a type whose values all have the same size. */
export const scalarSizes = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  uint64: 8,
  int64: 8,
  float64: 8,
} as const satisfies Partial<Record<GgufValueType, number>>;

export type GgufScalarType = keyof typeof scalarSizes;

/** Whether values of this type have a fixed size: all but strings and arrays. */
export function isScalarType(type: GgufValueType): type is GgufScalarType {
  return Object.hasOwn(scalarSizes, type);
}

/** A metadata value with the type it has in the file. 64-bit integers are bigints. */
export type GgufValue = GgufScalar | GgufString | GgufArray;

export type GgufScalar =
  | { readonly type: Exclude<GgufScalarType, 'bool' | 'uint64' | 'int64'>; readonly value: number }
  | { readonly type: 'uint64' | 'int64'; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean };

export interface GgufString {
  readonly type: 'string';
  readonly value: string;
}

/** An array. A long one stays in the file: `values` is absent then, `count` and `fileOffset` still hold. */
export interface GgufArray {
  readonly type: 'array';
  readonly elementType: GgufValueType;
  readonly count: number;
  /** Where the first element lies in the file; 0 for an array made in memory. */
  readonly fileOffset: number;
  readonly values?: readonly GgufElement[];
}

export type GgufElement = number | bigint | boolean | string | GgufArray;

export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** How one tensor type is stored: `blockElements` consecutive elements of a row take `blockBytes`. */
export interface GgmlType {
  readonly id: number;
  readonly blockElements: number;
  readonly blockBytes: number;
}

const ggmlType = (id: number, blockElements: number, blockBytes: number): GgmlType => ({
  id,
  blockElements,
  blockBytes,
});

/** Every tensor type a file may hold, by ggml's name. Ids that are missing were withdrawn. */
export const ggmlTypes = {
  F32: ggmlType(0, 1, 4),
  F16: ggmlType(1, 1, 2),
  Q4_0: ggmlType(2, 32, 18),
  Q4_1: ggmlType(3, 32, 20),
  Q5_0: ggmlType(6, 32, 22),
  Q5_1: ggmlType(7, 32, 24),
  Q8_0: ggmlType(8, 32, 34),
  Q8_1: ggmlType(9, 32, 36),
  Q2_K: ggmlType(10, 256, 84),
  Q3_K: ggmlType(11, 256, 110),
  Q4_K: ggmlType(12, 256, 144),
  Q5_K: ggmlType(13, 256, 176),
  Q6_K: ggmlType(14, 256, 210),
  Q8_K: ggmlType(15, 256, 292),
  IQ2_XXS: ggmlType(16, 256, 66),
  IQ2_XS: ggmlType(17, 256, 74),
  IQ3_XXS: ggmlType(18, 256, 98),
  IQ1_S: ggmlType(19, 256, 50),
  IQ4_NL: ggmlType(20, 32, 18),
  IQ3_S: ggmlType(21, 256, 110),
  IQ2_S: ggmlType(22, 256, 82),
  IQ4_XS: ggmlType(23, 256, 136),
  I8: ggmlType(24, 1, 1),
  I16: ggmlType(25, 1, 2),
  I32: ggmlType(26, 1, 4),
  I64: ggmlType(27, 1, 8),
  F64: ggmlType(28, 1, 8),
  IQ1_M: ggmlType(29, 256, 56),
  BF16: ggmlType(30, 1, 2),
  TQ1_0: ggmlType(34, 256, 54),
  TQ2_0: ggmlType(35, 256, 66),
  MXFP4: ggmlType(39, 32, 17),
  NVFP4: ggmlType(40, 64, 36),
  Q1_0: ggmlType(41, 128, 18),
  Q2_0: ggmlType(42, 64, 18),
} as const satisfies Record<string, GgmlType>;

export type GgmlTypeName = keyof typeof ggmlTypes;

const namesById = new Map(
  Object.entries(ggmlTypes).map(([name, { id }]) => [id, name as GgmlTypeName] as const),
);

/** The tensor type stored as `id`, if there is one. */
export function ggmlTypeName(id: number): GgmlTypeName | undefined {
  return namesById.get(id);
}

/** Bytes of a tensor, or undefined if its rows are no whole number of blocks. Exact whatever the size. */
export function tensorBytes(type: GgmlTypeName, dimensions: readonly bigint[]): bigint | undefined {
  const { blockElements, blockBytes } = ggmlTypes[type];
  const rowElements = dimensions[0] ?? 1n;
  if (rowElements % BigInt(blockElements) !== 0n) {
    return undefined;
  }
  const elements = dimensions.reduce((product, dimension) => product * dimension, 1n);
  return (elements / BigInt(blockElements)) * BigInt(blockBytes);
}

/** One entry of the tensor table. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlTypeName;
  /** Fastest running dimension first, as in the file. */
  readonly dimensions: readonly number[];
  /** Where the data lies, counted from the start of the file. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** What a GGUF file says of itself. Tensor data stays on disk. */
export interface Gguf {
  readonly path: string;
  readonly version: number;
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  readonly tensors: readonly GgufTensor[];
  /** Where the tensor data begins. */
  readonly dataOffset: number;
  readonly fileSizeBytes: number;
}

/** Number of elements of a tensor. */
export function elementCount(dimensions: readonly number[]): number {
  return dimensions.reduce((product, dimension) => product * dimension, 1);
}

/** `offset` rounded up to a multiple of `alignment`. */
export function alignUp(offset: number, alignment: number): number {
  return Math.ceil(offset / alignment) * alignment;
}
