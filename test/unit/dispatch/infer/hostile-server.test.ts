// A caller and peers that answer wrongly, late, too much or not at all: it ends, says why, and leaves nothing behind.
import { afterEach, describe, expect, it } from 'vitest';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { encodeFrame } from '../../../../src/inference/frames.ts';
import { guardEvents } from '../../../../src/inference/guard-events.ts';
import { inferLimits } from '../../../../src/util/limits/dispatch.ts';
import { eventLimits } from '../../../../src/util/limits/inference.ts';
import { netLimits } from '../../../../src/util/limits/net.ts';
import { silentLogger } from '../../../../src/util/logging.ts';
import { chatRequest, collected, InferPair, until } from '../../../support/infer-pair.ts';
import { RawEnd } from '../../../support/infer-raw.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { accepted, end, textAnswer } from '../../../support/scripted-dispatch.ts';

const answer = textAnswer('a', 'b');
const stillRunning = answer.slice(0, 3);
const frameInvalid = { code: 'frame_invalid' };

let pairs: InferPair[] = [];

/** A caller, and a peer that reads the request and then does as told. */
async function against(
  serve: (raw: RawEnd) => Promise<void>,
  { reads = true } = {},
): Promise<{ pair: InferPair; clock: ManualClock }> {
  const clock = new ManualClock();
  const handler = async (stream: RawEnd['stream']): Promise<void> => {
    const raw = new RawEnd(stream);
    if (reads) {
      await raw.request();
    }
    await serve(raw);
  };
  const pair = await InferPair.linked({ clock, handler });
  pairs.push(pair);
  return { pair, clock };
}

afterEach(async () => {
  for (const { clock, open } of pairs) {
    await (clock as ManualClock).advance(netLimits.endMs + netLimits.lingerMs);
    expect(open.size).toBe(0);
    expect((clock as ManualClock).pendingTimers).toBe(0);
  }
  pairs = [];
});

describe('a peer that breaks the protocol', () => {
  it.each<[string, (raw: RawEnd) => Promise<void>]>([
    ['sends a frame of another kind', (raw) => raw.send({ type: 'cancel' })],
    ['sends rubbish', (raw) => raw.stream.write(Uint8Array.of(3, 0xff, 0xff, 0xff))],
    ['sends a frame that is too long', (raw) => raw.stream.write(Uint8Array.of(0xff, 0xff, 0x7f))],
    ['sends an event that does not exist', (raw) => raw.stream.write(Uint8Array.of(2, 0x1a, 0))],
    ['ends its stream', (raw) => raw.stream.end()],
    ['ends its stream within a frame', async (raw) => raw.stream.write(Uint8Array.of(9, 1))],
  ])('and %s is not asked again', async (_what, misbehave) => {
    const { pair } = await against(async (raw) => {
      await raw.sendEvents(...stillRunning);
      await misbehave(raw);
    });
    expect(await collected(pair.ask({ patienceMs: 1000 }))).toMatchObject({
      events: stillRunning,
      thrown: frameInvalid,
    });
    await until(() => pair.open.size === 0);
    expect(pair.opened).toBe(1);
  });

  it('and says more after the end has answered, and is cut off', async () => {
    for (const more of [encodeFrame({ type: 'event', event: end }), Uint8Array.of(0xff)]) {
      const bytes = answer.map((event) => encodeFrame({ type: 'event', event }));
      const { pair } = await against(async (raw) => {
        await raw.stream.write(Buffer.concat([...bytes, more]));
        await raw.stream.closed;
      });
      expect(await collected(pair.ask())).toMatchObject({ events: answer, thrown: frameInvalid });
      await until(() => pair.open.size === 0);
      const request = chatRequest();
      const guarded = guardEvents(request, pair.ask({ request }), { log: silentLogger });
      expect(await collected(guarded)).toEqual({ events: answer });
      await until(() => pair.open.size === 0);
    }
  });

  it('and does not end its stream after the answer is cut off in time', async () => {
    const { pair, clock } = await against(async (raw) => {
      await raw.sendEvents(...answer);
      await raw.stream.closed;
    });
    expect(await collected(pair.ask())).toEqual({ events: answer });
    await clock.settle();
    expect(pair.open.size).toBe(1);
    await clock.advance(netLimits.lingerMs);
    expect(pair.open.size).toBe(0);
  });

  it('and breaks each stream without a further frame is given up after a bounded number', async () => {
    let takeUps = 0;
    const { pair, clock } = await against(async (raw) => {
      if (takeUps++ === 0) {
        await raw.sendEvents(...stillRunning);
        await raw.frame();
      }
      raw.stream.abort(new Error('no more'));
    });
    pair.wrap = (stream) => stream;
    const given = collected(pair.ask());
    await clock.settle();
    for (const stream of pair.open) {
      stream.abort(new Error('lost'));
    }
    await clock.advance(2 * inferLimits.resumes * inferLimits.resumeMs);
    expect(await given).toMatchObject({ events: stillRunning, thrown: { code: 'stream_broken' } });
    expect(pair.opened).toBe(1 + inferLimits.resumes);
  });

  it('and shows a frame at a time is asked as long as it does', async () => {
    let place = 0;
    const { pair, clock } = await against(async (raw) => {
      const event = answer[place++];
      await raw.sendEvents(...(event === undefined ? [] : [event]));
      await raw.frame();
    });
    const events: InferenceEvent[] = [];
    const given = (async () => {
      for await (const event of pair.ask({ patienceMs: 1000 })) {
        events.push(event);
        if (events.length < answer.length) {
          pair.relink();
        }
      }
    })();
    await clock.advance(1000);
    await given;
    expect(events).toEqual(answer);
    expect(pair.opened).toBe(answer.length);
  });
});

describe('a peer that answers nothing', () => {
  it('holds the caller until that wants no more', async () => {
    const { pair, clock } = await against((raw) => raw.stream.closed);
    const caller = new AbortController();
    const given = collected(pair.ask({ signal: caller.signal, patienceMs: 1000 }));
    await clock.advance(10 * 60_000);
    expect(pair.opened).toBe(1);
    caller.abort();
    expect(await given).toMatchObject({ events: [], thrown: { code: 'cancelled' } });
    await clock.advance(inferLimits.cancelMs);
    expect(pair.open.size).toBe(0);
  });

  it('be it within a frame, or before it has read the request', async () => {
    for (const reads of [true, false]) {
      const { pair, clock } = await against(
        async (raw) => {
          await raw.stream.write(Uint8Array.of(200, 1, 0x1a));
          await raw.stream.closed;
        },
        { reads },
      );
      const caller = new AbortController();
      const content = [{ type: 'text' as const, text: 'x'.repeat(4 * netLimits.unreadBytes) }];
      const request = chatRequest({ messages: [{ role: 'user', content }] });
      const given = collected(pair.ask({ request, signal: caller.signal }));
      await clock.settle();
      caller.abort();
      expect(await given).toMatchObject({ thrown: { code: 'cancelled' } });
      await clock.advance(inferLimits.cancelMs);
      expect(pair.open.size).toBe(0);
    }
  });

  it('is told that it was cancelled, not left, by a signal as well', async () => {
    const heard: unknown[] = [];
    const { pair, clock } = await against(async (raw) => {
      heard.push(await raw.frame(), await raw.frame());
    });
    const caller = new AbortController();
    const given = collected(pair.ask({ signal: caller.signal, patienceMs: 1000 }));
    await clock.settle();
    caller.abort();
    expect(await given).toMatchObject({ thrown: { code: 'cancelled' } });
    await until(() => pair.open.size === 0);
    expect(heard).toEqual([{ type: 'cancel' }, undefined]);
  });

  it('is told so even within a request, and nothing of that after it', async () => {
    const types: (string | undefined)[] = [];
    const slowly = Promise.withResolvers<void>();
    const { pair, clock } = await against(
      async (raw) => {
        await slowly.promise;
        while (types.length === 0 || types.at(-1) !== undefined) {
          types.push((await raw.frame())?.type);
        }
      },
      { reads: false },
    );
    const content = [{ type: 'text' as const, text: 'x'.repeat(16 * netLimits.unreadBytes) }];
    const request = chatRequest({ messages: [{ role: 'user', content }] });
    const caller = new AbortController();
    const given = collected(pair.ask({ request, signal: caller.signal }));
    await clock.settle();
    caller.abort();
    expect(await given).toMatchObject({ thrown: { code: 'cancelled' } });
    slowly.resolve();
    await until(() => pair.open.size === 0);
    expect([types[0], ...types.slice(-3)]).toEqual(['head', 'body', 'cancel', undefined]);
    expect(types.length).toBeLessThan(8);
  });

  it('but goes on after the cancel is not listened to', async () => {
    const { pair, clock } = await against(async (raw) => {
      await raw.sendEvents(accepted);
      expect(await raw.frame()).toEqual({ type: 'cancel' });
      expect(await raw.frame()).toBeUndefined();
      await raw.sendEvents(...answer.slice(1));
      await raw.stream.closed;
    });
    const events = pair.ask();
    await events.next();
    await events.return();
    await clock.settle();
    expect(pair.open.size).toBe(1);
    await clock.advance(inferLimits.cancelMs);
    expect(pair.open.size).toBe(0);
  });
});

describe('a peer that refuses', () => {
  it('is heard before all of the request is sent', async () => {
    const refusal: InferenceEvent = {
      type: 'error',
      code: 'queue_full',
      message: 'No.',
      retryable: true,
      phase: 'before-output',
    };
    const { pair } = await against((raw) => raw.sendEvents(refusal), { reads: false });
    const content = [{ type: 'text' as const, text: 'x'.repeat(16 * netLimits.unreadBytes) }];
    const request = chatRequest({ messages: [{ role: 'user', content }] });
    expect(await collected(pair.ask({ request }))).toEqual({ events: [refusal] });
    await until(() => pair.open.size === 0);
  });
});

describe('a peer that says too much', () => {
  it('of progress is read on, a bounded part of it at a time, and guardEvents drops the rest', async () => {
    const progress = encodeFrame({ type: 'event', event: { type: 'progress', stage: 'queued' } });
    const times = Math.ceil((1024 * 1024) / progress.length);
    const serve = async (raw: RawEnd): Promise<void> => {
      const many = Buffer.concat(Array.from({ length: times }, () => progress));
      await raw.stream.write(many);
      await raw.sendEvents(...answer);
      await raw.frame();
    };
    const { pair } = await against(serve);
    const plain = await collected(pair.ask());
    expect(plain.events).toHaveLength(times + answer.length);
    expect(plain.thrown).toBeUndefined();
    const request = chatRequest();
    const guarded = await collected(guardEvents(request, pair.ask({ request }), { log: silentLogger }));
    expect(guarded.events).toHaveLength(eventLimits.progress + answer.length);
  });

  it('as a number is believed up to 32 bits, which no rule lets pass', async () => {
    // Event 7, usage: field 1, the prompt's tokens, and 3, the answer's.
    const usage = [0x08, ...varint(10n ** 12n), 0x18, ...varint(2n ** 64n - 1n)];
    const event = [0x3a, usage.length, ...usage];
    const frame = [0x1a, event.length, ...event];
    const serve = async (raw: RawEnd): Promise<void> => {
      await raw.sendEvents(accepted, { type: 'finish', index: 0, reason: 'stop' });
      await raw.stream.write(Uint8Array.of(frame.length, ...frame));
      await raw.sendEvents(end);
      await raw.frame();
    };
    const { pair } = await against(serve);
    const { events } = await collected(pair.ask());
    expect(events[2]).toEqual({
      type: 'usage',
      prompt: 10 ** 12 % 2 ** 32,
      cached: 0,
      completion: 2 ** 32 - 1,
    });
    const request = chatRequest();
    const guarded = await collected(guardEvents(request, pair.ask({ request }), { log: silentLogger }));
    expect(guarded.events.at(-1)).toMatchObject({ type: 'error', code: 'engine_protocol' });
    await until(() => pair.open.size === 0);
  });
});

function varint(value: bigint): number[] {
  const low = Number(value & 0x7fn);
  return value < 0x80n ? [low] : [low | 0x80, ...varint(value >> 7n)];
}
