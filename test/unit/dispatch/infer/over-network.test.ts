// Both ends over the real host, TCP and QUIC: what holds in memory holds on sockets.
import { afterEach, describe, expect, it } from 'vitest';
import { askPeer, type PeerAsk } from '../../../../src/dispatch/infer/ask-peer.ts';
import { InferServer } from '../../../../src/dispatch/infer/infer-server.ts';
import type { InferenceEvent } from '../../../../src/inference/events.ts';
import { StreamPool } from '../../../../src/net/stream-pool.ts';
import { protocols } from '../../../../src/trust/gate.ts';
import { systemClock } from '../../../../src/util/clock.ts';
import { inferLimits } from '../../../../src/util/limits/dispatch.ts';
import { netLimits } from '../../../../src/util/limits/net.ts';
import { silentLogger } from '../../../../src/util/logging.ts';
import { systemRandom } from '../../../../src/util/random.ts';
import { type AnswerScript, chatRequest, collected, until } from '../../../support/infer-pair.ts';
import { aborted, accepted, end, textAnswer } from '../../../support/scripted-dispatch.ts';
import { testHost } from '../../../support/test-host.ts';

const delta = (text: string): InferenceEvent => ({ type: 'delta', index: 0, text });
const nothing = { answers: 0, detached: 0, keptBytes: 0 };

describe.each(['tcp', 'quic'] as const)('requests between nodes over %s', (path) => {
  const ends: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const close of ends.splice(0).reverse()) {
      await close();
    }
  });

  async function setUp(script: AnswerScript) {
    const transports = { tcp: path === 'tcp', quic: path === 'quic' };
    const [here, there] = [await testHost({ transports }), await testHost({ transports })];
    ends.push(
      () => here.close(),
      () => there.close(),
    );
    const signals: AbortSignal[] = [];
    const server = new InferServer({
      network: there,
      answer: async function* scripted(_peer, request, signal) {
        signals.push(signal);
        yield* script(request, signal);
      },
      clock: systemClock,
      log: silentLogger,
    });
    ends.push(() => server.stop());
    const pool = new StreamPool({
      open: (peer, protocol, options) => here.open(peer, protocol, options),
      clock: systemClock,
      log: silentLogger,
    });
    ends.push(() => pool.close());
    const link = () => here.dial(there.peerId, there.addresses());
    await link();
    const ask = (options: Partial<PeerAsk> = {}) => {
      const never = new AbortController().signal;
      return askPeer(
        { peer: there.peerId, request: chatRequest(), signal: never, lost: never, patienceMs: 0, ...options },
        {
          open: (peer, signal) => pool.take(peer, protocols.infer, { signal }),
          clock: systemClock,
          random: systemRandom,
          log: silentLogger,
        },
      );
    };
    const cut = async (): Promise<void> => {
      await here.disconnect(there.peerId);
      pool.drop(there.peerId);
    };
    const quiet = () => until(() => JSON.stringify(server.figures()) === JSON.stringify(nothing));
    return { server, signals, ask, cut, link, quiet };
  }

  it('are answered, many at once, however large they are', async () => {
    const answer = textAnswer('a', 'ß'.repeat(300 * 1024), 'c');
    const { ask, quiet } = await setUp(() => answer);
    const content = [{ type: 'text' as const, text: 'x'.repeat(4 * 1024 * 1024) }];
    const request = chatRequest({ messages: [{ role: 'user', content }] });
    const asked = [ask({ request }), ...Array.from({ length: 20 }, () => ask())];
    for (const { events, thrown } of await Promise.all(asked.map(collected))) {
      expect(thrown).toBeUndefined();
      expect(textOf(events)).toBe(textOf(answer));
      expect(events.at(-1)).toEqual(end);
    }
    await quiet();
  });

  it('are cancelled at their engine', async () => {
    const { ask, signals, quiet } = await setUp(async function* waiting(_request, signal) {
      yield accepted;
      await aborted(signal);
    });
    const events = ask();
    await events.next();
    await events.return();
    await until(() => signals[0]?.aborted === true);
    await quiet();
  });

  it('are cancelled while nobody reads the answer', async () => {
    let given = 0;
    const { ask, signals, quiet } = await setUp(async function* endless(_request, signal) {
      yield accepted;
      while (!signal.aborted) {
        given += 10_000;
        yield delta('x'.repeat(10_000));
      }
    });
    const events = ask();
    await events.next();
    await until(() => given > 2 * netLimits.unreadBytes);
    await events.return();
    await until(() => signals[0]?.aborted === true);
    await quiet();
  });

  it('go on over a new connection', async () => {
    const words = Array.from({ length: 1_000 }, (_, place) => `${place} `);
    const cutFor = [10, 500, 995];
    // The last words come when the last link is there: what is read from one that is gone cannot be confirmed.
    const linked = Promise.withResolvers<void>();
    const { ask, cut, link, signals, quiet } = await setUp(async function* script() {
      const answer = textAnswer(...words);
      yield* answer.slice(0, 1_000);
      await linked.promise;
      yield* answer.slice(1_000);
    });
    const events: InferenceEvent[] = [];
    for await (const event of ask()) {
      events.push(event);
      if (events.length === cutFor[0]) {
        cutFor.shift();
        await cut();
        await link();
      }
      if (cutFor.length === 0) {
        linked.resolve();
      }
    }
    expect(textOf(events)).toBe(words.join(''));
    expect(signals).toHaveLength(1);
    await quiet();
  });

  it('hold back an answer that is read slowly', async () => {
    let given = 0;
    const { ask, quiet } = await setUp(async function* endless(_request, signal) {
      yield accepted;
      while (!signal.aborted) {
        given += 10_000;
        yield delta('x'.repeat(10_000));
      }
    });
    const events = ask();
    await events.next();
    // It has come to a stop when nothing is added for a while.
    for (let before = -1; before !== given; ) {
      before = given;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const unread = 2 * netLimits.unreadBytes + netLimits.windowBytes + netLimits.unsentBytes;
    expect(given).toBeLessThan(2 * unread + inferLimits.aheadBytes);
    await events.return();
    await quiet();
  });
});

function textOf(events: readonly InferenceEvent[]): string {
  return events.map((event) => (event.type === 'delta' ? (event.text ?? '') : '')).join('');
}
