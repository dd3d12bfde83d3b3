// Chunks of every kind of server as events: the oddities that servers are known for.
import { describe, expect, test } from 'vitest';
import { AnswerReader } from '../../../../src/engine/openai/answer-reader.ts';
import { readPromptTokens, readScores, readVectors } from '../../../../src/engine/openai/lists.ts';
import type { JsonObject, JsonValue } from '../../../../src/util/json.ts';
import { seededRandom } from '../../../../src/util/random.ts';

function reader(choices = 1): AnswerReader {
  return new AnswerReader({
    choices,
    random: seededRandom(1),
    context: { path: '/chat/completions', apiKey: undefined },
  });
}

const delta = (fields: JsonObject, rest: JsonObject = {}): JsonValue => ({
  choices: [{ index: 0, delta: fields, ...rest }],
});
const call = (fields: JsonObject): JsonValue => delta({ tool_calls: [fields] });

describe('a delta', () => {
  test('with only a role, or only empty fields, is no event', () => {
    expect(reader().read(delta({ role: 'assistant', content: '' }))).toEqual([]);
    expect(reader().read(delta({ content: null, refusal: null, tool_calls: null }))).toEqual([]);
  });

  test.each(['reasoning_content', 'reasoning'])('has its reasoning under %s', (field) => {
    expect(reader().read(delta({ [field]: 'hm' }))).toEqual([{ type: 'delta', index: 0, reasoning: 'hm' }]);
  });

  test('with reasoning under both names has it once', () => {
    expect(reader().read(delta({ reasoning: 'hm', reasoning_content: 'hm' }))).toMatchObject([
      { reasoning: 'hm' },
    ]);
  });

  test('keeps fields that the contract does not know', () => {
    expect(reader().read(delta({ content: 'a', annotations: [1] }))).toEqual([
      { type: 'delta', index: 0, text: 'a', extra: { annotations: [1] } },
    ]);
  });

  test('holds half a character back until the other half comes', () => {
    const half = reader();
    expect(half.read(delta({ content: 'a\ud83d' }))).toMatchObject([{ text: 'a' }]);
    expect(half.read(delta({ content: '\ude00b' }))).toMatchObject([{ text: '😀b' }]);
  });

  test('has log probabilities in the shapes of chats and of completions', () => {
    const content = [
      { token: 'é', logprob: -0.5, bytes: null, top_logprobs: [{ token: 'e', logprob: -1, bytes: [101] }] },
    ];
    const expected = [
      { token: 'é', logprob: -0.5, bytes: [195, 169], top: [{ token: 'e', logprob: -1, bytes: [101] }] },
    ];
    expect(reader().read(delta({ content: 'é' }, { logprobs: { content } }))).toMatchObject([
      { logprobs: expected },
    ]);
    const parallel = { tokens: ['é'], token_logprobs: [-0.5], top_logprobs: [{ e: -1 }] };
    expect(reader().read({ choices: [{ text: 'é', logprobs: parallel }] })).toMatchObject([
      { logprobs: expected },
    ]);
  });

  test('leaves out log probabilities that are no numbers', () => {
    const content = [{ token: 'a', logprob: Number.POSITIVE_INFINITY }, { token: 'b', logprob: null }, 7];
    expect(reader().read(delta({ content: 'ab' }, { logprobs: { content } }))).toEqual([
      { type: 'delta', index: 0, text: 'ab' },
    ]);
  });
});

describe('a tool call', () => {
  test('gets an id when the server gives none', () => {
    const [event] = reader().read(call({ index: 0, function: { name: 'look', arguments: '{}' } }));
    expect(event).toMatchObject({
      toolCall: { call: 0, id: expect.stringMatching(/^call_\w{24}$/), name: 'look', arguments: '{}' },
    });
  });

  test('is another one when its id differs, even under the same index', () => {
    const calls = reader();
    calls.read(call({ index: 0, id: 'a', function: { name: 'look', arguments: '{}' } }));
    expect(
      calls.read(call({ index: 0, id: 'b', function: { name: 'look', arguments: '{}' } })),
    ).toMatchObject([{ toolCall: { call: 1, id: 'b' } }]);
    expect(calls.read(call({ index: 0, function: { arguments: '!' } }))).toMatchObject([
      { toolCall: { call: 1, arguments: '!' } },
    ]);
  });

  test('may give its arguments as an object', () => {
    expect(reader().read(call({ function: { name: 'look', arguments: { far: true } } }))).toMatchObject([
      { toolCall: { arguments: '{"far":true}' } },
    ]);
  });

  test('without a name is refused', () => {
    expect(() => reader().read(call({ index: 0, function: { arguments: '{}' } }))).toThrow(
      'without the name',
    );
  });

  test('makes the finish reason tool_calls, even if the server says stop', () => {
    const calls = reader();
    calls.read(delta({ tool_calls: [{ id: 'a', function: { name: 'look' } }] }, { finish_reason: 'stop' }));
    expect(calls.end(true)).toEqual([{ type: 'finish', index: 0, reason: 'tool_calls' }]);
  });
});

describe('the end', () => {
  test.each([
    ['stop', 'stop'],
    ['eos_token', 'stop'],
    ['length', 'length'],
    ['max_tokens', 'length'],
    ['function_call', 'tool_calls'],
    ['content_filter', 'content_filter'],
    ['constructor', 'stop'],
  ])('for the reason %s is %s', (given, reason) => {
    const answer = reader();
    answer.read(delta({ content: 'a' }, { finish_reason: given }));
    expect(answer.end(false)).toEqual([{ type: 'finish', index: 0, reason }]);
  });

  test('comes once when every chunk has a finish reason, and takes the last', () => {
    const answer = reader();
    answer.read(delta({ content: 'a' }, { finish_reason: 'stop' }));
    answer.read(delta({ content: 'b' }, { finish_reason: 'length' }));
    expect(answer.end(true)).toEqual([{ type: 'finish', index: 0, reason: 'length' }]);
  });

  test('has not come when the finish reason is an empty string', () => {
    const answer = reader();
    answer.read(delta({ content: 'a' }, { finish_reason: '' }));
    expect(() => answer.end(false)).toThrow('in the middle of its answer');
  });

  test('carries the last counts, of which cached are at most all', () => {
    const answer = reader();
    answer.read({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } });
    answer.read(delta({}, { finish_reason: 'stop' }));
    answer.read({
      choices: [],
      usage: { prompt_tokens: 5, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 9 } },
    });
    expect(answer.end(true)).toContainEqual({ type: 'usage', prompt: 5, cached: 5, completion: 2 });
  });

  test.each([
    { prompt_tokens: -1, completion_tokens: 1 },
    { prompt_tokens: 1.5, completion_tokens: 1 },
    { prompt_tokens: 3 },
    'x',
  ])('has no counts from %j', (usage) => {
    const answer = reader();
    answer.read({ choices: [{ delta: {}, finish_reason: 'stop' }], usage });
    expect(answer.end(true)).toEqual([{ type: 'finish', index: 0, reason: 'stop' }]);
  });

  test('finishes choices in their order', () => {
    const answer = reader(2);
    answer.read({
      choices: [
        { index: 1, text: 'b', finish_reason: 'stop' },
        { index: 0, text: 'a', finish_reason: 'stop' },
      ],
    });
    expect(answer.end(true)).toMatchObject([{ index: 0 }, { index: 1 }]);
  });
});

describe('a list', () => {
  test('is ordered by its indices, or as it came without them', () => {
    const data = [
      { index: 1, embedding: [3] },
      { index: 0, embedding: [2] },
    ];
    expect(readVectors({ data }, 2, 10).map(({ index, values }) => [index, ...values])).toEqual([
      [10, 2],
      [11, 3],
    ]);
    expect(readVectors({ data: [{ embedding: [7] }] }, 1, 0)[0]?.values).toEqual(Float32Array.of(7));
    expect(readScores({ results: [{ index: 0, score: 0.5 }] }, 1)).toEqual([
      { type: 'score', index: 0, score: 0.5 },
    ]);
  });

  test.each([
    {},
    { data: [] },
    {
      data: [
        { index: 0, embedding: [1] },
        { index: 0, embedding: [1] },
      ],
    },
    { data: [{ embedding: [1] }, { embedding: ['x'] }] },
    { data: [{ embedding: [1] }, { embedding: [1, 2] }] },
    { data: [{ embedding: [1] }, { embedding: [Number.POSITIVE_INFINITY] }] },
    { data: [{ embedding: [1] }, { embedding: [] }] },
    { data: [null, 7] },
  ])('that does not answer every input is refused: %j', (body) => {
    expect(() => readVectors(body as JsonValue, 2, 0)).toThrow();
  });

  test('counts its prompt tokens under either name', () => {
    expect(readPromptTokens({ usage: { prompt_tokens: 3, total_tokens: 4 } })).toBe(3);
    expect(readPromptTokens({ usage: { total_tokens: 4 } })).toBe(4);
    expect(readPromptTokens({})).toBeUndefined();
  });
});
