// What stock libp2p does with a stream that is opened or read in its own way, and what the host does instead.
import type { Libp2p, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { afterEach, describe, expect, it } from 'vitest';
import { FrameStream } from '../../../src/net/frame-stream.ts';
import type { Libp2pHost } from '../../../src/net/host.ts';
import type { PeerStream } from '../../../src/net/network.ts';
import { StreamPool } from '../../../src/net/stream-pool.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { delimit } from '../../../src/wire/framing.ts';
import { type DelayedLink, startDelayedTcp } from '../../support/delayed-link.ts';
import { type StockPair, stockNode, stockPair, testProtocol } from '../../support/stock-libp2p.ts';
import { send } from '../../support/stream-ends.ts';
import { testHost } from '../../support/test-host.ts';

const { infer } = protocols;

describe('a stream of libp2p', () => {
  const parts: Array<{ close(): unknown }> = [];
  afterEach(async () => {
    await Promise.all(parts.splice(0).map((part) => part.close()));
  });
  const closeLater = <Part extends { close(): unknown }>(part: Part): Part => {
    parts.push(part);
    return part;
  };
  const stopLater = (node: Libp2p): Libp2p => {
    parts.push({ close: () => node.stop() });
    return node;
  };
  const makeHost = async (...options: Parameters<typeof testHost>): Promise<Libp2pHost> =>
    closeLater(await testHost(...options));
  const makePair = async (): Promise<StockPair> => {
    const pair = await stockPair();
    stopLater(pair.here);
    stopLater(pair.there);
    return pair;
  };
  const relayTo = async (address: string | undefined): Promise<DelayedLink> =>
    closeLater(await startDelayedTcp(portOf(address), 0));

  describe('whose reader is slow', () => {
    const message = delimit(new Uint8Array(64 * 1024));
    const messages = 512;

    it('is read without bound by `for await`', async () => {
      const { there, connection } = await makePair();
      const test = Promise.withResolvers<void>();
      let arrived = 0;
      let taken = 0;
      await there.handle(testProtocol, async (stream) => {
        stream.addEventListener('message', ({ data }) => {
          arrived += data.byteLength;
        });
        for await (const _ of stream) {
          taken++;
          await test.promise;
        }
      });
      const stream = await connection.newStream(testProtocol);
      await sendMessages(stream, message, messages, () => {});
      await until(() => arrived === messages * message.length);
      expect(taken).toBe(1);
      test.resolve();
    });

    it('is held back by the reader of the host, and loses nothing', async () => {
      const host = await makeHost();
      const holding = Promise.withResolvers<void>();
      let taken = 0;
      host.handle(
        infer,
        async (stream) => {
          const frames = new FrameStream(stream, { messageBytes: 64 * 1024, messageMs: 10_000 }, systemClock);
          while ((await frames.readBytes()) !== undefined) {
            taken++;
            await holding.promise;
          }
        },
        { streamsPerPeer: 1 },
      );
      const sender = stopLater(await stockNode());
      const connection = await sender.dial(multiaddr(host.addresses()[0]));
      const stream = await connection.newStream(infer);
      let sent = 0;
      const sending = sendMessages(stream, message, messages, () => {
        sent++;
      });
      await standsStill(() => sent);
      expect(taken).toBe(1);
      // One window under way, what waits for the reader, and what the sender has had to keep.
      const bound = netLimits.windowBytes + netLimits.unreadBytes + 2 * message.length;
      expect(sent * message.length).toBeLessThanOrEqual(bound);
      holding.resolve();
      await sending;
      await stream.close();
      await until(() => taken === messages);
    });
  });

  describe('that is opened', () => {
    /** Whether any of `openings` is there while nothing passes between the two sides. */
    const state = (openings: Array<Promise<unknown>>): Promise<string> =>
      Promise.race([
        ...openings.map((one) => one.then(() => 'open')),
        sleep(systemClock, 200).then(() => 'waiting'),
      ]);

    it('waits for a round trip, whatever `negotiateFully` says', async () => {
      const there = stopLater(await stockNode());
      await there.handle(testProtocol, () => {});
      const relay = await relayTo(there.getMultiaddrs()[0]?.toString());
      const here = stopLater(await stockNode());
      const connection = await here.dial(multiaddr(`/ip4/127.0.0.1/tcp/${relay.port}`));
      relay.freeze();
      const openings = [true, false].map((negotiateFully) =>
        connection.newStream(testProtocol, { negotiateFully }),
      );
      expect(await state(openings)).toBe('waiting');
      relay.thaw();
      await Promise.all(openings);
    });

    it('is there at once, and takes a request, if the pool has opened it before', async () => {
      const [here, there] = [await makeHost(), await makeHost()];
      there.handle(infer, echo, { streamsPerPeer: 4 });
      const relay = await relayTo(there.addresses()[0]);
      await here.dial(there.peerId, [`/ip4/127.0.0.1/tcp/${relay.port}`]);
      const openings: Array<Promise<PeerStream>> = [];
      const open: Libp2pHost['open'] = (...request) => {
        const opening = here.open(...request);
        openings.push(opening);
        return opening;
      };
      const pool = closeLater(new StreamPool({ open, clock: systemClock, log: silentLogger }));
      pool.warm(there.peerId, infer, 1);
      await Promise.all(openings);
      relay.freeze();
      // Without the pool the host waits as libp2p does.
      const fresh = here.open(there.peerId, infer);
      expect(await state([fresh])).toBe('waiting');
      const stream = await pool.take(there.peerId, infer);
      await stream.write(Buffer.from('request'));
      expect(await state([fresh])).toBe('waiting');
      relay.thaw();
      expect(Buffer.from((await stream.read()) ?? []).toString()).toBe('request');
      await fresh;
    });
  });

  describe('that this node opens itself', () => {
    it('is led through the middleware of its protocol, as if a peer had opened it', async () => {
      const { here, there, connection } = await makePair();
      await there.handle(testProtocol, () => {});
      let asked = 0;
      here.use(testProtocol, (stream, on, next) => {
        asked++;
        next(stream, on);
      });
      await connection.newStream(testProtocol);
      await connection.newStream(testProtocol);
      expect(asked).toBe(2);
    });

    it('meets the gate of each host once, and neither its limits for peers nor its handlers', async () => {
      const asked = { here: 0, there: 0 };
      const counting = (side: keyof typeof asked) => (_: string, protocol: string) => {
        asked[side] += Number(protocol === infer);
        return true;
      };
      const here = await makeHost({ gate: counting('here') });
      const there = await makeHost({ gate: counting('there') });
      const served: string[] = [];
      const serve = (side: string) => async (stream: PeerStream) => {
        served.push(side);
        await stream.closed;
      };
      // Far fewer than it opens: those count against the limit of the other side alone.
      here.handle(infer, serve('here'), { streamsPerPeer: 1 });
      there.handle(infer, serve('there'), { streamsPerPeer: 100 });
      await here.dial(there.peerId, there.addresses());
      for (let streams = 0; streams < 100; streams++) {
        await here.open(there.peerId, infer);
      }
      await until(() => served.length >= 100);
      expect(served).toEqual(Array(100).fill('there'));
      expect(asked).toEqual({ here: 100, there: 100 });
    });
  });
});

async function echo(stream: PeerStream): Promise<void> {
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
    await stream.write(bytes);
  }
}

/** Sends as fast as the stream takes it. */
async function sendMessages(
  stream: Stream,
  message: Uint8Array,
  count: number,
  onSend: () => void,
): Promise<void> {
  for (let messages = 0; messages < count; messages++) {
    onSend();
    await send(stream, message);
  }
}

function portOf(address: string | undefined): number {
  return Number(/tcp\/(\d+)/.exec(address ?? '')?.[1]);
}

/** Resolves once `count` has not moved for half a second. */
async function standsStill(count: () => number): Promise<void> {
  let last = -1;
  for (let still = 0; still < 20; still = count() === last ? still + 1 : 0) {
    last = count();
    await sleep(systemClock, 25);
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 800 && !condition(); tries++) {
    await sleep(systemClock, 10);
  }
  expect(condition()).toBe(true);
}
