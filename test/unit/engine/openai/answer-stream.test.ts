// The bytes of an answer, cut anywhere, are the same documents.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type AnswerPart, readAnswer } from '../../../../src/engine/openai/answer-stream.ts';

const stream = [
  ': ping',
  '',
  'data: {"text":"grün 👩‍🚀"}',
  '',
  'event: message',
  'id: 7',
  'data: {"text":',
  'data: "日本"}',
  '',
  'data: [DONE]',
  '',
  'data: {"text":"after the end"}',
  '',
  '',
];
const expected: AnswerPart[] = [
  { done: false, chunk: { text: 'grün 👩‍🚀' } },
  { done: false, chunk: { text: '日本' } },
  { done: true },
];

async function* pieces(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const places = [0, ...[...cuts].sort((one, other) => one - other), bytes.length];
  for (const [index, start] of places.slice(0, -1).entries()) {
    yield bytes.subarray(start, places[index + 1]);
  }
}

async function read(bytes: Uint8Array, cuts: readonly number[] = []): Promise<AnswerPart[]> {
  const parts: AnswerPart[] = [];
  for await (const part of readAnswer(pieces(bytes, cuts))) {
    parts.push(part);
  }
  return parts;
}

test.each(['\n', '\r\n'])('events with the line end %j are read wherever they are cut', async (lineEnd) => {
  const bytes = Buffer.from(stream.join(lineEnd));
  const cuts = fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(cuts, async (places) => {
      expect(await read(bytes, places)).toEqual(expected);
    }),
  );
  expect(await read(bytes, Array.from(bytes.keys()))).toEqual(expected);
});

test('one document is read wherever it is cut, after blank space too', async () => {
  const bytes = Buffer.from('\n  {"text":"grün 👩‍🚀"}');
  expect(await read(bytes, Array.from(bytes.keys()))).toEqual([
    { done: false, chunk: { text: 'grün 👩‍🚀' } },
  ]);
});

test('an answer of nothing has no parts', async () => {
  expect(await read(Buffer.from(''))).toEqual([]);
  expect(await read(Buffer.from(' \n'))).toEqual([]);
});

test('a last event without its empty line counts, half a one does not', async () => {
  expect(await read(Buffer.from('data: {"a":1}'))).toEqual([{ done: false, chunk: { a: 1 } }]);
  expect(await read(Buffer.from('data: {"a":'))).toEqual([]);
});

test('what came before a fault is given before it is thrown', async () => {
  const parts: AnswerPart[] = [];
  const reading = (async () => {
    for await (const part of readAnswer(pieces(Buffer.from('data: {"a":1}\n\ndata: {oops\n\n'), []))) {
      parts.push(part);
    }
  })();
  await expect(reading).rejects.toMatchObject({ code: 'engine_protocol' });
  expect(parts).toHaveLength(1);
});
