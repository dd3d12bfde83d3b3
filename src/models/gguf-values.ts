// Making and reading single metadata values. A reader asks for what it needs by key and plain type; a
// value of another type counts as absent, since the file may be anybody's.
import type { GgufArray, GgufElement, GgufMetadata, GgufScalar, GgufString, GgufValueType } from './gguf.ts';

export const uint32Value = (value: number): GgufScalar => ({ type: 'uint32', value });
export const float32Value = (value: number): GgufScalar => ({ type: 'float32', value });
export const boolValue = (value: boolean): GgufScalar => ({ type: 'bool', value });
export const stringValue = (value: string): GgufString => ({ type: 'string', value });

export const arrayValue = (elementType: GgufValueType, values: readonly GgufElement[]): GgufArray => ({
  type: 'array',
  elementType,
  count: values.length,
  fileOffset: 0,
  values,
});

/** The text under `key`. */
export function metadataString(metadata: GgufMetadata, key: string): string | undefined {
  const value = metadata.get(key);
  return value?.type === 'string' ? value.value : undefined;
}

/** The number under `key`, whatever its width; absent if it is none or beyond exact integers. */
export function metadataNumber(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadata.get(key);
  return value === undefined || value.type === 'array' ? undefined : plainNumber(value.value);
}

/** The whole number of at least 0 under `key`. */
export function metadataCount(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadataNumber(metadata, key);
  return isCount(value) ? value : undefined;
}

/** The truth value under `key`. */
export function metadataBoolean(metadata: GgufMetadata, key: string): boolean | undefined {
  const value = metadata.get(key);
  return value?.type === 'bool' ? value.value : undefined;
}

/** The array under `key`, perhaps without its values. */
export function metadataArray(metadata: GgufMetadata, key: string): GgufArray | undefined {
  const value = metadata.get(key);
  return value?.type === 'array' ? value : undefined;
}

/** The counts under `key`: one per element of an array, or a single number for every layer. */
export function metadataCounts(metadata: GgufMetadata, key: string): readonly number[] | undefined {
  const single = metadataCount(metadata, key);
  if (single !== undefined) {
    return [single];
  }
  const numbers = metadataArray(metadata, key)?.values?.map(plainNumber);
  return numbers?.every(isCount) ? numbers : undefined;
}

function isCount(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 0;
}

function plainNumber(value: unknown): number | undefined {
  if (typeof value === 'number') {
    return value;
  }
  const narrow = typeof value === 'bigint' ? Number(value) : undefined;
  return narrow !== undefined && Number.isSafeInteger(narrow) ? narrow : undefined;
}
