import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChatStreamWriter } from '../../../src/api/openai/chat-stream.ts';
import { ChatWholeWriter } from '../../../src/api/openai/chat-whole.ts';
import { CompletionStreamWriter, CompletionWholeWriter } from '../../../src/api/openai/completion-writers.ts';
import { textTemplate } from '../../../src/api/openai/text-template.ts';
import type { AnswerEvent, StreamWriter, WholeWriter } from '../../../src/api/surface.ts';
import type { TokenLogprob } from '../../../src/inference/events.ts';

const head = { id: 'abc', createdSeconds: 1_700_000_000, model: 'demo' };
const plain = { choices: 1, includeUsage: false, legacyFunctions: false };
const usage: AnswerEvent = { type: 'usage', prompt: 7, cached: 3, completion: 2 };
const usageJson = {
  prompt_tokens: 7,
  completion_tokens: 2,
  total_tokens: 9,
  prompt_tokens_details: { cached_tokens: 3 },
  completion_tokens_details: { accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
};
const token = (text: string, logprob = -0.5): TokenLogprob => ({
  token: text,
  bytes: [...Buffer.from(text)],
  logprob,
  top: [{ token: text, bytes: [...Buffer.from(text)], logprob }],
});

function streamed(make: (send: (payload: string) => void) => StreamWriter, events: AnswerEvent[]): unknown[] {
  const frames: string[] = [];
  const writer = make((payload) => frames.push(payload));
  for (const event of events) {
    writer.event(event);
  }
  writer.end();
  expect(frames.at(-1)).toBe('[DONE]');
  return frames.slice(0, -1).map((frame) => JSON.parse(frame));
}

function gathered(writer: WholeWriter, events: AnswerEvent[]): unknown {
  for (const event of events) {
    writer.event(event);
  }
  return JSON.parse(JSON.stringify(writer.end(head)));
}

const chatChunks = (events: AnswerEvent[], style = plain) =>
  streamed((send) => new ChatStreamWriter(head, style, send), events);
const chatChunk = (choice: object, more: object = {}) => ({
  id: 'chatcmpl-abc',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: 'demo',
  choices: [{ index: 0, logprobs: null, finish_reason: null, ...choice }],
  ...more,
});

describe('the text template', () => {
  it('writes exactly what JSON.stringify would', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.jsonValue(), (text, other) => {
        const make = (content: string) => ({ before: other, list: [{ content }], after: null });
        expect(textTemplate(make)(text)).toBe(JSON.stringify(make(text)));
      }),
    );
  });

  it('escapes halves of characters, so that what is written is valid UTF-8', () => {
    expect(textTemplate((text) => ({ text }))('\ud83d')).toBe('{"text":"\\ud83d"}');
  });
});

describe('a streamed chat', () => {
  it('gives the role once, the reason always and one id (points 3, 4, 5)', () => {
    expect(
      chatChunks([
        { type: 'delta', index: 0, text: 'Hel' },
        { type: 'delta', index: 0, text: 'lo', tokenIds: [1] },
        { type: 'delta', index: 0, tokenIds: [2] },
        { type: 'finish', index: 0, reason: 'length' },
        usage,
      ]),
    ).toEqual([
      chatChunk({ delta: { role: 'assistant', content: '' } }),
      chatChunk({ delta: { content: 'Hel' } }),
      chatChunk({ delta: { content: 'lo' } }),
      chatChunk({ delta: {}, finish_reason: 'length' }),
    ]);
  });

  it('has usage null on every chunk and a last chunk of usage alone (point 2)', () => {
    const chunks = chatChunks(
      [{ type: 'delta', index: 0, text: 'a' }, { type: 'finish', index: 0, reason: 'stop' }, usage],
      { ...plain, includeUsage: true },
    );
    expect(chunks).toHaveLength(4);
    expect(chunks.slice(0, 3)).toSatisfy((all: Array<{ usage: unknown }>) =>
      all.every((chunk) => chunk.usage === null),
    );
    expect(chunks[3]).toEqual({ ...chatChunk({}), choices: [], usage: usageJson });
  });

  it('gives the role even to an answer without a piece', () => {
    expect(chatChunks([{ type: 'finish', index: 0, reason: 'stop' }])).toEqual([
      chatChunk({ delta: { role: 'assistant', content: '' } }),
      chatChunk({ delta: {}, finish_reason: 'stop' }),
    ]);
  });

  it('keeps choices apart, each with its role (point 21)', () => {
    const chunks = chatChunks(
      [
        { type: 'delta', index: 1, text: 'b' },
        { type: 'delta', index: 0, text: 'a' },
        { type: 'finish', index: 0, reason: 'stop' },
        { type: 'finish', index: 1, reason: 'stop' },
      ],
      { ...plain, choices: 2 },
    ) as Array<{ choices: Array<{ index: number; delta: { role?: string } }> }>;
    expect(chunks.map(({ choices: [choice] }) => [choice?.index, choice?.delta.role])).toEqual([
      [1, 'assistant'],
      [1, undefined],
      [0, 'assistant'],
      [0, undefined],
      [0, undefined],
      [1, undefined],
    ]);
  });

  it('gives index always, and id, type and name of a tool call once (points 18, 19)', () => {
    const deltas = chatChunks([
      { type: 'delta', index: 0, toolCall: { call: 0, id: 'c1', name: 'add' } },
      { type: 'delta', index: 0, toolCall: { call: 0, arguments: '{"a":1}' } },
      { type: 'delta', index: 0, toolCall: { call: 1, id: 'c2', name: 'mul', arguments: '{' } },
      { type: 'finish', index: 0, reason: 'tool_calls' },
    ]).slice(1);
    expect(deltas).toEqual([
      chatChunk({
        delta: {
          tool_calls: [{ index: 0, id: 'c1', type: 'function', function: { name: 'add', arguments: '' } }],
        },
      }),
      chatChunk({ delta: { tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] } }),
      chatChunk({
        delta: {
          tool_calls: [{ index: 1, id: 'c2', type: 'function', function: { name: 'mul', arguments: '{' } }],
        },
      }),
      chatChunk({ delta: {}, finish_reason: 'tool_calls' }),
    ]);
  });

  it('answers deprecated functions in their own form', () => {
    expect(
      chatChunks(
        [
          { type: 'delta', index: 0, toolCall: { call: 0, id: 'c1', name: 'add', arguments: '{}' } },
          { type: 'finish', index: 0, reason: 'tool_calls' },
        ],
        { ...plain, legacyFunctions: true },
      ).slice(1),
    ).toEqual([
      chatChunk({ delta: { function_call: { name: 'add', arguments: '{}' } } }),
      chatChunk({ delta: {}, finish_reason: 'function_call' }),
    ]);
  });

  it('carries reasoning, logprobs and fields of the engine (point 22)', () => {
    expect(
      chatChunks([
        { type: 'delta', index: 0, reasoning: 'hmm', extra: { thinking_id: 4, reasoning_content: 'forged' } },
        { type: 'delta', index: 0, text: 'é', logprobs: [token('é')] },
        { type: 'finish', index: 0, reason: 'stop' },
      ]).slice(1, 3),
    ).toEqual([
      chatChunk({ delta: { thinking_id: 4, reasoning_content: 'hmm' } }),
      chatChunk({
        delta: { content: 'é' },
        logprobs: {
          content: [
            {
              token: 'é',
              logprob: -0.5,
              bytes: [195, 169],
              top_logprobs: [{ token: 'é', logprob: -0.5, bytes: [195, 169] }],
            },
          ],
          refusal: null,
        },
      }),
    ]);
  });

  it('adds up to the whole answer', () => {
    const pieces = fc.array(
      fc.record({ text: fc.string({ unit: 'binary' }), reasoning: fc.string() }, { requiredKeys: [] }),
    );
    fc.assert(
      fc.property(pieces, (deltas) => {
        const events: AnswerEvent[] = [
          ...deltas.map((delta): AnswerEvent => ({ type: 'delta', index: 0, ...delta })),
          { type: 'finish', index: 0, reason: 'stop' },
        ];
        const chunks = chatChunks(events) as Array<{
          choices: Array<{ delta: { content?: string; reasoning_content?: string } }>;
        }>;
        const join = (field: 'content' | 'reasoning_content') =>
          chunks.map((chunk) => chunk.choices[0]?.delta[field] ?? '').join('');
        const whole = gathered(new ChatWholeWriter(plain), events) as {
          choices: Array<{ message: { content: string; reasoning_content?: string } }>;
        };
        const message = whole.choices[0]?.message;
        expect([join('content'), join('reasoning_content')]).toEqual([
          message?.content,
          message?.reasoning_content ?? '',
        ]);
      }),
    );
  });
});

describe('a whole chat', () => {
  it('has message, logprobs, reason and usage', () => {
    expect(
      gathered(new ChatWholeWriter(plain), [
        { type: 'delta', index: 0, reasoning: 'hm', extra: { note: 1 } },
        { type: 'delta', index: 0, text: 'Hel', logprobs: [token('Hel')] },
        { type: 'delta', index: 0, text: 'lo' },
        { type: 'finish', index: 0, reason: 'length' },
        usage,
      ]),
    ).toEqual({
      id: 'chatcmpl-abc',
      object: 'chat.completion',
      created: 1_700_000_000,
      model: 'demo',
      choices: [
        {
          index: 0,
          message: { note: 1, role: 'assistant', content: 'Hello', refusal: null, reasoning_content: 'hm' },
          logprobs: { content: [expect.objectContaining({ token: 'Hel' })], refusal: null },
          finish_reason: 'length',
        },
      ],
      usage: usageJson,
    });
  });

  it('has tool calls and no content', () => {
    const events: AnswerEvent[] = [
      { type: 'delta', index: 0, toolCall: { call: 0, id: 'c1', name: 'add', arguments: '{"a"' } },
      { type: 'delta', index: 0, toolCall: { call: 0, arguments: ':1}' } },
      { type: 'finish', index: 0, reason: 'tool_calls' },
    ];
    expect(gathered(new ChatWholeWriter(plain), events)).toMatchObject({
      choices: [
        {
          message: {
            content: null,
            tool_calls: [{ id: 'c1', type: 'function', function: { name: 'add', arguments: '{"a":1}' } }],
          },
          finish_reason: 'tool_calls',
        },
      ],
    });
    expect(gathered(new ChatWholeWriter({ ...plain, legacyFunctions: true }), events)).toMatchObject({
      choices: [{ message: { function_call: { name: 'add' } }, finish_reason: 'function_call' }],
    });
  });
});

describe('a completion', () => {
  const style = { choices: 1, includeUsage: true };
  const events: AnswerEvent[] = [
    { type: 'delta', index: 0, text: 'one' },
    { type: 'delta', index: 0, text: ' two', logprobs: [token(' t'), token('wo')] },
    { type: 'finish', index: 0, reason: 'stop' },
    usage,
  ];
  const logprobs = {
    tokens: [' t', 'wo'],
    token_logprobs: [-0.5, -0.5],
    top_logprobs: [{ ' t': -0.5 }, { wo: -0.5 }],
    text_offset: [3, 5],
  };
  const common = { id: 'cmpl-abc', object: 'text_completion', created: 1_700_000_000, model: 'demo' };

  it('streams its text', () => {
    const chunk = (choice: object) => ({
      ...common,
      choices: [{ index: 0, logprobs: null, finish_reason: null, ...choice }],
      usage: null,
    });
    expect(streamed((send) => new CompletionStreamWriter(head, style, send), events)).toEqual([
      chunk({ text: 'one' }),
      chunk({ text: ' two', logprobs }),
      chunk({ text: '', finish_reason: 'stop' }),
      { ...common, choices: [], usage: usageJson },
    ]);
  });

  it('comes whole, with its logprobs in columns (point 22)', () => {
    expect(gathered(new CompletionWholeWriter(style), events)).toEqual({
      ...common,
      choices: [{ index: 0, text: 'one two', logprobs, finish_reason: 'stop' }],
      usage: usageJson,
    });
  });
});
