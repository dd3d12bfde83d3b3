// Answers whose streams break: taken up again frame by frame, kept for so long and no longer, and given to nobody else.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TakeUpPlan } from '../../../../src/dispatch/infer/take-up-plan.ts';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { sleep } from '../../../../src/util/clock.ts';
import { MeshnodeError } from '../../../../src/util/errors.ts';
import { inferLimits } from '../../../../src/util/limits/dispatch.ts';
import { netLimits } from '../../../../src/util/limits/net.ts';
import {
  chatRequest,
  collected,
  InferPair,
  type InferPairOptions,
  until,
} from '../../../support/infer-pair.ts';
import { breaking, RawEnd } from '../../../support/infer-raw.ts';
import { lawfulAnswers } from '../../../support/inference-arbitraries.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { aborted, accepted, end, textAnswer } from '../../../support/scripted-dispatch.ts';

const delta = (text: string): InferenceEvent => ({ type: 'delta', index: 0, text });
const answer = textAnswer('a', 'b', 'c', 'd');

async function setUp(options: InferPairOptions = {}) {
  const clock = new ManualClock();
  const pair = await InferPair.linked({ clock, script: () => answer, ...options });
  /** What a task gives, while time passes. */
  const inTime = async <T>(task: Promise<T>): Promise<T> => {
    let isOver = false;
    const over = (): void => {
      isOver = true;
    };
    task.then(over, over);
    await clock.settle();
    while (!isOver) {
      await clock.advance(inferLimits.resumePauseMs);
    }
    return await task;
  };
  /** Time passes until nothing is left of any request. */
  const quiet = async (): Promise<void> => {
    await clock.advance(netLimits.lingerMs + inferLimits.resumeMs);
    await until(() => pair.isQuiet);
    expect(clock.pendingTimers).toBe(0);
  };
  return { clock, pair, inTime, quiet };
}

/** An answer that says so much and then waits for its signal. */
function waitingAfter(...events: InferenceEvent[]) {
  return async function* script(_request: unknown, signal: AbortSignal): AsyncGenerator<InferenceEvent> {
    yield* events;
    await aborted(signal);
  };
}

describe('an answer whose stream breaks', () => {
  it('is the same as without, wherever streams break', async () => {
    const { pair, inTime, quiet } = await setUp();
    const cuts = fc.array(fc.nat(300), { maxLength: 6 });
    const sizes = fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(lawfulAnswers, cuts, sizes, async ({ request, events }, cutAt, pieces) => {
        const answers = pair.calls.length;
        const left = [...cutAt];
        pair.script = () => events;
        pair.wrap = (stream) => breaking(stream, left.shift() ?? Number.POSITIVE_INFINITY, pieces);
        const asked = { ...request, hops: 1, timeoutMs: 60_000 };
        const given = await inTime(collected(pair.ask({ request: asked, patienceMs: 60_000 })));
        expect(given).toEqual({ events });
        expect(pair.calls.length).toBe(answers + 1);
      }),
    );
    await quiet();
  });

  it.each(answer.map((_, place) => place))('goes on over a new link after frame %i', async (place) => {
    const { pair, inTime, quiet } = await setUp();
    const events: InferenceEvent[] = [];
    const reading = async (): Promise<void> => {
      for await (const event of pair.ask({ patienceMs: 1000 })) {
        events.push(event);
        if (events.length === place + 1) {
          pair.relink();
        }
      }
    };
    await inTime(reading());
    expect(events).toEqual(answer);
    expect(pair.calls).toHaveLength(1);
    await quiet();
  });

  it('gives its last event even if that was lost after all of it was written', async () => {
    const { clock, pair, inTime, quiet } = await setUp();
    const events = pair.ask();
    for (const event of answer.slice(0, -1)) {
      pair.wrap = (stream) => stream;
      expect(await events.next()).toEqual({ value: event, done: false });
    }
    await clock.settle();
    expect(pair.lastCall.isClosed).toBe(true);
    pair.relink();
    expect(await inTime(events.next())).toEqual({ value: end, done: false });
    expect(await events.next()).toEqual({ value: undefined, done: true });
    await quiet();
  });

  it('is waited for as long as its peer keeps it, once there was output', async () => {
    const { clock, pair, quiet } = await setUp({ script: waitingAfter(...answer) });
    const events = collected(pair.ask());
    await clock.settle();
    expect(await events).toEqual({ events: answer });
    pair.script = waitingAfter(...answer.slice(0, 3));
    const cut = collected(pair.ask());
    await clock.settle();
    pair.cut();
    await clock.advance(inferLimits.resumeMs - 1);
    expect(pair.server?.figures()).toMatchObject({ answers: 1, detached: 1 });
    expect(pair.lastCall.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(pair.lastCall.signal.aborted).toBe(true);
    expect(await cut).toMatchObject({ events: answer.slice(0, 3), thrown: { code: 'stream_broken' } });
    await quiet();
  });

  it('is taken up within a pause after the link is there again', async () => {
    const { clock, pair, inTime, quiet } = await setUp({ script: waitingAfter(...answer.slice(0, 3)) });
    const events: InferenceEvent[] = [];
    const reading = (async () => {
      for await (const event of pair.ask()) {
        events.push(event);
      }
    })();
    await clock.settle();
    pair.cut();
    await clock.advance(inferLimits.resumeMs - 2 * inferLimits.resumePauseMostMs);
    await pair.link();
    await clock.advance(inferLimits.resumePauseMostMs);
    expect(pair.opened).toBe(2);
    expect(pair.server?.figures()).toMatchObject({ answers: 1, detached: 0 });
    await clock.advance(2 * inferLimits.resumeMs);
    expect(pair.lastCall.signal.aborted).toBe(false);
    await inTime(Promise.all([pair.server?.stop(), reading]));
    expect(events.at(-1)).toMatchObject({ type: 'error', code: 'shutting_down', phase: 'during-output' });
    await quiet();
  });

  it('is taken up once the peer has admitted this node again', async () => {
    const { clock, pair, inTime, quiet } = await setUp({
      script: async function* inTwoParts() {
        yield* answer.slice(0, 3);
        await sleep(clock, inferLimits.resumeMs / 4);
        yield* answer.slice(3);
      },
    });
    let isAdmitted = true;
    pair.wrap = (stream) => {
      if (!isAdmitted) {
        const refused = new MeshnodeError('protocol_refused', 'Not yet.');
        stream.abort(refused);
        throw refused;
      }
      return stream;
    };
    const events = pair.ask();
    for (const event of answer.slice(0, 3)) {
      expect((await events.next()).value).toEqual(event);
    }
    isAdmitted = false;
    pair.relink();
    const rest = collected(events);
    await clock.advance(inferLimits.resumeMs / 2);
    isAdmitted = true;
    expect(await inTime(rest)).toEqual({ events: answer.slice(3) });
    await quiet();
  });

  it('is not waited for before output if another replica can be asked', async () => {
    const { clock, pair, quiet } = await setUp({ script: waitingAfter(accepted) });
    const events = collected(pair.ask());
    await clock.settle();
    pair.relink();
    await clock.settle();
    expect(await events).toMatchObject({ events: [accepted], thrown: { code: 'stream_broken' } });
    expect(pair.opened).toBe(1);
    await quiet();
  });

  it('is not waited for once the peer is held to be gone, or nobody wants it', async () => {
    for (const [why, code] of [
      ['lost', 'peer_unreachable'],
      ['signal', 'cancelled'],
    ] as const) {
      const { clock, pair, quiet } = await setUp({ script: waitingAfter(accepted, delta('a')) });
      const over = new AbortController();
      const events = collected(pair.ask({ [why]: over.signal }));
      await clock.settle();
      pair.cut();
      await clock.advance(1000);
      over.abort(new MeshnodeError(code, 'It is over.'));
      expect(await events).toMatchObject({ thrown: { code, message: 'It is over.' } });
      await quiet();
    }
  });

  it('is what the peer says when it is taken up, be it an error', async () => {
    const { clock, pair, inTime, quiet } = await setUp({ script: waitingAfter(accepted, delta('a')) });
    const events = collected(pair.ask());
    await clock.settle();
    await inTime(pair.server?.stop() ?? Promise.resolve());
    expect((await events).events).toEqual([
      accepted,
      delta('a'),
      expect.objectContaining({ type: 'error', code: 'shutting_down' }),
    ]);
    await quiet();
  });
});

describe('a stream that was dead before it was used', () => {
  it('costs one more stream, not the request, and the answer is not begun twice', async () => {
    for (const patienceMs of [0, 1000]) {
      const { pair, inTime, quiet } = await setUp();
      pair.wrap = (stream) => (pair.opened === 0 ? breaking(stream, 0) : stream);
      expect(await inTime(collected(pair.ask({ patienceMs })))).toEqual({ events: answer });
      expect([pair.opened, pair.calls.length]).toEqual([2, 1]);
      await quiet();
    }
  });

  it('has cost time, which the peer is told', async () => {
    const heads: unknown[] = [];
    const { clock, pair } = await setUp({
      handler: async (stream) => {
        heads.push((await new RawEnd(stream).request())[0]);
        await stream.closed;
      },
    });
    const caller = new AbortController();
    const given = collected(pair.ask({ request: chatRequest({ timeoutMs: 10_000 }), signal: caller.signal }));
    await clock.advance(inferLimits.stillbornMs / 2);
    pair.relink();
    await clock.settle();
    caller.abort();
    await given;
    expect(heads).toMatchObject([{ head: { timeoutMs: 10_000 } }, { head: { timeoutMs: 9_500 } }]);
  });

  it('is replaced once', async () => {
    const { pair, inTime, quiet } = await setUp();
    pair.wrap = (stream) => breaking(stream, 0);
    expect(await inTime(collected(pair.ask()))).toMatchObject({ thrown: { code: 'stream_broken' } });
    expect(pair.opened).toBe(2);
    await quiet();
  });

  it('is none if it breaks late', async () => {
    const { clock, pair, quiet } = await setUp({ script: waitingAfter() });
    const events = collected(pair.ask());
    await clock.advance(inferLimits.stillbornMs);
    pair.relink();
    await clock.settle();
    expect(await events).toMatchObject({ thrown: { code: 'stream_broken' } });
    expect(pair.opened).toBe(1);
    await quiet();
  });
});

describe('when an answer is worth taking up', () => {
  it('streams that break in a row without bringing anything are counted, with longer and longer pauses', () => {
    const plan = new TakeUpPlan(0, 1000);
    plan.received(true);
    const pauses: number[] = [];
    let nowMs = 0;
    while (plan.chanceAfterLoss(nowMs) !== undefined) {
      nowMs += 10;
      pauses.push(plan.nextPauseMs());
    }
    expect(pauses).toHaveLength(inferLimits.resumes);
    expect(pauses.slice(0, 4)).toEqual([0, 50, 100, 200]);
    expect(Math.max(...pauses)).toBe(inferLimits.resumePauseMostMs);
  });

  it('a frame makes good for what broke before', () => {
    const plan = new TakeUpPlan(0, 0);
    for (let turn = 0; turn < 5 * inferLimits.resumes; turn++) {
      plan.received(true);
      expect(plan.chanceAfterLoss(turn)).toEqual({
        untilMs: turn + inferLimits.resumeMs,
        tries: Number.POSITIVE_INFINITY,
      });
      expect(plan.nextPauseMs()).toBe(0);
    }
    expect(plan.framesHeld).toBe(5 * inferLimits.resumes);
  });

  it('before output it is as long as the caller has patience', () => {
    const plan = new TakeUpPlan(0, 700);
    plan.received(false);
    expect(plan.chanceAfterLoss(100)?.untilMs).toBe(800);
    const impatient = new TakeUpPlan(0, 0);
    impatient.received(false);
    expect(impatient.chanceAfterLoss(1)).toBeUndefined();
  });
});

describe('an answer that has lost its stream', () => {
  it('goes on while it can be kept, and then waits', async () => {
    const text = 'x'.repeat(1000);
    async function* endless(): AsyncGenerator<InferenceEvent> {
      yield accepted;
      while (true) {
        yield delta(text);
      }
    }
    const { clock, pair, quiet } = await setUp({ script: endless });
    const raw = new RawEnd(await pair.rawStream());
    await raw.ask(1);
    await clock.settle();
    const before = pair.server?.figures().keptBytes ?? 0;
    expect(before).toBeLessThan(netLimits.unreadBytes * 2);
    raw.stream.abort(new Error('lost'));
    await clock.settle();
    const { detached, keptBytes = 0 } = pair.server?.figures() ?? {};
    expect(detached).toBe(1);
    expect(keptBytes).toBeGreaterThan(inferLimits.keptBytes);
    expect(keptBytes).toBeLessThan(before + inferLimits.keptBytes + 2 * text.length);
    await quiet();
  });

  it('is given to nobody but the peer that asked', async () => {
    const { clock, pair, quiet } = await setUp({ script: waitingAfter(accepted, delta('secret')) });
    const own = new RawEnd(await pair.rawStream());
    await own.ask(1);
    await clock.settle();
    own.stream.abort(new Error('lost'));
    await clock.settle();
    const other = new RawEnd(await pair.rawStream('stranger'));
    await other.ask(1, 1);
    expect(await other.events()).toMatchObject([{ type: 'error', code: 'stream_broken', retryable: true }]);
    await other.stream.end();
    const again = new RawEnd(await pair.rawStream());
    await again.ask(1, 1);
    expect(await again.event()).toEqual(delta('secret'));
    await again.send({ type: 'cancel' });
    await pair.lastCall.closed;
    expect(pair.calls).toHaveLength(1);
    await quiet();
  });

  it('goes over to the stream that shows its key last, and the one before is aborted', async () => {
    const { clock, pair, quiet } = await setUp({ script: waitingAfter(accepted, delta('a')) });
    const first = new RawEnd(await pair.rawStream());
    await first.ask(1);
    expect([await first.event(), await first.event()]).toEqual([accepted, delta('a')]);
    for (const held of [2, 1, 0, 0, 2, 1]) {
      const next = new RawEnd(await pair.rawStream());
      await next.ask(1, held);
      for (const event of [accepted, delta('a')].slice(held)) {
        expect(await next.event()).toEqual(event);
      }
    }
    await clock.settle();
    await expect(first.frame()).rejects.toMatchObject({ code: 'stream_broken' });
    expect(pair.server?.figures()).toMatchObject({ answers: 1, detached: 0 });
    expect(pair.calls).toHaveLength(1);
    pair.cut();
    await quiet();
  });

  it('is over when frames are asked for that are no longer kept', async () => {
    const frames = 1200;
    const script = () => textAnswer(...Array.from({ length: frames }, () => 'x'.repeat(1000)));
    const { clock, pair, quiet } = await setUp({ script });
    const raw = new RawEnd(await pair.rawStream());
    await raw.ask(1);
    for (let frame = 0; frame < frames; frame++) {
      await raw.event();
    }
    await clock.settle();
    expect(pair.server?.figures().keptBytes).toBeLessThanOrEqual(
      inferLimits.keptBytes + inferLimits.aheadBytes,
    );
    for (const held of [1, 1000]) {
      const late = new RawEnd(await pair.rawStream());
      await late.ask(1, held);
      expect(await late.events()).toMatchObject([
        { type: 'error', code: 'stream_broken', phase: 'during-output' },
      ]);
      await late.stream.end();
    }
    expect(pair.server?.figures()).toEqual({ answers: 0, detached: 0, keptBytes: 0 });
    await quiet();
  });

  it('is none of whoever claims more of it than was ever written', async () => {
    const { pair, quiet } = await setUp({ script: waitingAfter(accepted) });
    const raw = new RawEnd(await pair.rawStream());
    await raw.ask(1);
    await raw.event();
    const liar = new RawEnd(await pair.rawStream());
    await liar.ask(1, 2);
    expect(await liar.events()).toMatchObject([{ type: 'error', code: 'frame_invalid' }]);
    await liar.stream.end();
    expect(pair.lastCall.signal.aborted).toBe(false);
    await raw.send({ type: 'cancel' });
    await quiet();
  });

  it('is not to be had once it is over, and its key means nothing any more', async () => {
    const { pair, quiet } = await setUp({ script: waitingAfter(accepted) });
    const ask = async (key: number, framesHeld = 0): Promise<RawEnd> => {
      const raw = new RawEnd(await pair.rawStream());
      await raw.ask(key, framesHeld);
      return raw;
    };
    const [first, other] = [await ask(1), await ask(2)];
    await first.event();
    await other.event();
    await first.send({ type: 'cancel' });
    await pair.calls[0]?.closed;
    const late = await ask(1, 1);
    expect(await late.events()).toMatchObject([{ code: 'stream_broken' }]);
    await late.stream.end();
    const again = await ask(1);
    expect(await again.event()).toEqual(accepted);
    expect(pair.calls).toHaveLength(3);
    await again.send({ type: 'cancel' });
    await other.send({ type: 'cancel' });
    await quiet();
  });

  it('makes room for newer ones: the oldest of too many is given up', async () => {
    const { clock, pair, quiet } = await setUp({ script: waitingAfter(accepted) });
    const raws: RawEnd[] = [];
    for (let key = 0; key <= inferLimits.detachedPerPeer; key++) {
      const raw = new RawEnd(await pair.rawStream());
      await raw.ask(key);
      await raw.event();
      raws.push(raw);
    }
    for (const raw of raws.toReversed()) {
      raw.stream.abort(new Error('lost'));
      await clock.settle();
    }
    expect(pair.server?.figures()).toMatchObject({ answers: inferLimits.detachedPerPeer });
    expect(pair.calls.filter(({ signal }) => signal.aborted)).toEqual([pair.lastCall]);
    await quiet();
  });
});
