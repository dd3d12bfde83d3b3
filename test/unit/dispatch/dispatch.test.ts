// Dispatch over an engine double: finding the model, waiting for it and for a slot, and every way to end.
import { beforeEach, describe, expect, it } from 'vitest';
import type { Answer, DispatchOptions } from '../../../src/dispatch/answer.ts';
import { type DispatchComponents, Dispatcher } from '../../../src/dispatch/dispatch.ts';
import type { RemoteReplica, RemoteReplicas } from '../../../src/dispatch/replica.ts';
import type { LoadedModel } from '../../../src/engine/engine.ts';
import { errorEvent, type InferenceEvent } from '../../../src/inference/events.ts';
import { type ChatRequest, plainOutput } from '../../../src/inference/request.ts';
import type { ModelStatus } from '../../../src/serving/model-status.ts';
import type { ServedModel } from '../../../src/serving/serving.ts';
import { Emitter } from '../../../src/util/async.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { apiLimits } from '../../../src/util/limits/api.ts';
import { passLimits, peerLimits, queueLimits } from '../../../src/util/limits/dispatch.ts';
import { engineLimits } from '../../../src/util/limits/engine.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { DoubleEngine, type DoubleEngineKnobs, type DoubleModel } from '../../support/double-engine.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { plainAnswer, type ReplicaFields, remoteReplica, ScriptedRemote } from '../../support/replicas.ts';
import { aborted } from '../../support/scripted-dispatch.ts';

/** Models whose states a test sets. */
class Models {
  readonly #changes = new Emitter<ModelStatus>();
  readonly #models = new Map<string, ServedModel>();

  set(status: Partial<ModelStatus> & { name: string }, model?: LoadedModel): void {
    const whole: ModelStatus = { reference: status.name, stage: 'ready', createdMs: 0, ...status };
    this.#models.set(status.name, { status: whole, ...(model === undefined ? {} : { model }) });
    this.#changes.emit(whole);
  }

  served(): ServedModel[] {
    return [...this.#models.values()];
  }

  onChange(listener: (status: ModelStatus) => void): () => void {
    return this.#changes.listen(listener);
  }
}

interface Setup {
  readonly clock: ManualClock;
  readonly engine: DoubleEngine;
  readonly models: Models;
  readonly model: DoubleModel;
  readonly dispatch: Dispatcher;
}

/** A dispatch with the model `demo`, on a clock that stands still. */
async function setUp(
  knobs: Partial<DoubleEngineKnobs> = {},
  hooks: Pick<DispatchComponents, 'onAsked' | 'onServed'> = {},
): Promise<Setup> {
  const clock = new ManualClock();
  const engine = new DoubleEngine(knobs, clock);
  const model = await engine.load({ name: 'demo', path: '/demo' });
  const models = new Models();
  models.set({ name: 'demo' }, model);
  const dispatch = new Dispatcher({ clock, log: silentLogger, serving: models, peer: 'here', ...hooks });
  return { clock, engine, models, model, dispatch };
}

function chat(fields: Partial<ChatRequest> = {}): ChatRequest {
  return {
    kind: 'chat',
    requestId: 'r1',
    model: { name: 'demo' },
    priority: 'interactive',
    hops: 0,
    extra: {},
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Say something.' }] }],
    sampling: {},
    output: { ...plainOutput, maxTokens: 8 },
    ...fields,
  };
}

const options = (fields: Partial<DispatchOptions> = {}): DispatchOptions => ({
  signal: new AbortController().signal,
  stream: true,
  ...fields,
});

/** Reads an answer in the background; `events` fills as they come. */
class Reading {
  readonly events: InferenceEvent[] = [];
  readonly done: Promise<InferenceEvent[]>;

  constructor(answer: Answer) {
    this.done = this.#read(answer);
  }

  async #read(answer: Answer): Promise<InferenceEvent[]> {
    for await (const event of answer.events) {
      this.events.push(event);
    }
    return this.events;
  }

  types(): string[] {
    return this.events.map(({ type }) => type);
  }

  get text(): string {
    return this.events.map((event) => (event.type === 'delta' ? (event.text ?? '') : '')).join('');
  }
}

/** Moves time on in small steps until the answer is complete. */
async function finish(clock: ManualClock, reading: Reading): Promise<InferenceEvent[]> {
  let isDone = false;
  reading.done.finally(() => {
    isDone = true;
  });
  for (let step = 0; !isDone && step < 1000; step++) {
    await clock.advance(10);
  }
  expect(isDone).toBe(true);
  return reading.events;
}

const digest = 'd'.repeat(64);

/** What other nodes serve, and never changes. */
function remoteOf(...replicas: RemoteReplica[]): RemoteReplicas {
  return { replicas: () => replicas, onChange: () => () => {} };
}

function never(): never {
  throw new Error('there is one');
}

const last = (reading: Reading): InferenceEvent | undefined => reading.events.at(-1);

describe('a request for a model that is ready', () => {
  it('is answered, and the route says by whom', async () => {
    const { clock, dispatch } = await setUp();
    const answer = dispatch.infer(chat(), options());
    expect(answer.route()).toMatchObject({ attempts: 0, model: 'demo' });
    const reading = new Reading(answer);
    await finish(clock, reading);
    expect(reading.text).not.toBe('');
    expect(reading.types()[0]).toBe('accepted');
    expect(last(reading)).toEqual({ type: 'end' });
    expect(answer.route()).toEqual({
      peer: 'here',
      attempts: 1,
      mode: 'solo',
      where: 'local',
      reason: 'only',
      model: 'demo',
      ignored: [],
    });
  });

  it('tells which fields of the engine`s own the engine does not heed', async () => {
    const { clock, dispatch } = await setUp();
    const answer = dispatch.infer(chat({ extra: { mirostat: 1 } }), options());
    await finish(clock, new Reading(answer));
    expect(answer.route().ignored).toEqual(['mirostat']);
  });

  it('leaves no timer behind', async () => {
    const { clock, dispatch } = await setUp();
    await finish(clock, new Reading(dispatch.infer(chat({ timeoutMs: 60_000 }), options())));
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
    expect(dispatch.inFlight).toBe(0);
  });

  it('does not tell the engine to stop once it has ended by itself', async () => {
    const { clock, dispatch, model } = await setUp();
    const signals: AbortSignal[] = [];
    const infer = model.infer.bind(model);
    model.infer = (request, signal) => {
      signals.push(signal);
      return infer(request, signal);
    };
    const reading = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, reading);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  });

  it('does nothing before its events are read', async () => {
    const { clock, dispatch, model } = await setUp();
    dispatch.infer(chat(), options());
    await clock.settle();
    expect(model.figures().inFlight).toBe(0);
    expect(dispatch.inFlight).toBe(0);
  });

  it('is refused by name if it asks for what the engine cannot do', async () => {
    const { clock, dispatch } = await setUp({ features: new Set() });
    const reading = new Reading(dispatch.infer(chat({ sampling: { seed: 1 } }), options()));
    await finish(clock, reading);
    expect(reading.events).toEqual([
      expect.objectContaining({ type: 'error', code: 'unsupported_parameter', param: 'seed' }),
    ]);
  });
});

describe('a request for a model that is not there', () => {
  it('names near matches and is never answered by one', async () => {
    const { clock, dispatch } = await setUp();
    const reading = new Reading(dispatch.infer(chat({ model: { name: 'demos' } }), options()));
    await finish(clock, reading);
    expect(reading.events).toEqual([
      expect.objectContaining({ code: 'model_not_found', message: expect.stringContaining("'demo'") }),
    ]);
  });

  it('is told why if the model failed', async () => {
    const { clock, dispatch, models } = await setUp();
    models.set({ name: 'demo', stage: 'failed', error: new MeshnodeError('gguf_invalid', 'It is cut.') });
    const reading = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, reading);
    expect(last(reading)).toMatchObject({
      code: 'model_failed',
      message: expect.stringContaining('gguf_invalid'),
    });
    expect(dispatch.models()).toEqual([]);
  });
});

describe('a request for a model that loads', () => {
  it('is held with progress while the model is expected soon, then answered', async () => {
    const { clock, dispatch, models, model } = await setUp();
    models.set({ name: 'demo', stage: 'loading', sizeBytes: 1e6 });
    const reading = new Reading(dispatch.infer(chat(), options()));
    await clock.settle();
    models.set({ name: 'demo', stage: 'loading', sizeBytes: 1e6, fraction: 0.5 });
    await clock.settle();
    expect(reading.events).toEqual([
      { type: 'progress', stage: 'loading' },
      { type: 'progress', stage: 'loading', fraction: 0.5 },
    ]);
    models.set({ name: 'demo' }, model);
    await finish(clock, reading);
    expect(last(reading)).toEqual({ type: 'end' });
  });

  it('is told at once when to come back if the model takes longer', async () => {
    const { clock, dispatch, models } = await setUp();
    models.set({ name: 'demo', stage: 'downloading', fraction: 0.1, etaSeconds: 300 });
    const reading = new Reading(dispatch.infer(chat(), options()));
    await clock.settle();
    expect(reading.events).toEqual([
      expect.objectContaining({
        code: 'model_loading',
        retryAfterSeconds: 60,
        data: { loading: { stage: 'downloading', fraction: 0.1, eta_seconds: 300 } },
      }),
    ]);
  });

  it('is not held if nobody would hear of the progress', async () => {
    const { clock, dispatch, models } = await setUp();
    models.set({ name: 'demo', stage: 'loading', sizeBytes: 1 });
    const reading = new Reading(dispatch.infer(chat(), options({ stream: false })));
    await clock.settle();
    expect(last(reading)).toMatchObject({ code: 'model_loading' });
  });

  it('is held as long as the caller says, however long the model takes', async () => {
    const { clock, dispatch, models } = await setUp();
    models.set({ name: 'demo', stage: 'downloading', etaSeconds: 300 });
    const reading = new Reading(dispatch.infer(chat(), options({ stream: false, waitForLoadMs: 60_000 })));
    await clock.advance(59_000);
    expect(reading.types()).toEqual(['progress']);
    await clock.advance(1_000);
    await clock.settle();
    expect(last(reading)).toMatchObject({ code: 'model_loading' });
    expect(clock.pendingTimers).toBe(0);
  });

  it('is let go when the model is not there in time', async () => {
    const { clock, dispatch, models } = await setUp();
    models.set({ name: 'demo', stage: 'resolving' });
    const reading = new Reading(dispatch.infer(chat(), options()));
    await clock.advance(apiLimits.holdForLoadMs + 1);
    expect(last(reading)).toMatchObject({ code: 'model_loading' });
  });

  it('ends at once when the caller leaves', async () => {
    const { clock, dispatch, models } = await setUp();
    models.set({ name: 'demo', stage: 'loading', sizeBytes: 1 });
    const caller = new AbortController();
    const reading = new Reading(dispatch.infer(chat(), options({ signal: caller.signal })));
    await clock.settle();
    caller.abort();
    await reading.done;
    expect(last(reading)).toMatchObject({ code: 'cancelled' });
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('the queue before a model', () => {
  it('runs as many requests as there are slots and tells the others that they wait', async () => {
    const { clock, dispatch, model } = await setUp({ slots: 1, tokensPerSecond: 10 });
    const first = new Reading(dispatch.infer(chat(), options()));
    await clock.settle();
    const second = new Reading(dispatch.infer(chat(), options()));
    await clock.settle();
    expect(second.events).toEqual([{ type: 'progress', stage: 'queued' }]);
    expect(dispatch.queueOf(model)).toEqual({ slots: 1, running: 1, busySlots: 1, waiting: 1 });
    await finish(clock, first);
    await finish(clock, second);
    expect(last(second)).toEqual({ type: 'end' });
  });

  it('takes a slot per choice', async () => {
    const { clock, dispatch } = await setUp({ slots: 4, tokensPerSecond: 10 });
    const output = { ...plainOutput, maxTokens: 4, choices: 3 };
    const wide = new Reading(dispatch.infer(chat({ output }), options()));
    const narrow = new Reading(dispatch.infer(chat(), options()));
    const waiting = new Reading(dispatch.infer(chat({ output }), options()));
    await clock.settle();
    expect(narrow.types()).toContain('accepted');
    expect(waiting.types()).toEqual(['progress']);
    for (const reading of [wide, narrow, waiting]) {
      await finish(clock, reading);
    }
  });

  it('is bounded: who comes when it is full is told when to come back', async () => {
    const { clock, dispatch } = await setUp({ slots: 1, tokensPerSecond: 10 });
    const readings = Array.from(
      { length: queueLimits.waiting + 2 },
      () => new Reading(dispatch.infer(chat({ output: { ...plainOutput, maxTokens: 1 } }), options())),
    );
    await clock.settle();
    expect(readings.at(-1)?.events).toEqual([
      expect.objectContaining({ code: 'queue_full', retryAfterSeconds: expect.any(Number) }),
    ]);
    for (const reading of readings) {
      await finish(clock, reading);
    }
    expect(readings.slice(0, -1).every((reading) => last(reading)?.type === 'end')).toBe(true);
  });

  it('lets interactive requests pass batch ones', async () => {
    const { clock, dispatch } = await setUp({ slots: 1, tokensPerSecond: 10 });
    const order: string[] = [];
    const ask = (name: string, priority: 'interactive' | 'batch'): Reading => {
      const reading = new Reading(dispatch.infer(chat({ priority }), options()));
      reading.done.then(() => order.push(name));
      return reading;
    };
    const readings = [ask('first', 'interactive'), ask('batch', 'batch'), ask('last', 'interactive')];
    for (const reading of readings) {
      await finish(clock, reading);
    }
    expect(order).toEqual(['first', 'last', 'batch']);
  });

  it('is left by a caller who hangs up while waiting', async () => {
    const { clock, dispatch, model } = await setUp({ slots: 1, tokensPerSecond: 10 });
    const running = new Reading(dispatch.infer(chat(), options()));
    const caller = new AbortController();
    await clock.settle();
    const waiting = new Reading(dispatch.infer(chat(), options({ signal: caller.signal })));
    await clock.settle();
    caller.abort();
    await waiting.done;
    expect(last(waiting)).toMatchObject({ code: 'cancelled', phase: 'before-output' });
    expect(dispatch.queueOf(model)).toMatchObject({ running: 1, waiting: 0 });
    await finish(clock, running);
  });

  it('keeps nobody waiting for ever', async () => {
    const { clock, dispatch } = await setUp({ slots: 1, hangAfterTokens: 1 });
    const held = new AbortController();
    const running = new Reading(dispatch.infer(chat(), options({ signal: held.signal })));
    await clock.settle();
    const waiting = new Reading(dispatch.infer(chat(), options()));
    // The hanging answer is cut by the stall watch; another one takes its place.
    await clock.advance(engineLimits.stallMs + engineLimits.cancelMs);
    expect(last(running)).toMatchObject({ code: 'engine_timeout' });
    expect(waiting.types()).toContain('accepted');
    await clock.advance(engineLimits.stallMs + engineLimits.cancelMs);
    expect(last(waiting)).toMatchObject({ code: 'engine_timeout' });
  });
});

describe('an answer that goes wrong', () => {
  it('is stopped, and its slot free, when the caller hangs up', async () => {
    const { clock, dispatch, model } = await setUp({ slots: 1, tokensPerSecond: 10 });
    const caller = new AbortController();
    const reading = new Reading(dispatch.infer(chat(), options({ signal: caller.signal })));
    await clock.advance(200);
    caller.abort();
    await reading.done;
    await clock.settle();
    expect(last(reading)).toMatchObject({ code: 'cancelled', phase: 'during-output' });
    expect(model.cancelled).toBe(1);
    expect(dispatch.queueOf(model)).toMatchObject({ running: 0 });
    expect(dispatch.inFlight).toBe(0);
  });

  it('is stopped when the reader just stops reading', async () => {
    const { clock, dispatch, model } = await setUp();
    for await (const event of dispatch.infer(chat(), options()).events) {
      if (event.type === 'accepted') {
        break;
      }
    }
    await clock.settle();
    expect(model.cancelled).toBe(1);
    expect(dispatch.inFlight).toBe(0);
  });

  it('ends at the deadline', async () => {
    const { clock, dispatch } = await setUp({ tokensPerSecond: 1 });
    const reading = new Reading(dispatch.infer(chat({ timeoutMs: 2_500 }), options()));
    await clock.advance(2_499);
    expect(reading.text).not.toBe('');
    await clock.advance(1);
    await reading.done;
    expect(last(reading)).toMatchObject({ code: 'deadline_exceeded', phase: 'during-output' });
  });

  it('ends when the engine has been silent for too long, not when the reader is slow', async () => {
    const { clock, dispatch } = await setUp({ hangAfterTokens: 3 });
    const events = dispatch.infer(chat(), options()).events[Symbol.asyncIterator]();
    expect((await events.next()).value).toMatchObject({ type: 'accepted' });
    await clock.advance(engineLimits.stallMs * 3);
    const second = events.next();
    await clock.advance(1);
    expect((await second).value).toMatchObject({ type: 'delta' });
    const seen: InferenceEvent[] = [];
    const rest = (async () => {
      for (let step = await events.next(); step.done !== true; step = await events.next()) {
        seen.push(step.value);
      }
    })();
    await clock.advance(engineLimits.stallMs * 2);
    await rest;
    expect(seen.at(-1)).toMatchObject({ code: 'engine_timeout', phase: 'during-output' });
  });

  it('is an engine_protocol error if the engine breaks the rules', async () => {
    const { clock, dispatch } = await setUp({ garbage: [{ type: 'end' }] });
    const reading = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, reading);
    expect(last(reading)).toMatchObject({ code: 'engine_protocol' });
  });

  it('waits for the engine to be back if it was lost before it gave anything, for who can be held', async () => {
    const lostOnce = async (fields: Partial<DispatchOptions>) => {
      const { clock, model, models, dispatch } = await setUp({ firstTokenDelayMs: 100 });
      model.onChange(({ state }) => {
        models.set({ name: 'demo', stage: state === 'ready' ? 'ready' : 'loading', sizeBytes: 1 }, model);
      });
      const answer = dispatch.infer(chat(), options(fields));
      const reading = new Reading(answer);
      await clock.advance(50);
      model.crash();
      await finish(clock, reading);
      return { reading, attempts: answer.route().attempts };
    };
    const held = await lostOnce({ stream: true });
    expect(last(held.reading)).toEqual({ type: 'end' });
    expect(held.attempts).toBe(2);
    expect(held.reading.types().filter((type) => type === 'accepted')).toHaveLength(1);
    const notHeld = await lostOnce({ stream: false });
    expect(last(notHeld.reading)).toMatchObject({
      type: 'error',
      code: 'engine_lost',
      phase: 'before-output',
    });
  });

  it('is the error of the engine if its process dies', async () => {
    const { clock, dispatch } = await setUp({ crashAfterTokens: 3 });
    const reading = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, reading);
    expect(last(reading)).toMatchObject({ code: 'engine_lost', phase: 'during-output', retryable: true });
  });
});

describe('a model with two replicas', () => {
  /** The second replica is another node's and is well; this node's own, which is asked first, is as the knobs say. */
  async function twoReplicas(knobs: Partial<DoubleEngineKnobs>) {
    const setup = await setUp(knobs);
    setup.models.set({ name: 'demo', digest }, setup.model);
    const second = new ScriptedRemote();
    setup.dispatch.setRemote(remoteOf(remoteReplica('ada', { digest, model: second })));
    return { ...setup, second };
  }

  it('is asked again elsewhere if the first gives nothing', async () => {
    const { clock, dispatch, second } = await twoReplicas({
      garbage: [{ type: 'accepted', replica: 'broken' }],
    });
    const answer = dispatch.infer(chat(), options());
    const reading = new Reading(answer);
    await finish(clock, reading);
    expect(reading.types().filter((type) => type === 'accepted')).toHaveLength(1);
    expect(reading.text).toBe('from afar');
    expect(answer.route()).toMatchObject({
      ...{ attempts: 2, reason: 'least-loaded', where: 'remote', peer: 'name of ada' },
    });
    expect(second.asked).toMatchObject([
      { request: { hops: 1, model: { name: 'demo', digest } }, patient: true },
    ]);
  });

  it('is not asked again once a part of the answer was given', async () => {
    const { clock, dispatch, second } = await twoReplicas({ crashAfterTokens: 2 });
    const reading = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, reading);
    expect(last(reading)).toMatchObject({ code: 'engine_lost', phase: 'during-output' });
    expect(second.asked).toEqual([]);
  });

  describe('whose reader has nothing before the whole answer', () => {
    /** What was heard of pieces as they came. */
    const heard: string[] = [];
    const whole = options({
      stream: false,
      whole: { onPiece: (event) => heard.push(event.type === 'delta' ? (event.text ?? '') : event.type) },
    });
    beforeEach(() => heard.splice(0));

    it('begins anew elsewhere, and nothing of the lost answer is in it', async () => {
      const { clock, dispatch, second } = await twoReplicas({ crashAfterTokens: 2 });
      const answer = dispatch.infer(chat(), whole);
      const reading = new Reading(answer);
      await finish(clock, reading);
      expect(reading.text).toBe('from afar');
      expect(reading.types()).toEqual(['accepted', 'delta', 'delta', 'finish', 'usage', 'end']);
      expect(answer.route()).toMatchObject({ attempts: 2, peer: 'name of ada' });
      expect(second.asked).toHaveLength(1);
      expect(heard).toHaveLength(4);
      expect(heard.slice(2)).toEqual(['from ', 'afar']);
    });

    it('is told that tokens had been produced if all are lost, be it that the last one gave none', async () => {
      const { clock, dispatch } = await twoReplicas({ crashAfterTokens: 2 });
      const full = new ScriptedRemote('demo', async function* () {
        yield errorEvent(new MeshnodeError('queue_full', 'Full.'), 'before-output');
      });
      dispatch.setRemote(remoteOf(remoteReplica('ada', { digest, model: full })));
      const reading = new Reading(dispatch.infer(chat(), whole));
      await finish(clock, reading);
      expect(reading.types()).toEqual(['accepted', 'error']);
      expect(last(reading)).toMatchObject({ code: 'queue_full', phase: 'during-output' });
    });

    it('is begun anew once: what kills one engine midway may kill all of them', async () => {
      const { clock, dispatch, second } = await twoReplicas({ crashAfterTokens: 2 });
      const dying = ['ada', 'bee', 'cat'].map((peer) => {
        const model = new ScriptedRemote('demo', async function* () {
          yield { type: 'accepted', replica: peer };
          yield { type: 'delta', index: 0, text: 'half' };
          yield errorEvent(new MeshnodeError('engine_lost', 'It died.'), 'during-output');
        });
        return remoteReplica(peer, { digest, model });
      });
      dispatch.setRemote(remoteOf(...dying));
      const reading = new Reading(dispatch.infer(chat(), whole));
      await finish(clock, reading);
      expect(last(reading)).toMatchObject({ code: 'engine_lost', phase: 'during-output' });
      const asked = dying.map(({ model }) => (model as ScriptedRemote).asked.length);
      expect(asked.reduce((sum, count) => sum + count)).toBe(1);
      expect(second.asked).toEqual([]);
    });

    it('is given what is too much to be kept, and nobody begins that anew', async () => {
      const { clock, models, dispatch, second } = await twoReplicas({});
      models.set({ name: 'demo', digest, stage: 'failed' });
      const tokenIds = Array.from({ length: 65_536 }, () => 1);
      let given = 0;
      const large = new ScriptedRemote('demo', async function* () {
        yield { type: 'accepted', replica: 'ada' };
        for (; given < 1_000; given++) {
          yield { type: 'delta', index: 0, text: 'x', tokenIds };
        }
        yield errorEvent(new MeshnodeError('engine_lost', 'It died.'), 'during-output');
      });
      dispatch.setRemote(
        remoteOf(
          remoteReplica('ada', { digest, model: large }),
          remoteReplica('bee', { digest, model: second }),
        ),
      );
      const events = dispatch.infer(chat(), whole).events[Symbol.asyncIterator]();
      await events.next();
      const first = events.next();
      await clock.advance(1_000);
      expect((await first).value).toMatchObject({ type: 'delta' });
      expect(given * tokenIds.length * 8).toBeLessThan(2 * passLimits.keptBytes);
      await events.return?.();
      expect(second.asked).toEqual([]);
    });

    it('ends at the deadline, wherever it has come to', async () => {
      const { clock, dispatch, second } = await twoReplicas({ tokensPerSecond: 10 });
      const reading = new Reading(dispatch.infer(chat({ timeoutMs: 350 }), whole));
      await finish(clock, reading);
      expect(reading.types()).toEqual(['accepted', 'error']);
      expect(last(reading)).toMatchObject({ code: 'deadline_exceeded', phase: 'during-output' });
      expect(second.asked).toEqual([]);
    });
  });

  it('is not asked again if the request itself is at fault', async () => {
    const { clock, dispatch } = await twoReplicas({ contextTokens: 1 });
    const answer = dispatch.infer(chat(), options());
    const reading = new Reading(answer);
    await finish(clock, reading);
    expect(last(reading)).toMatchObject({ code: 'context_length_exceeded' });
    expect(answer.route().attempts).toBe(1);
  });

  it('is asked where the engine can do what the request needs', async () => {
    const { clock, dispatch, second } = await twoReplicas({ features: new Set() });
    const reading = new Reading(dispatch.infer(chat({ sampling: { seed: 7 } }), options()));
    await finish(clock, reading);
    expect(last(reading)).toEqual({ type: 'end' });
    expect(second.asked).toHaveLength(1);
  });

  it('is asked where there is less to do', async () => {
    const { clock, dispatch, second } = await twoReplicas({ slots: 4, tokensPerSecond: 10 });
    const running = new Reading(dispatch.infer(chat(), options()));
    await clock.settle();
    const elsewhere = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, elsewhere);
    expect(elsewhere.text).toBe('from afar');
    second.figures = { requests: 9, slots: 4, rttMs: 1 };
    const here = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, running);
    await finish(clock, here);
    expect(second.asked).toHaveLength(1);
  });

  it('is asked elsewhere if the queue here is full', async () => {
    const { clock, dispatch, second } = await twoReplicas({ slots: 1, hangAfterTokens: 1 });
    second.figures = { requests: 10_000, slots: 1, rttMs: 1 };
    const caller = new AbortController();
    const readings = Array.from(
      { length: queueLimits.waiting + 1 },
      () => new Reading(dispatch.infer(chat(), options({ signal: caller.signal }))),
    );
    await clock.settle();
    const over = new Reading(dispatch.infer(chat(), options()));
    await finish(clock, over);
    expect(over.text).toBe('from afar');
    caller.abort();
    await Promise.all(readings.map(({ done }) => done));
  });

  it('is not asked elsewhere for a caller who has left', async () => {
    const { clock, dispatch, second } = await twoReplicas({ firstTokenDelayMs: 1_000 });
    const caller = new AbortController();
    const reading = new Reading(dispatch.infer(chat(), options({ signal: caller.signal })));
    await clock.advance(10);
    caller.abort();
    await reading.done;
    expect(last(reading)).toMatchObject({ code: 'cancelled' });
    expect(second.asked).toEqual([]);
  });

  it('is not asked a third time within the time that is over', async () => {
    const { clock, dispatch, second } = await twoReplicas({ firstTokenDelayMs: 1_000 });
    const reading = new Reading(dispatch.infer(chat({ timeoutMs: 500 }), options()));
    await clock.advance(501);
    await reading.done;
    expect(last(reading)).toMatchObject({ code: 'deadline_exceeded' });
    expect(second.asked).toEqual([]);
  });
});

describe('a model that only another node serves', () => {
  async function elsewhere(model: ScriptedRemote, fields: Partial<ReplicaFields> = {}) {
    const setup = await setUp();
    setup.dispatch.setRemote(remoteOf(remoteReplica('ada', { name: 'far', model, ...fields })));
    return setup;
  }
  const far = (fields: Partial<ChatRequest> = {}): ChatRequest => chat({ model: { name: 'far' }, ...fields });

  it('is listed, asked there by the name it has there, and the route says so', async () => {
    const { clock, dispatch, model: _model } = await elsewhere(new ScriptedRemote('far'));
    expect(dispatch.models().map(({ name }) => name)).toEqual(['demo', 'far']);
    const answer = dispatch.infer(far(), options());
    const reading = new Reading(answer);
    await finish(clock, reading);
    expect(reading.text).toBe('from afar');
    expect(answer.route()).toEqual({
      peer: 'name of ada',
      attempts: 1,
      mode: 'solo',
      where: 'remote',
      reason: 'only',
      model: 'far',
      ignored: [],
    });
  });

  it('is told how much time is left', async () => {
    const model = new ScriptedRemote('far');
    const { clock, dispatch } = await elsewhere(model);
    const answer = dispatch.infer(far({ timeoutMs: 10_000 }), options());
    await clock.advance(4_000);
    await finish(clock, new Reading(answer));
    expect(model.asked[0]?.request.timeoutMs).toBe(6_000);
  });

  it('is waited for while it loads there, as its node says how far it is', async () => {
    let isReady = false;
    const model = new ScriptedRemote('far', async function* () {
      if (isReady) {
        yield* plainAnswer();
      } else {
        const loading = { loading: { stage: 'loading', fraction: 0.5 } };
        yield errorEvent(
          new MeshnodeError('model_loading', 'Soon.', { retryAfterSeconds: 3, data: loading }),
          'before-output',
        );
      }
    });
    const { clock, dispatch } = await elsewhere(model, { stage: 'loading' });
    const answer = dispatch.infer(far({ sampling: { seed: 1 } }), options());
    const reading = new Reading(answer);
    await clock.advance(1_200);
    expect(reading.events).toEqual(
      Array.from({ length: 3 }, () => ({ type: 'progress', stage: 'loading', fraction: 0.5 })),
    );
    isReady = true;
    await finish(clock, reading);
    expect(reading.text).toBe('from afar');
    expect(answer.route().attempts).toBe(1);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is not waited for by who cannot be held, nor if that takes long', async () => {
    const model = new ScriptedRemote('far', async function* () {
      yield errorEvent(
        new MeshnodeError('model_loading', 'Later.', { retryAfterSeconds: 30 }),
        'before-output',
      );
    });
    const { clock, dispatch } = await elsewhere(model, { stage: 'loading' });
    for (const given of [options({ stream: false }), options({ stream: true })]) {
      const reading = new Reading(dispatch.infer(far(), given));
      await clock.settle();
      expect(reading.events).toEqual([
        expect.objectContaining({ code: 'model_loading', retryAfterSeconds: 30 }),
      ]);
    }
    const patient = new Reading(dispatch.infer(far(), options({ stream: false, waitForLoadMs: 2_000 })));
    await clock.advance(1_900);
    expect(new Set(patient.types())).toEqual(new Set(['progress']));
    await clock.advance(200);
    expect(last(patient)).toMatchObject({ code: 'model_loading' });
  });

  it('is gone with the mesh', async () => {
    const { clock, dispatch } = await elsewhere(new ScriptedRemote('far'));
    dispatch.setRemote(undefined);
    const reading = new Reading(dispatch.infer(far(), options()));
    await finish(clock, reading);
    expect(last(reading)).toMatchObject({ code: 'model_not_found' });
  });

  it('answers with an error of its own if what comes is unlawful', async () => {
    const unlawful = new ScriptedRemote('far', async function* () {
      yield { type: 'delta', index: 0, text: 'too early' };
    });
    const { clock, dispatch } = await elsewhere(unlawful);
    const reading = new Reading(dispatch.infer(far(), options()));
    await finish(clock, reading);
    expect(reading.events).toEqual([expect.objectContaining({ code: 'engine_protocol' })]);
  });

  it('is given up when it says nothing for too long', async () => {
    const silent = new ScriptedRemote('far', async function* (_request, signal) {
      yield { type: 'accepted', replica: 'silent' };
      await aborted(signal);
    });
    const { clock, dispatch } = await elsewhere(silent);
    const reading = new Reading(dispatch.infer(far(), options()));
    await clock.advance(engineLimits.stallMs);
    await reading.done;
    expect(last(reading)).toMatchObject({ code: 'engine_timeout' });
  });
});

describe('a request of a peer', () => {
  const fromPeer = (fields: Partial<DispatchOptions> = {}): DispatchOptions =>
    options({ caller: 'ada', ...fields });

  it('is answered by this node`s own model, and is no demand of its users', async () => {
    const asked: string[] = [];
    const served: string[] = [];
    const { clock, dispatch } = await setUp(
      {},
      {
        onAsked: (model) => asked.push(model),
        onServed: (caller, model) => served.push(`${caller} ${model}`),
      },
    );
    const reading = new Reading(dispatch.infer(chat({ hops: 1 }), fromPeer()));
    await finish(clock, reading);
    expect(last(reading)).toEqual({ type: 'end' });
    expect({ asked, served }).toEqual({ asked: [], served: ['ada demo'] });
  });

  it('goes on to another node at most once more, and never back', async () => {
    const { clock, dispatch } = await setUp();
    const [ada, bob] = [new ScriptedRemote('far'), new ScriptedRemote('far')];
    const both = [
      remoteReplica('ada', { name: 'far', digest, model: ada }),
      remoteReplica('bob', { name: 'far', digest, model: bob }),
    ];
    dispatch.setRemote(remoteOf(...both));
    const passedOn = new Reading(dispatch.infer(chat({ model: { name: 'far' }, hops: 1 }), fromPeer()));
    await finish(clock, passedOn);
    expect(passedOn.text).toBe('from afar');
    expect(bob.asked.map(({ request }) => request.hops)).toEqual([2]);
    const tooFar = new Reading(dispatch.infer(chat({ model: { name: 'far' }, hops: 2 }), fromPeer()));
    await finish(clock, tooFar);
    expect(last(tooFar)).toMatchObject({ code: 'model_not_found' });
    dispatch.setRemote(remoteOf(remoteReplica('ada', { name: 'far', digest, model: ada })));
    const back = new Reading(dispatch.infer(chat({ model: { name: 'far' }, hops: 1 }), fromPeer()));
    await finish(clock, back);
    expect(last(back)).toMatchObject({ code: 'model_not_found' });
    expect(ada.asked).toEqual([]);
  });

  it('waits for the owner`s', async () => {
    const { clock, dispatch } = await setUp({ slots: 1, tokensPerSecond: 10 });
    const order: string[] = [];
    const ask = (name: string, given: DispatchOptions): Reading => {
      const reading = new Reading(dispatch.infer(chat({ hops: name === 'peer' ? 1 : 0 }), given));
      reading.done.then(() => order.push(name));
      return reading;
    };
    const readings = [ask('first', options()), ask('peer', fromPeer()), ask('owner', options())];
    for (const reading of readings) {
      await finish(clock, reading);
    }
    expect(order).toEqual(['first', 'owner', 'peer']);
  });

  it('is refused when the peer has too many under way', async () => {
    const { clock, dispatch } = await setUp({ slots: 1, hangAfterTokens: 1 });
    const caller = new AbortController();
    const readings = Array.from(
      { length: peerLimits.inFlightPerPeer + 1 },
      () => new Reading(dispatch.infer(chat({ hops: 1 }), fromPeer({ signal: caller.signal }))),
    );
    await clock.settle();
    expect(last(readings.at(-1) ?? readings[0] ?? never())).toMatchObject({ code: 'queue_full' });
    const other = new Reading(
      dispatch.infer(chat({ hops: 1 }), options({ caller: 'bob', signal: caller.signal })),
    );
    await clock.settle();
    expect(other.types()).toEqual(['progress']);
    expect(dispatch.inFlightOfPeers).toBe(peerLimits.queuedPerPeer + 2);
    caller.abort();
    await Promise.all([...readings, other].map(({ done }) => done));
    expect(dispatch.inFlightOfPeers).toBe(0);
  });
});

describe('a dispatch that stops', () => {
  it('refuses new requests and lets the others end', async () => {
    const { clock, dispatch } = await setUp({ tokensPerSecond: 10 });
    const running = new Reading(dispatch.infer(chat(), options()));
    await clock.settle();
    dispatch.stopAccepting();
    const refused = new Reading(dispatch.infer(chat(), options()));
    await refused.done;
    expect(last(refused)).toMatchObject({ code: 'shutting_down' });
    expect(dispatch.inFlight).toBe(1);
    await finish(clock, running);
    await clock.settle();
    expect(last(running)).toEqual({ type: 'end' });
    expect(dispatch.inFlight).toBe(0);
  });
});

describe('the cost of passing through', () => {
  it('is far below a tenth of a millisecond an event', async () => {
    const count = 20_000;
    const model = new DoubleEngine().load({ name: 'demo', path: '/demo' });
    const loaded = await model;
    async function* many(): AsyncGenerator<InferenceEvent> {
      yield { type: 'accepted', replica: 'double' };
      for (let token = 0; token < count; token++) {
        yield { type: 'delta', index: 0, text: 'x' };
      }
      yield { type: 'finish', index: 0, reason: 'stop' };
      yield { type: 'end' };
    }
    loaded.infer = many;
    const models = new Models();
    models.set({ name: 'demo' }, loaded);
    const dispatch = new Dispatcher({ clock: systemClock, log: silentLogger, serving: models, peer: 'here' });
    const startMs = systemClock.monotonicMs();
    let seen = 0;
    for await (const event of dispatch.infer(chat(), options()).events) {
      seen += event.type === 'delta' ? 1 : 0;
    }
    const eachMs = (systemClock.monotonicMs() - startMs) / count;
    expect(seen).toBe(count);
    expect(eachMs).toBeLessThan(0.1);
  });
});
