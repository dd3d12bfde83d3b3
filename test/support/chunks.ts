// Bytes cut into chunks as a network may cut them.
import fc from 'fast-check';

/** Sizes of chunks, used over and over: from single bytes to more than any message. */
export const chunkSizes: fc.Arbitrary<number[]> = fc.array(fc.integer({ min: 1, max: 40 }), {
  minLength: 1,
  maxLength: 10,
});

/** `bytes` in chunks of the given sizes. */
export function* chunksOf(
  bytes: Uint8Array,
  sizes: readonly number[],
): Generator<Uint8Array, void, undefined> {
  let start = 0;
  for (let turn = 0; start < bytes.length; turn++) {
    const end = start + (sizes[turn % sizes.length] ?? 1);
    yield bytes.subarray(start, end);
    start = end;
  }
}
