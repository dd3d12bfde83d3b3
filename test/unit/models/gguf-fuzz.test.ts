import { describe, expect, it } from 'vitest';
import { parseGguf } from '../../../src/models/gguf-reader.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { seededRandom } from '../../../src/util/random.ts';
import {
  array,
  memorySource,
  pair,
  rawGguf,
  tensorEntry,
  text,
  typeId,
  u32,
} from '../../support/gguf-bytes.ts';

const sound = rawGguf({
  pairs: [
    pair('general.architecture', typeId.string, text('llama')),
    pair('general.alignment', typeId.uint32, u32(32)),
    pair('words', typeId.array, array(typeId.string, 3, text('a'), text('bc'), text('def'))),
    pair('deep', typeId.array, array(typeId.array, 1, array(typeId.uint32, 2, u32(1), u32(2)))),
  ],
  tensors: [
    tensorEntry({ name: 'first' }),
    tensorEntry({ name: 'second', dimensions: [32, 2], type: 2, offset: 32 }),
  ],
  dataBytes: 68,
});

const seed = 20_240_607;
const cases = 5000;
const extremes = [0x00, 0x01, 0x7f, 0x80, 0xff];

describe(`a GGUF file with random bytes changed (seed ${seed})`, () => {
  it('is read or refused, in bounded time and memory', async () => {
    const random = seededRandom(seed);
    const below = (bound: number): number => Math.floor(random.float() * bound);
    let refused = 0;
    for (let round = 0; round < cases; round++) {
      const bytes = Buffer.from(sound);
      for (let change = 0; change <= below(4); change++) {
        const value = random.float() < 0.5 ? below(256) : (extremes[below(extremes.length)] ?? 0);
        bytes[below(bytes.length)] = value;
      }
      const source = memorySource(bytes);
      const outcome = await parseGguf(source, 'fuzzed.gguf').catch((error: unknown) => error);
      if (outcome instanceof Error) {
        refused++;
        expect(outcome, `round ${round}: ${bytes.toString('hex')}`).toBeInstanceOf(MeshnodeError);
        expect(outcome).toMatchObject({ code: 'gguf_invalid' });
      }
      expect(source.readBytes).toBeLessThanOrEqual(bytes.length * 4);
    }
    // Both outcomes occur, or the test would prove nothing.
    expect(refused).toBeGreaterThan(cases / 10);
    expect(refused).toBeLessThan(cases);
  });
});
