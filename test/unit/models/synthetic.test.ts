import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildDemoModels } from '../../../models/demo/build.ts';
import { readGguf } from '../../../src/models/gguf-reader.ts';
import { describeGguf } from '../../../src/models/model-info.ts';
import { type SyntheticKind, writeSyntheticModel } from '../../../src/models/synthetic.ts';
import { encodeTensor, fromFloat16, toFloat16 } from '../../../src/models/synthetic-quantise.ts';
import { type ModelShapeName, modelShapes, shapedModel } from '../../../src/models/synthetic-shape.ts';
import {
  encodeText,
  isSayable,
  specialTokens,
  tokenizerMetadata,
  vocabularySize,
} from '../../../src/models/synthetic-tokenizer.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const folder = await temporaryFolder();
const kinds: SyntheticKind[] = ['dense', 'moe', 'embedding', 'rerank'];
const KiB = 1024;

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

describe('made models', () => {
  it.each(kinds)('%s: equal seeds give equal bytes, others not', async (kind) => {
    const digests: string[] = [];
    for (const seed of [1, 1, 2]) {
      const path = join(folder, `${kind}.gguf`);
      await writeSyntheticModel(path, kind, seed);
      digests.push(await sha256(path));
    }
    expect(digests[0]).toBe(digests[1]);
    expect(digests[0]).not.toBe(digests[2]);
  });

  it.each([
    ['dense', ['chat', 'completion']],
    ['moe', ['chat', 'completion']],
    ['embedding', ['embedding']],
    ['rerank', ['rerank']],
  ] as const)('%s is good for %j', async (kind, uses) => {
    const path = join(folder, `${kind}.gguf`);
    await writeSyntheticModel(path, kind, 1);
    expect([...describeGguf(await readGguf(path)).uses]).toEqual(uses);
  });
});

describe('the demo models made from seeds', () => {
  it('are byte for byte what lies in models/demo, and small', async () => {
    const demo = join(import.meta.dirname, '../../../models/demo');
    const files = await buildDemoModels(folder);
    expect(files).toContain('demo-embed.gguf');
    for (const file of files) {
      expect(await sha256(join(folder, file)), file).toBe(await sha256(join(demo, file)));
      expect((await stat(join(folder, file))).size).toBeLessThan(300 * KiB);
    }
  });
});

describe('models of real shapes', () => {
  it.each([
    ['0.5B', 0.49],
    ['0.7B', 0.7],
    ['1B', 1.24],
    ['3B', 3.2],
    ['8B', 8.03],
  ] as const satisfies ReadonlyArray<[ModelShapeName, number]>)(
    '%s has %f billion parameters',
    (size, billions) => {
      const content = shapedModel('test', modelShapes[size], 1);
      const elements = content.tensors.map(({ dimensions }) => dimensions.reduce((a, b) => a * b, 1));
      expect(elements.reduce((a, b) => a + b, 0) / 1e9).toBeCloseTo(billions, 1);
    },
  );
});

describe('the byte tokenizer', () => {
  const tokens = tokenizerMetadata().get('tokenizer.ggml.tokens');
  const texts = tokens?.type === 'array' ? (tokens.values ?? []) : [];

  it('has a token for each byte under its own number, then the special ones', () => {
    expect(texts).toHaveLength(vocabularySize);
    expect(new Set(texts).size).toBe(vocabularySize);
    expect(texts[0x41]).toBe('A');
    expect(texts[0x20]).toBe('\u0120');
    expect(texts[0x0a]).toBe('\u010a');
    expect(texts[0xff]).toBe('\u00ff');
    expect(texts.slice(256, 260)).toEqual(['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|pad|>']);
    expect(specialTokens).toEqual({ endOfText: 256, messageStart: 257, messageEnd: 258, padding: 259 });
  });

  it('gives the bytes of a text', () => {
    expect(encodeText('é!')).toEqual([0xc3, 0xa9, 0x21]);
  });

  it('says printable ASCII and the ends only', () => {
    const sayable = Array.from({ length: vocabularySize }, (_, id) => id).filter(isSayable);
    expect(sayable).toEqual([...Array.from({ length: 95 }, (_, index) => 32 + index), 256, 258]);
  });
});

describe('quantising', () => {
  it('keeps every half-precision number', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = fromFloat16(bits);
      if (!Number.isNaN(value)) {
        expect(toFloat16(value)).toBe(bits);
      }
    }
    expect(fromFloat16(toFloat16(Number.NaN))).toBeNaN();
  });

  it('rounds to the nearest half-precision number', () => {
    fc.assert(
      fc.property(fc.float({ min: -60_000, max: 60_000, noNaN: true }), (value) => {
        const error = Math.abs(fromFloat16(toFloat16(value)) - value);
        expect(error).toBeLessThanOrEqual(Math.max(2 ** -25, Math.abs(value) * 2 ** -11));
      }),
    );
  });

  const block = fc
    .array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 32, maxLength: 32 })
    .filter((values) => Math.max(...values.map(Math.abs)) > 0.1);

  it('to Q8_0 is wrong by half a step at most', () => {
    fc.assert(
      fc.property(block, (values) => {
        const bytes = Buffer.from(encodeTensor('Q8_0', Float32Array.from(values)));
        const scale = fromFloat16(bytes.readUInt16LE());
        for (const [index, value] of values.entries()) {
          expect(Math.abs(bytes.readInt8(2 + index) * scale - value)).toBeLessThanOrEqual(scale * 0.6);
        }
      }),
    );
  });

  it('to Q4_0 keeps the largest value and is wrong by a step at most', () => {
    fc.assert(
      fc.property(block, (values) => {
        const bytes = Buffer.from(encodeTensor('Q4_0', Float32Array.from(values)));
        const scale = fromFloat16(bytes.readUInt16LE());
        for (const [index, value] of values.entries()) {
          const byte = bytes.readUInt8(2 + (index % 16));
          const nibble = index < 16 ? byte & 0x0f : byte >>> 4;
          expect(Math.abs((nibble - 8) * scale - value)).toBeLessThanOrEqual(Math.abs(scale) * 1.05);
        }
      }),
    );
  });
});
