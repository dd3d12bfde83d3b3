// The check that every stream passes through finds what it is there to find.
import { describe, expect, it } from 'vitest';
import { StreamCheck } from './stream-check.ts';

const envelope = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_800_000_000, model: 'demo' };
const chunk = (delta: object, more: object = {}, finish_reason: string | null = null) => ({
  ...envelope,
  choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  ...more,
});
const role = chunk({ role: 'assistant', content: '' });
const text = chunk({ content: 'Hello' });
const last = chunk({}, {}, 'stop');
const usage = {
  prompt_tokens: 1,
  completion_tokens: 1,
  total_tokens: 2,
  prompt_tokens_details: { cached_tokens: 0 },
  completion_tokens_details: { accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
};
const error = { error: { message: 'Lost.', type: 'server_error', param: null, code: 'engine_lost' } };
const call = (fields: object, called: object) =>
  chunk({ tool_calls: [{ index: 0, ...fields, function: called }] });

function faultsOf(frames: ReadonlyArray<object | string>, endsCleanly = true): string[] {
  const faults: string[] = [];
  const check = new StreamCheck('chat', (what) => faults.push(what));
  for (const frame of frames) {
    check.frame(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }
  if (endsCleanly) {
    check.end();
  }
  return faults;
}

describe('the check of streams', () => {
  it.each([
    ['a plain answer', [role, text, last, '[DONE]']],
    [
      'an answer with its usage',
      [
        ...[role, text, last].map((one) => ({ ...one, usage: null })),
        { ...envelope, choices: [], usage },
        '[DONE]',
      ],
    ],
    [
      'a tool call',
      [
        role,
        call({ id: 'a', type: 'function' }, { name: 'f', arguments: '' }),
        call({}, { arguments: '{}' }),
        chunk({}, {}, 'tool_calls'),
        '[DONE]',
      ],
    ],
  ])('passes %s', (_, frames) => {
    expect(faultsOf(frames)).toEqual([]);
  });

  it('passes an error before a broken connection', () => {
    expect(faultsOf([role, text, error], false)).toEqual([]);
  });

  it.each<[string, ReadonlyArray<object | string>]>([
    ['a clean end without [DONE]', [role, text, last]],
    ['a clean end after an error', [role, text, error]],
    ['[DONE] after an error', [role, error, '[DONE]']],
    ['a chunk after [DONE]', [role, last, '[DONE]', text]],
    ['no finish reason', [role, text, '[DONE]']],
    ['text after the finish reason', [role, last, text, '[DONE]']],
    ['nothing at all', ['[DONE]']],
    ['no role', [text, last, '[DONE]']],
    ['a second role', [role, role, last, '[DONE]']],
    ['another id', [role, { ...text, id: 'chatcmpl-2' }, last, '[DONE]']],
    ['another time', [role, { ...text, created: 1_800_000_001 }, last, '[DONE]']],
    [
      'a missing logprobs',
      [role, { ...envelope, choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }, '[DONE]'],
    ],
    ['a field that nobody knows', [role, chunk({ text: 'x' }), last, '[DONE]']],
    ['usage in some chunks only', [role, { ...text, usage: null }, last, '[DONE]']],
    ['a nameless tool call', [role, call({ id: 'a' }, { arguments: '' }), last, '[DONE]']],
    [
      'a repeated tool id',
      [role, ...[1, 2].map(() => call({ id: 'a' }, { name: 'f', arguments: '' })), last, '[DONE]'],
    ],
  ])('finds %s', (_, frames) => {
    expect(faultsOf(frames)).not.toEqual([]);
  });
});
