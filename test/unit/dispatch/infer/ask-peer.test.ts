// A request and its answer between two nodes that keep to the protocol, over real streams in memory.
import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { guardEvents } from '../../../../src/inference/guard-events.ts';
import { MeshnodeError } from '../../../../src/util/errors.ts';
import { inferLimits } from '../../../../src/util/limits/dispatch.ts';
import { frameLimits } from '../../../../src/util/limits/inference.ts';
import { netLimits } from '../../../../src/util/limits/net.ts';
import { silentLogger } from '../../../../src/util/logging.ts';
import { chatRequest, collected, InferPair, until } from '../../../support/infer-pair.ts';
import { lawfulAnswers } from '../../../support/inference-arbitraries.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { aborted, accepted, end, textAnswer } from '../../../support/scripted-dispatch.ts';
import { rejectionOf } from '../../../support/thrown.ts';

const delta = (text: string): InferenceEvent => ({ type: 'delta', index: 0, text });

describe('a request to a peer', () => {
  it('brings every lawful answer to every request as it was given', async () => {
    const pair = await InferPair.linked();
    await fc.assert(
      fc.asyncProperty(lawfulAnswers, async ({ request, events }) => {
        const asked = { ...request, hops: 1 };
        pair.script = () => events;
        expect(await collected(pair.ask({ request: asked }))).toEqual({ events });
        expect(pair.lastCall.request).toEqual(
          request.timeoutMs === undefined ? asked : { ...asked, timeoutMs: expect.any(Number) },
        );
      }),
    );
    await until(() => pair.isQuiet);
  });

  it('carries the largest body, and refuses a larger one before it opens a stream', async () => {
    const pair = await InferPair.linked();
    const saying = (chars: number) =>
      chatRequest({ messages: [{ role: 'user', content: [{ type: 'text', text: 'x'.repeat(chars) }] }] });
    const large = saying(frameLimits.bodyBytes - 1024);
    expect((await collected(pair.ask({ request: large }))).events).toEqual(
      pair.script(large, pair.lastCall.signal),
    );
    expect(pair.lastCall.request).toEqual(large);
    expect(pair.opened).toBe(1);
    const tooLarge = collected(pair.ask({ request: saying(frameLimits.bodyBytes) }));
    expect(await tooLarge).toMatchObject({ events: [], thrown: { code: 'body_too_large' } });
    expect(pair.opened).toBe(1);
    await until(() => pair.isQuiet);
  });

  it('cuts a delta that is too large for a frame, and counts its frames', async () => {
    const pair = await InferPair.linked();
    const text = 'ß'.repeat(300 * 1024);
    pair.script = () => textAnswer(text);
    const { events } = await collected(pair.ask());
    const deltas = events.filter((event) => event.type === 'delta');
    expect(deltas.length).toBeGreaterThan(2);
    expect(deltas.map((piece) => piece.text).join('')).toBe(text);
  });

  it('does nothing before its events are read', async () => {
    const pair = await InferPair.linked();
    const events = pair.ask();
    await events.return();
    expect(pair.opened).toBe(0);
  });

  it('throws why no stream could be opened', async () => {
    const pair = await InferPair.linked();
    pair.cut();
    expect(await collected(pair.ask({ patienceMs: 1000 }))).toMatchObject({
      events: [],
      thrown: { code: 'peer_unreachable' },
    });
  });

  it('leaves nothing behind after a thousand requests, whatever became of them', async () => {
    const clock = new ManualClock();
    const pair = await InferPair.linked({ clock });
    const over = new AbortController();
    const signals = new Set([over.signal]);
    const one = async (turn: number): Promise<void> => {
      const caller = new AbortController();
      const events = pair.ask({ signal: caller.signal, lost: over.signal });
      signals.add(caller.signal);
      let left = turn % 7;
      for await (const _ of events) {
        if (left-- === 0) {
          if (turn % 2 === 0) {
            caller.abort();
          }
          break;
        }
      }
    };
    for (let turn = 0; turn < 1000; turn += 50) {
      const some = Promise.all(Array.from({ length: 50 }, (_, place) => one(turn + place)));
      await clock.settle();
      await some;
      await until(() => pair.isQuiet);
    }
    expect(pair.calls).toHaveLength(1000);
    expect(pair.server?.figures()).toEqual({ answers: 0, detached: 0, keptBytes: 0 });
    expect(clock.pendingTimers).toBe(0);
    expect([...signals].flatMap((signal) => getEventListeners(signal, 'abort'))).toEqual([]);
  });
});

describe('a caller that reads slowly', () => {
  it('holds the answer back, and reads the stream only when it wants an event', async () => {
    const pair = await InferPair.linked();
    const text = 'x'.repeat(1000);
    async function* endless(): AsyncGenerator<InferenceEvent> {
      yield accepted;
      while (true) {
        yield delta(text);
      }
    }
    pair.script = endless;
    const reads = countReads(pair);
    const events = pair.ask();
    await events.next();
    const { pulled } = await settled(pair);
    // What the caller took, a full buffer in the stream, what is being written, and what may be ahead of that.
    const mostBytes = netLimits.unreadBytes + inferLimits.aheadBytes + 2 * inferLimits.writeBytes;
    expect(pulled * text.length).toBeLessThan(mostBytes + 10 * text.length);
    expect(pulled * text.length).toBeGreaterThan(netLimits.unreadBytes / 2);
    expect(reads.count).toBe(1);
    for (let turn = 0; turn < 3 * pulled; turn++) {
      await events.next();
    }
    expect((await settled(pair)).pulled).toBeGreaterThan(3 * pulled);
    await events.return();
    await until(() => pair.isQuiet);
  });
});

describe('a caller that wants no more', () => {
  async function* waiting(_request: unknown, signal: AbortSignal): AsyncGenerator<InferenceEvent> {
    yield accepted;
    yield delta('a');
    await aborted(signal);
  }

  it('stops the answer within a turn when it leaves, and its engine is told', async () => {
    const pair = await InferPair.linked({ script: waiting });
    const events = pair.ask();
    await events.next();
    await events.return();
    await new Promise((resolve) => setImmediate(resolve));
    expect(pair.lastCall.signal.aborted).toBe(true);
    await pair.lastCall.closed;
    await until(() => pair.isQuiet);
  });

  it('stops it by its signal while it waits for an event, and while it does not', async () => {
    const pair = await InferPair.linked({ script: waiting });
    const [idle, reading] = [new AbortController(), new AbortController()];
    const idleEvents = pair.ask({ signal: idle.signal });
    const events = pair.ask({ signal: reading.signal });
    for (const one of [idleEvents, events, events]) {
      await one.next();
    }
    const pending = events.next();
    idle.abort();
    reading.abort(new MeshnodeError('deadline_exceeded', 'Too late.'));
    expect(await rejectionOf(pending)).toMatchObject({ code: 'deadline_exceeded' });
    await Promise.all(pair.calls.map(({ closed }) => closed));
    expect(await rejectionOf(idleEvents.next())).toMatchObject({ code: 'cancelled' });
    await until(() => pair.isQuiet);
  });

  it('does not hang if it leaves while an event is waited for and then aborts', async () => {
    const pair = await InferPair.linked({ script: waiting });
    const caller = new AbortController();
    const events = pair.ask({ signal: caller.signal });
    await events.next();
    await events.next();
    const pending = events.next();
    const leaving = events.return();
    caller.abort();
    expect(await rejectionOf(pending)).toMatchObject({ code: 'cancelled' });
    await leaving;
    await until(() => pair.isQuiet);
  });

  it('opens no stream if it was gone before', async () => {
    const pair = await InferPair.linked();
    expect(await collected(pair.ask({ signal: AbortSignal.abort() }))).toMatchObject({
      thrown: { code: 'cancelled' },
    });
    expect(pair.opened).toBe(0);
  });

  it('stops sending a large request', async () => {
    const pair = await InferPair.linked({ handler: (stream) => stream.closed });
    const caller = new AbortController();
    const content = [{ type: 'text' as const, text: 'x'.repeat(4 * 1024 * 1024) }];
    const request = chatRequest({ messages: [{ role: 'user', content }] });
    const pending = collected(pair.ask({ request, signal: caller.signal }));
    await until(() => pair.opened === 1);
    caller.abort();
    expect(await pending).toMatchObject({ thrown: { code: 'cancelled' } });
    await until(() => pair.open.size === 0);
  });

  it('waits no longer than the peer is held to be there', async () => {
    const pair = await InferPair.linked({ script: waiting });
    const lost = new AbortController();
    const pending = collected(pair.ask({ lost: lost.signal, patienceMs: 60_000 }));
    await until(() => pair.calls[0]?.pulled === 2);
    lost.abort(new MeshnodeError('peer_unreachable', 'It is dead.'));
    expect(await pending).toMatchObject({ thrown: { code: 'peer_unreachable', message: 'It is dead.' } });
    expect(pair.opened).toBe(1);
  });
});

describe('an answer behind guardEvents', () => {
  it('is the peer’s, with its errors', async () => {
    const request = chatRequest();
    const refused: InferenceEvent = {
      type: 'error',
      code: 'model_loading',
      message: 'soon',
      retryable: true,
      phase: 'before-output',
      retryAfterSeconds: 3,
    };
    const pair = await InferPair.linked({ script: () => [refused] });
    const events = guardEvents(request, pair.ask({ request }), { log: silentLogger });
    expect(await collected(events)).toEqual({ events: [refused] });
    await until(() => pair.isQuiet);
  });

  it('is an error if its events are out of order, and the peer is told to stop', async () => {
    const request = chatRequest();
    async function* unordered(_request: unknown, signal: AbortSignal): AsyncGenerator<InferenceEvent> {
      yield delta('too early');
      yield accepted;
      await aborted(signal);
      yield end;
    }
    const pair = await InferPair.linked({ script: unordered });
    const plain = pair.ask({ request });
    expect(await plain.next()).toMatchObject({ value: delta('too early') });
    await plain.return();
    const events = guardEvents(request, pair.ask({ request }), { log: silentLogger });
    expect(await collected(events)).toMatchObject({ events: [{ type: 'error', code: 'engine_protocol' }] });
    await until(() => pair.isQuiet);
  });
});

/** Waits until the answer is read no further. */
async function settled(pair: InferPair): Promise<{ pulled: number }> {
  for (let before = -1; before !== pair.lastCall.pulled; ) {
    before = pair.lastCall.pulled;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return pair.lastCall;
}

/** Counts how often the caller's streams are read from. */
function countReads(pair: InferPair): { count: number } {
  const reads = { count: 0 };
  pair.wrap = (stream) => {
    const read = stream.read.bind(stream);
    stream.read = (signal) => {
      reads.count++;
      return read(signal);
    };
    return stream;
  };
  return reads;
}
