import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type GgmlTypeName,
  type GgufArray,
  type GgufElement,
  type GgufValue,
  type GgufValueType,
  ggmlTypes,
  tensorBytes,
} from '../../../src/models/gguf.ts';
import { readGguf } from '../../../src/models/gguf-reader.ts';
import { arrayValue, stringValue, uint32Value } from '../../../src/models/gguf-values.ts';
import {
  type GgufContent,
  ggufChunks,
  type TensorContent,
  writeGguf,
} from '../../../src/models/gguf-writer.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const folder = await temporaryFolder();
const path = join(folder, 'model.gguf');

const elements = {
  uint8: fc.integer({ min: 0, max: 2 ** 8 - 1 }),
  int8: fc.integer({ min: -(2 ** 7), max: 2 ** 7 - 1 }),
  uint16: fc.integer({ min: 0, max: 2 ** 16 - 1 }),
  int16: fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }),
  uint32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  int32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  uint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  float32: fc.float({ noNaN: true }),
  float64: fc.double({ noNaN: true }),
  bool: fc.boolean(),
  string: fc.string({ unit: 'grapheme' }),
} satisfies Partial<Record<GgufValueType, fc.Arbitrary<GgufElement>>>;

const plainTypes = Object.keys(elements) as Array<keyof typeof elements>;

const plainValue = fc
  .constantFrom(...plainTypes)
  .chain((type) => elements[type].map((value) => ({ type, value }) as GgufValue));

const plainArray: fc.Arbitrary<GgufArray> = fc
  .constantFrom(...plainTypes)
  .chain((type) =>
    fc.array<GgufElement>(elements[type], { maxLength: 20 }).map((values) => arrayValue(type, values)),
  );
const nestedArray = fc.array(plainArray, { maxLength: 4 }).map((values) => arrayValue('array', values));

const metadata = fc
  .uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.oneof(plainValue, plainArray, nestedArray)), {
    selector: ([key]) => key,
    maxLength: 12,
  })
  .filter((pairs) => pairs.every(([key]) => key !== 'general.alignment'));

interface Plan {
  readonly name: string;
  readonly type: GgmlTypeName;
  readonly dimensions: readonly number[];
}

const tensorPlan: fc.Arbitrary<Plan> = fc
  .record({
    name: fc.string({ minLength: 1, maxLength: 40 }),
    type: fc.constantFrom(...(Object.keys(ggmlTypes) as GgmlTypeName[])),
    blocks: fc.integer({ min: 0, max: 3 }),
    others: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
  })
  .map(({ name, type, blocks, others }) => ({
    name,
    type,
    dimensions: [blocks * ggmlTypes[type].blockElements, ...others],
  }));

const tensorPlans = fc.uniqueArray(tensorPlan, { selector: ({ name }) => name, maxLength: 8 });

function withData(plan: Plan, index: number): TensorContent & { bytes: Uint8Array } {
  const sizeBytes = Number(tensorBytes(plan.type, plan.dimensions.map(BigInt)));
  const bytes = seededRandom(index).bytes(sizeBytes);
  // Whole, or in two chunks.
  return { ...plan, bytes, data: () => (index % 2 === 0 ? bytes : [bytes.slice(0, 5), bytes.slice(5)]) };
}

/** Values without the place where they were found. */
function withoutOffsets(value: GgufValue | GgufElement): unknown {
  if (typeof value !== 'object' || value.type !== 'array') {
    return value;
  }
  const { fileOffset: _, ...rest } = value;
  return { ...rest, values: value.values?.map(withoutOffsets) };
}

describe('what is written', () => {
  it('is read back equal, whatever it is', async () => {
    await fc.assert(
      fc.asyncProperty(
        metadata,
        tensorPlans,
        fc.constantFrom(8, 32, 256),
        async (pairs, plans, alignment) => {
          const all = new Map<string, GgufValue>([...pairs, ['general.alignment', uint32Value(alignment)]]);
          const tensors = plans.map(withData);
          await writeGguf(path, { metadata: all, tensors });
          const gguf = await readGguf(path);
          expect([...gguf.metadata].map(([key, value]) => [key, withoutOffsets(value)])).toEqual(
            [...all].map(([key, value]) => [key, withoutOffsets(value)]),
          );
          expect(gguf.tensors.map(({ name, type, dimensions }) => ({ name, type, dimensions }))).toEqual(
            plans,
          );
          const file = await readFile(path);
          for (const [index, { offset, sizeBytes }] of gguf.tensors.entries()) {
            const written = tensors[index]?.bytes ?? new Uint8Array();
            expect(file.subarray(offset, offset + sizeBytes).equals(written)).toBe(true);
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('has the same bytes every time', async () => {
    const content = {
      metadata: new Map([['general.name', stringValue('x')]]),
      tensors: [withData({ name: 'a', type: 'F32', dimensions: [8] }, 1)],
    };
    const once = await collect(content);
    const twice = await collect(content);
    expect(once.equals(twice)).toBe(true);
  });

  it('may hold more than the first buffer takes', async () => {
    const words = Array.from({ length: 20_000 }, (_, index) => `word ${index}`);
    await writeGguf(path, { metadata: new Map([['words', arrayValue('string', words)]]), tensors: [] });
    const gguf = await readGguf(path, { keepElements: words.length });
    expect(gguf.metadata.get('words')).toMatchObject({ values: words });
  });

  it('appears only when it is whole', async () => {
    const broken = join(folder, 'broken.gguf');
    const tensors: TensorContent[] = [
      { name: 'short', type: 'F32', dimensions: [8], data: () => new Uint8Array(4) },
    ];
    await expect(writeGguf(broken, { metadata: new Map(), tensors })).rejects.toMatchObject({
      code: 'internal',
    });
    await expect(readGguf(broken)).rejects.toMatchObject({ code: 'model_file_missing' });
    await expect(readGguf(`${broken}.partial`)).rejects.toMatchObject({ code: 'model_file_missing' });
  });

  it('leaves the old file in place when a signal ends the writing', async () => {
    await writeFile(path, 'old');
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(writeGguf(path, { metadata: new Map(), tensors: [] }, { signal })).rejects.toThrow('enough');
    expect(await readFile(path, 'utf8')).toBe('old');
  });
});

async function collect(content: GgufContent): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of ggufChunks(content)) {
    chunks.push(chunk.slice());
  }
  return Buffer.concat(chunks);
}

describe('tensor sizes', () => {
  it.each([
    ['F32', [10, 2], 80],
    ['Q4_0', [64], 36],
    ['Q8_0', [32, 3], 102],
    ['Q4_K', [256, 2], 288],
    ['Q6_K', [256], 210],
    ['MXFP4', [32], 17],
    ['F16', [], 2],
    ['Q4_0', [0, 5], 0],
  ] as const)('%s of %j is %i bytes', (type, dimensions, bytes) => {
    expect(tensorBytes(type, dimensions.map(BigInt))).toBe(BigInt(bytes));
  });

  it('are unknown where rows are no whole blocks', () => {
    expect(tensorBytes('Q4_K', [128n, 2n])).toBeUndefined();
  });
});
