import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { ByteGatherer } from '../../../src/wire/byte-gatherer.ts';
import { MessageReader } from '../../../src/wire/framing.ts';
import { chunkSizes, chunksOf } from '../../support/chunks.ts';

const frameInvalid = expect.objectContaining({ code: 'frame_invalid' });

/** What a reader with this cap makes of the chunks. */
function read(chunks: Iterable<Uint8Array>, mostBytes: number): Uint8Array[] {
  const reader = new MessageReader(mostBytes);
  const messages: Uint8Array[] = [];
  for (const chunk of chunks) {
    reader.feed(chunk, (message) => messages.push(new Uint8Array(message)));
  }
  reader.end();
  return messages;
}

function delimited(message: Uint8Array): Uint8Array {
  const length = [];
  for (let rest = message.length; ; rest >>>= 7) {
    if (rest < 0x80) {
      return Uint8Array.from([...length, rest, ...message]);
    }
    length.push((rest & 0x7f) | 0x80);
  }
}

describe('MessageReader', () => {
  it('gives the same messages however the bytes are cut', () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    fc.assert(
      fc.property(messages, chunkSizes, (sent, sizes) => {
        const bytes = Buffer.concat(sent.map(delimited));
        expect(read(chunksOf(bytes, sizes), 300)).toEqual(sent);
        expect(read([bytes], 300)).toEqual(sent);
      }),
    );
  });

  it('gives an empty message as soon as its length is there', () => {
    expect(read([Uint8Array.of(0)], 10)).toEqual([new Uint8Array()]);
  });

  it('shares the memory of a chunk that holds the whole message', () => {
    const chunk = delimited(Uint8Array.of(1, 2, 3));
    new MessageReader(10).feed(chunk, (message) => expect(message.buffer).toBe(chunk.buffer));
    expect.assertions(1);
  });

  it('takes a message of exactly the cap', () => {
    expect(read([delimited(new Uint8Array(200))], 200)).toHaveLength(1);
  });

  it.each([
    ['one byte above the cap', delimited(new Uint8Array(201)).subarray(0, 2)],
    ['far above the cap', Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f)],
  ])('refuses a length %s before any byte of the message', (_name, bytes) => {
    expect(() => read([bytes], 200)).toThrow(frameInvalid);
  });

  it.each([
    ['a padded zero', Uint8Array.of(0x80, 0x00)],
    ['a padded length', Uint8Array.of(0x81, 0x80, 0x00)],
    ['a length without an end', new Uint8Array(20).fill(0x80)],
  ])('refuses %s', (_name, bytes) => {
    expect(() => read([bytes], 200)).toThrow(frameInvalid);
    expect(() => read(chunksOf(bytes, [1]), 200)).toThrow(frameInvalid);
  });

  it.each([
    ['within a length', Uint8Array.of(0x81)],
    ['right after a length', Uint8Array.of(3)],
    ['within a message', Uint8Array.of(3, 1, 2)],
  ])('refuses a stream that ends %s', (_name, bytes) => {
    expect(() => read([bytes], 200)).toThrow(frameInvalid);
  });

  it('throws nothing but frame_invalid at random bytes, and never gives more than the cap', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), chunkSizes, (bytes, sizes) => {
        try {
          for (const message of read(chunksOf(bytes, sizes), 50)) {
            expect(message.length).toBeLessThanOrEqual(50);
          }
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(MeshnodeError);
          expect(thrown).toEqual(frameInvalid);
        }
      }),
    );
  });
});

describe('ByteGatherer', () => {
  it('holds at most twice what has come, and never more than its bound', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 20 }), (sizes) => {
        const gatherer = new ByteGatherer(60_000);
        for (const size of sizes) {
          gatherer.add(new Uint8Array(size).fill(size & 0xff));
        }
        const length = sizes.reduce((sum, size) => sum + size, 0);
        const gathered = gatherer.take();
        expect(gathered).toEqual(
          Uint8Array.from(sizes.flatMap((size) => new Array<number>(size).fill(size & 0xff))),
        );
        expect(gathered.buffer.byteLength).toBeLessThanOrEqual(Math.min(60_000, Math.max(1024, 2 * length)));
        expect(gatherer.length).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  it('refuses to pass its bound', () => {
    const gatherer = new ByteGatherer(10);
    gatherer.add(new Uint8Array(10));
    expect(() => gatherer.add(new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'internal' }));
  });
});
