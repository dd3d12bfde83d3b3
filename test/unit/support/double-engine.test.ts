// The in-process double misbehaves exactly as asked.
import { expect, test } from 'vitest';
import type { InferenceEvent } from '../../../src/inference/events.ts';
import { guardEvents } from '../../../src/inference/guard-events.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { DoubleEngine, type DoubleEngineKnobs } from '../../support/double-engine.ts';
import { chatRequest, collect, complete } from '../../support/engine-answers.ts';

const load = (knobs: Partial<DoubleEngineKnobs>) =>
  new DoubleEngine(knobs).load({ name: 'double', path: '' });
const request = () => chatRequest('double', 'Tell me of the sea.', { maxTokens: 20 });

test('fails to load', async () => {
  const failLoad = new MeshnodeError('model_too_large', 'No room.');
  await expect(load({ failLoad })).rejects.toBe(failLoad);
});

test('crashes after so many tokens and comes back', async () => {
  const model = await load({ crashAfterTokens: 3, restartMs: 5 });
  const answer = await collect(model, request());
  expect(answer.textPieces()).toHaveLength(3);
  expect(answer.error?.code).toBe('engine_lost');
  expect(model.state.state).toBe('restarting');
  await new Promise<void>((resolve) => model.onChange(() => resolve()));
  expect(model.state.state).toBe('ready');
});

test('hangs after so many tokens until it is cancelled', async () => {
  const model = await load({ hangAfterTokens: 3 });
  const caller = new AbortController();
  let deltas = 0;
  const answer = await collect(model, request(), {
    signal: caller.signal,
    onEvent: ({ type }) => type === 'delta' && ++deltas === 3 && setImmediate(() => caller.abort()),
  });
  expect(answer.error?.code).toBe('cancelled');
  expect([answer.textPieces().length, model.cancelled]).toEqual([3, 1]);
});

test('gives garbage, which the guard makes lawful', async () => {
  const model = await load({ garbage: [{ type: 'delta', index: 9, text: 'x' }, { type: 'end' }] });
  const events: InferenceEvent[] = [];
  const asked = request();
  const given = model.infer(asked, new AbortController().signal);
  for await (const event of guardEvents(asked, given, { log: silentLogger })) {
    events.push(event);
  }
  expect(events).toMatchObject([{ type: 'error', code: 'engine_protocol' }]);
});

test('keeps its rate', async () => {
  const model = await load({ tokensPerSecond: 200 });
  const startMs = systemClock.monotonicMs();
  await complete(model, request());
  expect(systemClock.monotonicMs() - startMs).toBeGreaterThanOrEqual(95);
});
