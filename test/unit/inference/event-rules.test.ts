import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventRules } from '../../../src/inference/event-rules.ts';
import type { InferenceEvent } from '../../../src/inference/events.ts';
import { type InferenceRequest, plainOutput } from '../../../src/inference/request.ts';
import type { MeshnodeError } from '../../../src/util/errors.ts';
import { eventLimits } from '../../../src/util/limits/inference.ts';
import { lawfulAnswers } from '../../support/inference-arbitraries.ts';

const envelope = {
  requestId: 'r',
  model: { name: 'demo' },
  priority: 'interactive',
  hops: 0,
  extra: {},
} as const;
const chatOf = (choices: number): InferenceRequest => ({
  ...envelope,
  kind: 'chat',
  messages: [],
  sampling: {},
  output: { ...plainOutput, choices },
});
const chat = chatOf(1);
const embedding: InferenceRequest = { ...envelope, kind: 'embedding', inputs: ['a', 'b'] };
const rerank: InferenceRequest = { ...envelope, kind: 'rerank', query: 'q', documents: ['a', 'b'] };

const accepted: InferenceEvent = { type: 'accepted', replica: 'demo' };
const delta = (fields: object, index = 0): InferenceEvent => ({ type: 'delta', index, ...fields });
const text = delta({ text: 'a' });
const finish = (index = 0): InferenceEvent => ({ type: 'finish', index, reason: 'stop' });
const usage = (prompt: number, cached: number, completion: number): InferenceEvent => ({
  type: 'usage',
  prompt,
  cached,
  completion,
});
const vector = (index: number, ...values: number[]): InferenceEvent => ({
  type: 'vector',
  index,
  values: Float32Array.from(values),
});
const score = (index: number, value: number): InferenceEvent => ({ type: 'score', index, score: value });
const error = (phase: 'before-output' | 'during-output'): InferenceEvent => ({
  type: 'error',
  code: 'engine_lost',
  message: 'gone',
  retryable: true,
  phase,
});
const end: InferenceEvent = { type: 'end' };

/** The first violation in a sequence, and where it is. */
function firstViolation(
  request: InferenceRequest,
  events: readonly InferenceEvent[],
): { at: number; error: MeshnodeError } | undefined {
  const rules = new EventRules(request);
  for (const [at, event] of events.entries()) {
    const violation = rules.check(event);
    if (violation !== undefined) {
      return { at, error: violation };
    }
  }
  return undefined;
}

describe('EventRules', () => {
  it('takes every lawful answer, and its error in place of any event', () => {
    fc.assert(
      fc.property(lawfulAnswers, fc.nat(), ({ request, events }, place) => {
        const rules = new EventRules(request);
        expect(events.map((event) => rules.check(event)).filter(Boolean)).toEqual([]);
        expect(rules.ended).toBe(true);

        const broken = new EventRules(request);
        const before = events.slice(0, place % events.length);
        expect(before.map((event) => broken.check(event)).filter(Boolean)).toEqual([]);
        expect(broken.check(error(broken.phase))).toBeUndefined();
        expect(broken.ended).toBe(true);
      }),
    );
  });

  it('refuses an answer in which an event that comes once comes twice', () => {
    const once = new Set(['accepted', 'vector', 'score', 'finish', 'usage', 'end']);
    fc.assert(
      fc.property(lawfulAnswers, fc.nat(), ({ request, events }, choice) => {
        const places = [...events.keys()].filter((at) => once.has(events[at]?.type ?? ''));
        const at = places[choice % places.length] ?? 0;
        const repeated = events.toSpliced(at, 0, ...events.slice(at, at + 1));
        expect(firstViolation(request, repeated)).toMatchObject({ at: at + 1 });
      }),
    );
  });

  it('refuses an answer in which an event that must come is left out', () => {
    const needed = new Set(['accepted', 'vector', 'score', 'finish']);
    fc.assert(
      fc.property(lawfulAnswers, fc.nat(), ({ request, events }, choice) => {
        const places = [...events.keys()].filter((at) => needed.has(events[at]?.type ?? ''));
        const at = places[choice % places.length] ?? 0;
        expect(firstViolation(request, events.toSpliced(at, 1))).toBeDefined();
      }),
    );
  });

  it('takes nothing after the last event', () => {
    fc.assert(
      fc.property(lawfulAnswers, fc.nat(), ({ request, events }, choice) => {
        const late = events.slice(choice % events.length).slice(0, 1);
        expect(firstViolation(request, [...events, ...late])).toMatchObject({ at: events.length });
      }),
    );
  });

  const call = (piece: object, index = 0) => delta({ toolCall: piece }, index);
  const begun = call({ call: 0, id: 'a', name: 'f' });

  it.each<[string, InferenceRequest, InferenceEvent[], RegExp]>([
    ['output before accepted', chat, [text], /before the accepted/],
    ['a finish before accepted', chat, [finish()], /before the accepted/],
    ['a replica without a name', chat, [{ type: 'accepted', replica: '' }], /replica/],
    ['cached tokens below 0', chat, [{ type: 'accepted', replica: 'a', cachedTokens: -1 }], /count/],
    ['progress above 1', chat, [{ type: 'progress', stage: 'prefill', fraction: 1.1 }], /fraction/],
    ['progress that is no number', chat, [{ type: 'progress', stage: 'prefill', fraction: NaN }], /fraction/],
    ['a choice that was not asked for', chat, [accepted, delta({ text: 'a' }, 1)], /not asked for/],
    ['a negative choice', chat, [accepted, delta({ text: 'a' }, -1)], /not asked for/],
    ['half a choice', chatOf(2), [accepted, delta({ text: 'a' }, 0.5)], /not asked for/],
    ['a delta after its finish', chatOf(2), [accepted, finish(), text], /after its index was complete/],
    ['an empty delta', chat, [accepted, delta({})], /is empty/],
    ['a delta of empty fields', chat, [accepted, delta({ text: '', tokenIds: [], extra: {} })], /is empty/],
    [
      'a delta with too much text',
      chat,
      [accepted, delta({ text: 'a'.repeat(eventLimits.deltaChars), reasoning: 'b' })],
      /characters/,
    ],
    [
      'too many token ids',
      chat,
      [accepted, delta({ tokenIds: new Array(eventLimits.deltaTokens + 1).fill(1) })],
      /token ids/,
    ],
    ['a token id below 0', chat, [accepted, delta({ text: 'a', tokenIds: [-1] })], /token ids/],
    [
      'a log probability that is no number',
      chat,
      [accepted, delta({ logprobs: [{ token: 'a', bytes: [97], logprob: -Infinity, top: [] }] })],
      /log probabilities/,
    ],
    ['a tool call without a name', chat, [accepted, call({ call: 0, id: 'a' })], /without id and name/],
    ['a tool call that begins at 1', chat, [accepted, call({ call: 1, id: 'a', name: 'f' })], /skips/],
    ['a tool call below 0', chat, [accepted, begun, call({ call: -1, arguments: 'x' })], /skips/],
    [
      'a tool call that leaves one out',
      chat,
      [accepted, begun, call({ call: 2, id: 'b', name: 'f' })],
      /skips/,
    ],
    ['a second name', chat, [accepted, begun, call({ call: 0, name: 'f', arguments: '{' })], /a second time/],
    ['an empty piece of a call', chat, [accepted, begun, call({ call: 0, arguments: '' })], /empty piece/],
    [
      'a call continued in another choice',
      chatOf(2),
      [accepted, begun, call({ call: 0, arguments: '{' }, 1)],
      /id and name/,
    ],
    ['a vector for a chat', chat, [accepted, vector(0, 1)], /kind of request/],
    ['text for an embedding', embedding, [accepted, text], /kind of request/],
    ['a finish for an embedding', embedding, [accepted, finish()], /kind of request/],
    ['a score for an embedding', embedding, [accepted, score(0, 1)], /kind of request/],
    ['a vector for no input', embedding, [accepted, vector(2, 1)], /not asked for/],
    ['vectors of two lengths', embedding, [accepted, vector(0, 1, 2), vector(1, 1)], /1 dimensions/],
    ['a vector of nothing', embedding, [accepted, vector(0)], /0 dimensions/],
    ['a vector with a hole', embedding, [accepted, vector(0, 1, NaN)], /no number/],
    ['a score that is no number', rerank, [accepted, score(0, Infinity)], /no number/],
    ['usage before the finish', chat, [accepted, text, usage(1, 0, 1)], /before the answer was complete/],
    ['usage below 0', chat, [accepted, finish(), usage(1, 0, -1)], /counts/],
    ['usage with a fraction', chat, [accepted, finish(), usage(1.5, 0, 1)], /counts/],
    ['usage past belief', chat, [accepted, finish(), usage(2 ** 31 + 1, 0, 1)], /counts/],
    ['more cached than there was', chat, [accepted, finish(), usage(1, 2, 1)], /counts/],
    ['an end before every choice is finished', chatOf(2), [accepted, finish(1), end], /complete/],
    ['an end before every vector', embedding, [accepted, vector(0, 1), end], /complete/],
    ['an end before anything', chat, [end], /complete/],
    ['an error in the wrong phase', chat, [accepted, text, error('before-output')], /not before-output/],
    ['anything after an error', chat, [error('before-output'), accepted], /after the last/],
  ])('refuses %s', (_name, request, events, reason) => {
    const violation = firstViolation(request, events);
    expect(violation?.at).toBe(events.length - 1);
    expect(violation?.error.code).toBe('engine_protocol');
    expect(violation?.error.message).toMatch(reason);
  });

  it('takes pieces of tool calls that are told in turns', () => {
    const second = call({ call: 1, id: 'b', name: 'g', arguments: '{' });
    const events = [accepted, begun, second, call({ call: 0, arguments: '{}' }), finish(), end];
    expect(firstViolation(chat, events)).toBeUndefined();
  });

  it('takes an empty answer, and calls its errors before output', () => {
    expect(firstViolation(chat, [accepted, finish(), end])).toBeUndefined();
    expect(firstViolation(chat, [accepted, error('before-output')])).toBeUndefined();
  });
});

describe('the length of a whole answer', () => {
  it('is bounded, so that whoever keeps it to the end does not run out of memory', () => {
    const rules = new EventRules(chat);
    rules.check(accepted);
    const longest = delta({ text: 'x'.repeat(eventLimits.deltaChars) });
    const pieces = eventLimits.answerChars / eventLimits.deltaChars;
    for (let piece = 0; piece < pieces; piece++) {
      expect(rules.check(longest)).toBeUndefined();
    }
    expect(rules.check(text)?.message).toContain(String(eventLimits.answerChars));
  });

  it('counts log probabilities', () => {
    const rules = new EventRules(chat);
    rules.check(accepted);
    const top = Array.from({ length: 20 }, () => ({ token: 'a', bytes: [97], logprob: -1 }));
    const logprobs = Array.from({ length: 1000 }, () => ({ token: 'a', bytes: [97], logprob: -1, top }));
    let refusal: MeshnodeError | undefined;
    for (let piece = 0; piece < 100 && refusal === undefined; piece++) {
      refusal = rules.check(delta({ logprobs }));
    }
    expect(refusal?.code).toBe('engine_protocol');
  });
});
