// A server of requests and callers that ask wrongly, slowly, too much, or go away: it says what it can, stops what
// nobody wants, and leaves nothing behind.
import { getEventListeners } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { BodyMemory } from '../../../../src/dispatch/infer/body-memory.ts';
import { InferFrames } from '../../../../src/dispatch/infer/infer-frames.ts';
import { receiveRequest } from '../../../../src/dispatch/infer/reception.ts';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { encodeFrame, type InferFrame } from '../../../../src/inference/frames.ts';
import type { ChatRequest } from '../../../../src/inference/request.ts';
import { requestToFrames } from '../../../../src/inference/request-frames.ts';
import { protocols } from '../../../../src/trust/gate.ts';
import { inferLimits } from '../../../../src/util/limits/dispatch.ts';
import { frameLimits } from '../../../../src/util/limits/inference.ts';
import { netLimits, poolLimits } from '../../../../src/util/limits/net.ts';
import { type AnswerScript, chatRequest, InferPair, until } from '../../../support/infer-pair.ts';
import { keyOf, RawEnd } from '../../../support/infer-raw.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { memoryStreams } from '../../../support/memory-stream.ts';
import { aborted, accepted, textAnswer } from '../../../support/scripted-dispatch.ts';
import { thrownBy } from '../../../support/thrown.ts';

const answer = textAnswer('a', 'b');
const nothing = { answers: 0, detached: 0, keptBytes: 0 };

let pairs: { pair: InferPair; clock: ManualClock; raws: RawEnd[] }[] = [];

async function setUp(script: AnswerScript = () => answer) {
  const clock = new ManualClock();
  const pair = await InferPair.linked({ clock, script });
  const raws: RawEnd[] = [];
  pairs.push({ pair, clock, raws });
  const raw = async (): Promise<RawEnd> => {
    const one = new RawEnd(await pair.rawStream());
    raws.push(one);
    return one;
  };
  return { clock, pair, raw };
}

/** Whatever became of it, a moment after its callers are gone nothing is left. */
afterEach(async () => {
  for (const { pair, clock, raws } of pairs) {
    pair.cut();
    await clock.advance(inferLimits.resumeMs + inferLimits.cancelMs);
    await Promise.all(raws.map(({ stream }) => stream.closed));
    expect(pair.server?.figures()).toEqual(nothing);
    expect(clock.pendingTimers).toBe(0);
  }
  pairs = [];
});

function user(text: string): ChatRequest['messages'][number] {
  return { role: 'user', content: [{ type: 'text', text }] };
}

/** Says so much and then waits for its signal. */
function waitingAfter(...events: InferenceEvent[]): AnswerScript {
  return async function* script(_request, signal) {
    yield* events;
    await aborted(signal);
  };
}

const resumption = { resumeKey: keyOf(1), framesHeld: 0 };
const [head, body, last] = requestToFrames(chatRequest(), resumption) as [InferFrame, InferFrame, InferFrame];

/** The head of a request with a body of so many bytes. */
function headAnnouncing(bodyBytes: number): InferFrame {
  return head.type === 'head' ? { type: 'head', head: { ...head.head, bodyBytes } } : head;
}

describe('a request that is none', () => {
  const long = { type: 'body' as const, bytes: new Uint8Array(1000) };
  const withHops = (hops: number) => requestToFrames(chatRequest({ hops }), resumption);
  it.each<[string, string, InferFrame[]]>([
    ['begins with its body', 'frame_invalid', [body]],
    ['begins with an event', 'frame_invalid', [{ type: 'event', event: accepted }]],
    ['has two heads', 'frame_invalid', [head, head]],
    ['has a body longer than announced', 'frame_invalid', [head, long]],
    ['has a body shorter than announced', 'frame_invalid', [headAnnouncing(1000), body, last]],
    ['has a body that is no JSON', 'frame_invalid', [headAnnouncing(1000), long, last]],
    ['has passed no node', 'invalid_request', withHops(0)],
    ['has passed too many', 'invalid_request', withHops(3)],
    ['has an empty chat', 'invalid_request', requestToFrames(chatRequest({ messages: [] }), resumption)],
    [
      'takes up what nobody knows',
      'stream_broken',
      requestToFrames(chatRequest(), { ...resumption, framesHeld: 1 }),
    ],
  ])('because it %s is answered with %s', async (_why, code, frames) => {
    const { pair, raw } = await setUp();
    const caller = await raw();
    await caller.send(...frames);
    expect(await caller.events()).toMatchObject([{ type: 'error', code }]);
    await caller.stream.end();
    await caller.stream.closed;
    expect(pair.calls).toEqual([]);
  });

  it('because it is too large is answered with body_too_large', async () => {
    const { raw } = await setUp();
    const caller = await raw();
    await caller.send(headAnnouncing(frameLimits.bodyBytes + 1));
    expect(await caller.events()).toMatchObject([{ code: 'body_too_large', retryable: false }]);
  });

  it('because it is rubbish is answered with frame_invalid', async () => {
    const { raw } = await setUp();
    const caller = await raw();
    await caller.stream.write(Uint8Array.of(3, 0xff, 0xff, 0xff));
    expect(await caller.events()).toMatchObject([{ code: 'frame_invalid', phase: 'before-output' }]);
  });

  it('because it ends too early, in a frame or between two, is answered with frame_invalid', async () => {
    for (const bytes of [encodeFrame(head), encodeFrame(head).subarray(0, 10)]) {
      const { raw } = await setUp();
      const caller = await raw();
      await caller.stream.write(bytes);
      await caller.stream.end();
      expect(await caller.events()).toMatchObject([{ code: 'frame_invalid' }]);
    }
  });

  it('because its caller vanished leaves nothing', async () => {
    for (const frames of [[head], [head, body]]) {
      const { clock, pair, raw } = await setUp();
      const caller = await raw();
      await caller.send(...frames);
      await clock.settle();
      pair.cut();
      await clock.settle();
      expect(clock.pendingTimers).toBe(0);
      expect(pair.calls).toEqual([]);
    }
  });
});

describe('a stream on which nothing is asked', () => {
  it('may end, break or be cancelled without a word', async () => {
    const leave: ((raw: RawEnd) => Promise<void>)[] = [
      (raw) => raw.stream.end(),
      async (raw) => raw.stream.abort(new Error('a spare')),
      (raw) => raw.send({ type: 'cancel' }),
    ];
    for (const leaves of leave) {
      const { clock, raw } = await setUp();
      const caller = await raw();
      await leaves(caller);
      await clock.settle();
      await caller.stream.end().catch(() => {});
      await clock.settle();
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('is aborted when it was no spare for too long', async () => {
    const { clock, raw } = await setUp();
    const caller = await raw();
    await clock.advance(poolLimits.firstFrameMs - 1);
    await caller.send(...requestToFrames(chatRequest(), resumption));
    expect(await caller.event()).toEqual(accepted);
    const silent = await raw();
    await clock.advance(poolLimits.firstFrameMs);
    await expect(silent.frame()).rejects.toMatchObject({ code: 'stream_broken' });
  });
});

describe('a request that is received', () => {
  it('leaves no timer, no listener and no reservation behind, complete or not', async () => {
    for (const frames of [[head, body, last], [head], [body], []]) {
      const clock = new ManualClock();
      const bodies = new BodyMemory();
      const stopping = new AbortController();
      const [far, near] = memoryStreams(protocols.infer, 'caller', 'server');
      await new RawEnd(far).send(...frames);
      await far.end();
      const reception = { clock, bodies, signal: stopping.signal };
      const taken = await receiveRequest(new InferFrames(near), reception).catch(() => undefined);
      expect(bodies.reservedBytes > 0).toBe(taken !== undefined);
      taken?.giveRoomBack();
      expect(getEventListeners(stopping.signal, 'abort')).toEqual([]);
      expect([clock.pendingTimers, bodies.reservedBytes]).toEqual([0, 0]);
    }
  });
});

describe('a request that comes slowly', () => {
  const piece = { type: 'body' as const, bytes: new Uint8Array(inferLimits.requestLookBytes) };

  it('is given up when it stops, even within a frame', async () => {
    const { clock, raw } = await setUp();
    const caller = await raw();
    await caller.stream.write(Buffer.concat([encodeFrame(head), encodeFrame(body).subarray(0, 20)]));
    await clock.advance(inferLimits.requestLookMs);
    expect(await caller.events()).toMatchObject([{ code: 'request_timeout', retryable: true }]);
  });

  it('is given up when it drips', async () => {
    const { clock, raw } = await setUp();
    const caller = await raw();
    await caller.send(headAnnouncing(1000));
    for (let byte = 0; byte < 9; byte++) {
      await caller.send({ type: 'body', bytes: Uint8Array.of(0x20) });
      await clock.advance(inferLimits.requestLookMs / 10);
    }
    await clock.advance(inferLimits.requestLookMs / 10);
    expect(await caller.events()).toMatchObject([{ code: 'request_timeout' }]);
  });

  it('has so much time and no more, however steady it comes', async () => {
    const { clock, raw } = await setUp();
    const caller = await raw();
    await caller.send(headAnnouncing(frameLimits.bodyBytes));
    for (let spentMs = 0; spentMs < inferLimits.requestMs; spentMs += inferLimits.requestLookMs) {
      await caller.send(piece);
      await clock.advance(inferLimits.requestLookMs);
    }
    expect(await caller.events()).toMatchObject([{ code: 'request_timeout' }]);
  });
});

describe('more requests than there is room for', () => {
  it('are refused by what their heads announce, until the others are gone', async () => {
    const { clock, raw } = await setUp();
    const callers: RawEnd[] = [];
    for (let turn = 0; turn < 3; turn++) {
      const caller = await raw();
      await caller.send(headAnnouncing(inferLimits.bodyBytesPerPeer / 2));
      await clock.settle();
      callers.push(caller);
    }
    const [first, , third] = callers;
    expect(await third?.events()).toMatchObject([
      { code: 'queue_full', retryable: true, retryAfterSeconds: inferLimits.retryAfterSeconds },
    ]);
    first?.stream.abort(new Error('gone'));
    await clock.settle();
    const next = await raw();
    const request = requestToFrames(chatRequest(), { resumeKey: keyOf(9), framesHeld: 0 });
    await next.send(...request);
    expect(await next.event()).toEqual(accepted);
  });

  it('are refused while large ones are still being answered', async () => {
    const { clock, pair, raw } = await setUp(waitingAfter(accepted));
    const large = chatRequest({ messages: [user('x'.repeat(0.6 * inferLimits.bodyBytesPerPeer))] });
    const first = await raw();
    void first.ask(1, 0, large);
    expect(await first.event()).toEqual(accepted);
    const second = await raw();
    void second.ask(2, 0, large).catch(() => {});
    expect(await second.events()).toMatchObject([{ code: 'queue_full' }]);
    await first.send({ type: 'cancel' });
    await pair.calls[0]?.closed;
    await clock.settle();
    const third = await raw();
    void third.ask(3, 0, large);
    expect(await third.event()).toEqual(accepted);
  });

  it('are refused when a peer has as many answers as it may, others are not', async () => {
    const { pair, raw } = await setUp(waitingAfter(accepted));
    const callers: RawEnd[] = [];
    for (let key = 0; key < inferLimits.answersPerPeer; key++) {
      const caller = await raw();
      await caller.ask(key);
      expect(await caller.event()).toEqual(accepted);
      callers.push(caller);
    }
    const surplus = await raw();
    await surplus.ask(200);
    expect(await surplus.events()).toMatchObject([
      { code: 'queue_full', retryAfterSeconds: inferLimits.retryAfterSeconds, phase: 'before-output' },
    ]);
    const other = new RawEnd(await pair.rawStream('other'));
    await other.ask(1);
    expect(await other.event()).toEqual(accepted);
    await other.send({ type: 'cancel' });
    await pair.lastCall.closed;
    await callers[0]?.send({ type: 'cancel' });
    await pair.calls[0]?.closed;
    const next = await raw();
    await next.ask(201);
    expect(await next.event()).toEqual(accepted);
  });

  it('are counted by their bytes, of one peer and of all', () => {
    const memory = new BodyMemory();
    const peers = inferLimits.bodyBytesInAll / inferLimits.bodyBytesPerPeer;
    const releases = Array.from({ length: peers }, (_, peer) =>
      memory.reserve(`peer ${peer}`, inferLimits.bodyBytesPerPeer),
    );
    expect(thrownBy(() => memory.reserve('peer 0', 1)).code).toBe('queue_full');
    expect(thrownBy(() => memory.reserve('another', 1)).code).toBe('queue_full');
    releases[0]?.();
    releases[0]?.();
    memory.reserve('another', 1)();
    expect(memory.reservedBytes).toBe(inferLimits.bodyBytesInAll - inferLimits.bodyBytesPerPeer);
  });
});

describe('a caller of an answer that is under way', () => {
  it('cancels it at once, be it right behind the request, and even before it', async () => {
    const { pair, raw } = await setUp(waitingAfter(accepted));
    const running = await raw();
    await running.ask(1);
    await running.event();
    await running.send({ type: 'cancel' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(pair.lastCall.signal.aborted).toBe(true);
    const quick = await raw();
    await quick.send(head, body, last, { type: 'cancel' });
    await until(() => pair.calls.length === 2 && pair.lastCall.isClosed);
    const quicker = await raw();
    await quicker.send(head, { type: 'cancel' });
    expect(await quicker.frame()).toBeUndefined();
    expect(pair.calls).toHaveLength(2);
  });

  it('may end its side, and still gets all of it', async () => {
    const { clock, pair, raw } = await setUp();
    const caller = await raw();
    await caller.ask(1);
    await caller.stream.end();
    expect(await caller.events()).toEqual(answer);
    await clock.settle();
    expect(pair.server?.figures()).toEqual(nothing);
  });

  it('has lost it if its stream breaks after that', async () => {
    const { clock, pair, raw } = await setUp(waitingAfter(accepted));
    const caller = await raw();
    await caller.ask(1);
    await caller.stream.end();
    await caller.event();
    pair.cut();
    await clock.settle();
    expect(pair.server?.figures()).toMatchObject({ answers: 1, detached: 1 });
  });

  it('has cancelled it if it says anything else', async () => {
    for (const frames of [[head], [body], [last], [{ type: 'event' as const, event: accepted }]]) {
      const { pair, raw } = await setUp(waitingAfter(accepted));
      const caller = await raw();
      await caller.ask(1);
      await caller.event();
      await caller.send(...frames);
      await pair.lastCall.closed;
      await expect(caller.frame()).rejects.toMatchObject({ code: 'stream_broken' });
    }
  });

  it('has cancelled it if it takes nothing for too long', async () => {
    const { clock, pair, raw } = await setUp(async function* endless() {
      yield accepted;
      while (true) {
        yield { type: 'delta', index: 0, text: 'x'.repeat(1000) };
      }
    });
    const caller = await raw();
    await caller.ask(1);
    for (let turn = 0; turn < 4; turn++) {
      await clock.advance(inferLimits.writeMs - 1);
      await readBytes(caller, 2 * inferLimits.writeBytes);
    }
    expect(pair.lastCall.isClosed).toBe(false);
    await clock.advance(inferLimits.writeMs);
    expect(pair.lastCall.isClosed).toBe(true);
  });

  it('may wait for as long as it takes if there is nothing to be taken', async () => {
    const { clock, pair, raw } = await setUp(waitingAfter(accepted));
    const caller = await raw();
    await caller.ask(1);
    await caller.event();
    await clock.advance(10 * inferLimits.writeMs);
    expect(pair.lastCall.signal.aborted).toBe(false);
  });

  it('has to end its side at last', async () => {
    const { clock, pair, raw } = await setUp();
    const caller = await raw();
    await caller.ask(1);
    expect(await caller.events()).toEqual(answer);
    await clock.advance(inferLimits.writeMs - 1);
    expect(pair.server?.figures()).toMatchObject({ answers: 1 });
    await clock.advance(1);
    expect(pair.server?.figures()).toEqual(nothing);
    await caller.stream.closed;
  });
});

describe('an answer', () => {
  it('gives its place back even if it does not stop', async () => {
    const { clock, pair, raw } = await setUp(async function* deaf() {
      yield accepted;
      await new Promise(() => {});
    });
    const caller = await raw();
    await caller.ask(1);
    await caller.event();
    await caller.send({ type: 'cancel' });
    await clock.settle();
    expect(pair.server?.figures()).toEqual({ answers: 1, detached: 0, keptBytes: 0 });
    await clock.advance(inferLimits.cancelMs);
    expect(pair.server?.figures()).toEqual(nothing);
  });

  it.each<[string, string, AnswerScript]>([
    [
      'throws',
      'internal',
      () => {
        throw new Error('broken');
      },
    ],
    ['stops without an end', 'engine_protocol', () => [accepted]],
    [
      'has an event that fits no frame',
      'internal',
      () => [{ type: 'delta', index: 0, extra: { note: 'x'.repeat(frameLimits.frameBytes) } }],
    ],
  ])('that %s is an error all the same', async (_what, code, script) => {
    const { raw } = await setUp(script);
    const caller = await raw();
    await caller.ask(1);
    expect((await caller.events()).at(-1)).toMatchObject({ type: 'error', code });
    await caller.stream.end();
  });

  it('goes out in one write if it is there at once, and waits for nothing if it is not', async () => {
    const { pair, raw } = await setUp(() => textAnswer(...Array.from({ length: 100 }, () => 'word')));
    const caller = await raw();
    await caller.ask(1);
    let reads = 0;
    const read = caller.stream.read.bind(caller.stream);
    caller.stream.read = (signal) => {
      reads++;
      return read(signal);
    };
    expect(await caller.events()).toHaveLength(104);
    expect(reads).toBeLessThan(5);
    expect(pair.calls).toHaveLength(1);
    await caller.stream.end();
  });
});

describe('a server that takes no more requests', () => {
  it('ends those it has, lets them be taken up, and leaves others to another node', async () => {
    const release = Promise.withResolvers<void>();
    const { pair, raw, clock } = await setUp(async function* () {
      yield accepted;
      await release.promise;
      yield* answer.slice(1);
    });
    const [reading, lost, receiving] = [await raw(), await raw(), await raw()];
    await reading.ask(1);
    await lost.ask(2);
    expect([await reading.event(), await lost.event()]).toMatchObject([accepted, accepted]);
    const [beginning, ...rest] = requestToFrames(chatRequest(), { resumeKey: keyOf(4), framesHeld: 0 });
    await receiving.send(beginning as InferFrame);
    await clock.settle();
    let isDrained = false;
    const drained = pair.server?.drain().then(() => {
      isDrained = true;
    });
    lost.stream.abort(new Error('lost'));
    await receiving.send(...rest);
    const late = await raw();
    await late.ask(3);
    for (const refused of [receiving, late]) {
      expect(await refused.events()).toMatchObject([
        { code: 'shutting_down', retryable: true, phase: 'before-output' },
      ]);
    }
    const again = await raw();
    await again.ask(2, 1);
    expect(isDrained).toBe(false);
    release.resolve();
    expect((await reading.events()).at(-1)).toMatchObject({ type: 'end' });
    expect((await again.events()).at(-1)).toMatchObject({ type: 'end' });
    await Promise.all([reading, again].map(({ stream }) => stream.end()));
    await drained;
    expect(pair.calls).toHaveLength(2);
  });
});

describe('a server that stops', () => {
  it('tells whoever waits, gives up what nobody reads, and refuses what comes', async () => {
    const { clock, pair, raw } = await setUp(waitingAfter(accepted));
    const [reading, asking, spare, lost] = [await raw(), await raw(), await raw(), await raw()];
    await reading.ask(1);
    await reading.event();
    await asking.send(head);
    await lost.ask(2);
    await lost.event();
    lost.stream.abort(new Error('lost'));
    await clock.settle();
    const stopped = pair.server?.stop();
    expect(await reading.events()).toMatchObject([{ code: 'shutting_down' }]);
    expect(await asking.events()).toMatchObject([{ code: 'shutting_down' }]);
    expect(await spare.events()).toMatchObject([{ code: 'shutting_down' }]);
    await reading.stream.end();
    await stopped;
    expect(pair.server?.figures()).toEqual(nothing);
    expect(pair.calls.every(({ isClosed }) => isClosed)).toBe(true);
    const late = await raw();
    await late.ask(3);
    expect(await late.events()).toMatchObject([{ code: 'shutting_down' }]);
  });

  it('does not wait for a caller that does not read', async () => {
    const { clock, pair, raw } = await setUp(waitingAfter(accepted));
    const caller = await raw();
    await caller.ask(1);
    await clock.settle();
    const stopped = pair.server?.stop();
    await clock.advance(inferLimits.cancelMs);
    await stopped;
    await caller.stream.closed;
    await clock.advance(netLimits.lingerMs);
  });
});

async function readBytes({ stream }: RawEnd, atLeast: number): Promise<void> {
  for (let bytes = 0; bytes < atLeast; ) {
    bytes += (await stream.read())?.length ?? atLeast;
  }
}
