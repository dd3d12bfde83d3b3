// Reads a safetensors file of 32-bit floats, as models/demo/training/train.py writes it. A developer's
// tool for files made here: it never sees a file from a stranger.
import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { z } from 'zod';
import { assertInvariant } from '../../src/util/errors.ts';

const tensorEntry = z.object({
  dtype: z.literal('F32'),
  shape: z.array(z.number().int().positive()),
  data_offsets: z.tuple([z.number().int(), z.number().int()]),
});

const fileHeader = z
  .object({ __metadata__: z.record(z.string(), z.string()).default({}) })
  .catchall(tensorEntry);

/** A tensor whose last dimension runs fastest, the reverse of GGUF's order. */
export interface FloatTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, FloatTensor>;
}

/** The whole file in memory. Throws when it holds anything but 32-bit floats. */
export async function readSafetensors(path: string): Promise<Safetensors> {
  assertInvariant(endianness() === 'LE', 'the format is little-endian, and so is the machine');
  const bytes = await readFile(path);
  const dataOffset = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = fileHeader.parse(
    JSON.parse(bytes.toString('utf8', 8, dataOffset)),
  );
  const tensors = new Map<string, FloatTensor>();
  for (const [name, { shape, data_offsets }] of Object.entries(entries)) {
    const [start, end] = data_offsets;
    // A copy, because a view of floats must begin at a multiple of four bytes.
    const data = Uint8Array.from(bytes.subarray(dataOffset + start, dataOffset + end));
    tensors.set(name, { shape, values: new Float32Array(data.buffer) });
  }
  return { metadata, tensors };
}
