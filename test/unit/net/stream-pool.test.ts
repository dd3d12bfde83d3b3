// A pool of negotiated streams over a path with a round trip of 40 ms: who waits, what is opened and thrown
// away, and that nothing is left behind.
import { describe, expect, it } from 'vitest';
import type { PeerStream } from '../../../src/net/network.ts';
import { StreamPool } from '../../../src/net/stream-pool.ts';
import { type ProtocolId, protocols } from '../../../src/trust/gate.ts';
import type { PeerId } from '../../../src/trust/keys.ts';
import { sleep } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { poolLimits } from '../../../src/util/limits/net.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rejectionOf } from '../../support/thrown.ts';

const roundTripMs = 40;
const peer = 'peer';
const { infer, heartbeat } = protocols;

/** A stream that carries nothing and can break. */
class DoubleStream implements PeerStream {
  readonly peer: PeerId;
  readonly protocol: ProtocolId;
  readonly link = '';
  readonly #closed = Promise.withResolvers<void>();
  isClosed = false;

  constructor(peerId: PeerId, protocol: ProtocolId) {
    this.peer = peerId;
    this.protocol = protocol;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  async read(): Promise<undefined> {
    return undefined;
  }

  async write(): Promise<void> {}

  async end(): Promise<void> {}

  abort(): void {
    this.isClosed = true;
    this.#closed.resolve();
  }
}

/** A pool over a network that opens streams as told. */
class PoolUnderTest {
  readonly clock = new ManualClock();
  readonly opened: DoubleStream[] = [];
  /** Calls of `open`, the ones that failed included. */
  attempts = 0;
  /** Peers that are out of reach. */
  readonly gone = new Set<PeerId>();
  /** Whether `open` answers neither with a stream nor to its signal. */
  hangs = false;
  /** Streams after so many break as soon as they are open. */
  breaksAfter = Number.POSITIVE_INFINITY;
  readonly pool: StreamPool;

  constructor(limits: Partial<Record<keyof typeof poolLimits, number>> = {}) {
    this.pool = new StreamPool(
      {
        open: (peerId, protocol, { signal }) => this.#open(peerId, protocol, signal),
        clock: this.clock,
        log: silentLogger,
      },
      { ...poolLimits, ...limits },
    );
  }

  async #open(peerId: PeerId, protocol: ProtocolId, signal: AbortSignal): Promise<PeerStream> {
    this.attempts++;
    if (this.hangs) {
      return await new Promise(() => {});
    }
    await sleep(this.clock, roundTripMs, signal);
    if (this.gone.has(peerId)) {
      throw new MeshnodeError('peer_unreachable', 'No link.');
    }
    const stream = new DoubleStream(peerId, protocol);
    this.opened.push(stream);
    if (this.opened.length > this.breaksAfter) {
      stream.abort();
    }
    return stream;
  }

  /** Takes `count` streams at once; how long each took, once all are there. */
  async takeAtOnce(count: number, peerId = peer, protocol: ProtocolId = infer): Promise<number[]> {
    const startMs = this.clock.monotonicMs();
    const waits = Promise.all(
      Array.from({ length: count }, async () => {
        await this.pool.take(peerId, protocol);
        return this.clock.monotonicMs() - startMs;
      }),
    );
    await this.clock.advance(roundTripMs);
    return await waits;
  }

  /** Lets everything that is being opened arrive. */
  async settle(): Promise<void> {
    await this.clock.advance(roundTripMs);
  }

  get live(): number {
    return this.opened.filter(({ isClosed }) => !isClosed).length;
  }
}

describe('stream pool', () => {
  it('makes the first request wait for its stream and none after it', async () => {
    const test = new PoolUnderTest();
    expect(await test.takeAtOnce(1)).toEqual([roundTripMs]);
    for (let request = 0; request < 5; request++) {
      await test.settle();
      expect(await test.takeAtOnce(1)).toEqual([0]);
    }
  });

  it('gives eight requests at once a stream each, at once, after it was warmed up', async () => {
    const test = new PoolUnderTest();
    test.pool.warm(peer, infer, 8);
    await test.settle();
    expect(await test.takeAtOnce(8)).toEqual(Array(8).fill(0));
    await test.settle();
    expect(await test.takeAtOnce(8)).toEqual(Array(8).fill(0));
  });

  it('learns from a burst how many spares the next one needs', async () => {
    const test = new PoolUnderTest();
    expect(await test.takeAtOnce(8)).toEqual(Array(8).fill(roundTripMs));
    await test.settle();
    expect(await test.takeAtOnce(8)).toEqual(Array(8).fill(0));
  });

  it('opens streams at once for what goes beyond the spares', async () => {
    const test = new PoolUnderTest();
    test.pool.warm(peer, infer, 2);
    await test.settle();
    expect((await test.takeAtOnce(5)).sort((a, b) => a - b)).toEqual([0, 0, ...Array(3).fill(roundTripMs)]);
  });

  it('never gives a stream to two requests', async () => {
    const test = new PoolUnderTest();
    const taken: Promise<PeerStream>[] = [];
    for (let round = 0; round < 5; round++) {
      taken.push(...Array.from({ length: 7 }, () => test.pool.take(peer, infer)));
      await test.clock.advance(15);
    }
    await test.settle();
    expect(new Set(await Promise.all(taken)).size).toBe(35);
  });

  it('keeps protocols and peers apart', async () => {
    const test = new PoolUnderTest();
    test.pool.warm(peer, infer, 1);
    await test.settle();
    expect(await test.takeAtOnce(1, peer, heartbeat)).toEqual([roundTripMs]);
    expect(await test.takeAtOnce(1, 'another')).toEqual([roundTripMs]);
    const [stream] = await Promise.all([test.pool.take(peer, infer), test.settle()]);
    expect([stream.peer, stream.protocol]).toEqual([peer, infer]);
  });

  it('hands out no broken spare: it takes the next, or opens one', async () => {
    const test = new PoolUnderTest();
    test.pool.warm(peer, infer, 2);
    await test.settle();
    test.opened[0]?.abort();
    await test.clock.settle();
    expect(await test.pool.take(peer, infer)).toBe(test.opened[1]);
    await test.settle();
    for (const stream of test.opened) {
      stream.abort();
    }
    await test.clock.settle();
    expect(await test.takeAtOnce(1)).toEqual([roundTripMs]);
  });

  it('does not open stream after stream towards a peer that breaks each beyond the first', async () => {
    const test = new PoolUnderTest();
    test.breaksAfter = 1;
    test.pool.warm(peer, infer, 4);
    for (let round = 0; round < 20; round++) {
      await test.settle();
    }
    expect(test.live).toBe(1);
    expect(test.attempts).toBe(4);
  });

  it('replaces spares that are too old while the peer is in use, then keeps none and no timer', async () => {
    const test = new PoolUnderTest();
    await test.takeAtOnce(1);
    await test.settle();
    const [, first] = test.opened;
    await test.clock.advance(poolLimits.spareMs);
    expect(first?.isClosed).toBe(true);
    await test.settle();
    expect(await test.takeAtOnce(1)).toEqual([0]);
    await test.clock.advance(poolLimits.forgetMs + poolLimits.spareMs);
    expect(test.live).toBe(2); // Only what was taken.
    expect(test.clock.pendingTimers).toBe(0);
  });

  it('keeps fewer spares the longer the last burst is ago', async () => {
    const test = new PoolUnderTest();
    await test.takeAtOnce(8);
    await test.settle();
    expect(test.live).toBe(16);
    await test.clock.advance(2 * poolLimits.halfLifeMs);
    await test.settle();
    expect(test.live).toBe(8 + 2);
  });

  it('holds no more spares than its limits, for a protocol, a peer and in all', async () => {
    const test = new PoolUnderTest({ sparesPerPeer: 20, sparesInAll: 50 });
    test.pool.warm(peer, infer, 100);
    await test.settle();
    expect(test.live).toBe(poolLimits.spares);
    test.pool.warm(peer, heartbeat, 100);
    await test.settle();
    expect(test.live).toBe(20);
    for (const other of ['a', 'b', 'c', 'd']) {
      test.pool.warm(other, infer, 100);
    }
    await test.settle();
    expect(test.live).toBe(50);
  });

  it('refuses a request when very many wait already', async () => {
    const test = new PoolUnderTest({ waiting: 3 });
    const waiting = Array.from({ length: 3 }, () => test.pool.take(peer, infer));
    expect((await rejectionOf(test.pool.take(peer, infer))).code).toBe('queue_full');
    await test.settle();
    expect(await Promise.all(waiting)).toHaveLength(3);
  });

  it('passes on why no stream could be opened, and opens no spares for a peer that is gone', async () => {
    const test = new PoolUnderTest();
    test.gone.add(peer);
    const failed = rejectionOf(test.pool.take(peer, infer));
    await test.settle();
    expect((await failed).code).toBe('peer_unreachable');
    await test.clock.advance(poolLimits.forgetMs);
    expect(test.attempts).toBe(1);
    expect(test.clock.pendingTimers).toBe(0);
  });

  it('does not fail a request because a spare could not be opened while its own stream still can', async () => {
    const test = new PoolUnderTest();
    test.pool.warm(peer, infer, 1);
    await test.clock.advance(roundTripMs / 2);
    const taken = test.pool.take(peer, infer);
    test.gone.add(peer);
    await test.clock.advance(roundTripMs / 2);
    test.gone.delete(peer);
    await test.clock.advance(roundTripMs / 2);
    expect(await taken).toBe(test.opened[0]);
  });

  it('leaves nothing open when it is closed at the moment a stream arrives, however close the two are', async () => {
    for (let turns = 0; turns < 12; turns++) {
      const clock = new ManualClock();
      const opening = Promise.withResolvers<PeerStream>();
      const pool = new StreamPool({ open: () => opening.promise, clock, log: silentLogger });
      pool.warm(peer, infer, 1);
      const stream = new DoubleStream(peer, infer);
      opening.resolve(stream);
      for (let turn = 0; turn < turns; turn++) {
        await Promise.resolve();
      }
      await pool.close();
      await clock.settle();
      expect(stream.isClosed).toBe(true);
      expect(clock.pendingTimers).toBe(0);
    }
  });

  it('fails every request of a burst when each opening fails', async () => {
    const test = new PoolUnderTest();
    test.gone.add(peer);
    const failed = Array.from({ length: 8 }, () => rejectionOf(test.pool.take(peer, infer)));
    await test.settle();
    expect((await Promise.all(failed)).map(({ code }) => code)).toEqual(Array(8).fill('peer_unreachable'));
    expect(test.attempts).toBe(8);
  });

  it('gives up an opening that hangs', async () => {
    const test = new PoolUnderTest();
    test.hangs = true;
    const failed = rejectionOf(test.pool.take(peer, infer));
    await test.clock.advance(poolLimits.openMs);
    expect((await failed).code).toBe('peer_unreachable');
    expect(test.clock.pendingTimers).toBe(0);
  });

  it('lets a request that waits be aborted, and keeps its stream for the next', async () => {
    const test = new PoolUnderTest();
    const caller = new AbortController();
    const waiting = test.pool.take(peer, infer, { signal: caller.signal });
    await test.clock.advance(roundTripMs / 2);
    const reason = new Error('hung up');
    caller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await test.settle();
    expect(await test.takeAtOnce(1)).toEqual([0]);
    await expect(test.pool.take(peer, infer, { signal: caller.signal })).rejects.toBe(reason);
  });

  it('loses no stream that arrives at the moment of an abort, however close the two are', async () => {
    for (let turns = 0; turns < 12; turns++) {
      const opening = Promise.withResolvers<PeerStream>();
      const clock = new ManualClock();
      const answers = [opening.promise];
      const pool = new StreamPool({
        open: () => answers.shift() ?? new Promise(() => {}),
        clock,
        log: silentLogger,
      });
      const caller = new AbortController();
      const taken = pool.take(peer, infer, { signal: caller.signal }).catch(() => undefined);
      const stream = new DoubleStream(peer, infer);
      opening.resolve(stream);
      for (let turn = 0; turn < turns; turn++) {
        await Promise.resolve();
      }
      caller.abort(new Error('hung up'));
      const isTaken = (await taken) === stream;
      await clock.settle();
      await pool.close();
      expect(stream.isClosed).toBe(!isTaken);
    }
  });

  it("gives up the spares and openings of a dropped peer, and nobody else's", async () => {
    const test = new PoolUnderTest();
    test.pool.warm(peer, infer, 2);
    test.pool.warm('another', infer, 2);
    await test.settle();
    test.pool.warm(peer, infer, 4);
    const waiting = rejectionOf(test.pool.take(peer, heartbeat));
    test.pool.drop(peer);
    expect((await waiting).code).toBe('peer_unreachable');
    await test.settle();
    expect(test.opened.map((stream) => [stream.peer, stream.isClosed])).toEqual([
      [peer, true],
      [peer, true],
      ['another', false],
      ['another', false],
    ]);
  });

  it('leaves taken streams alone when their peer is dropped', async () => {
    const test = new PoolUnderTest();
    await test.takeAtOnce(1);
    test.pool.drop(peer);
    expect(test.opened[0]?.isClosed).toBe(false);
  });

  it('closes while streams are being opened: nobody waits, nothing and no timer is left', async () => {
    const test = new PoolUnderTest();
    test.pool.warm(peer, infer, 3);
    await test.settle();
    test.pool.warm('another', infer, 3);
    const waiting = rejectionOf(test.pool.take('third', infer));
    await test.pool.close();
    expect((await waiting).code).toBe('shutting_down');
    expect((await rejectionOf(test.pool.take(peer, infer))).code).toBe('shutting_down');
    await test.settle();
    test.pool.warm(peer, infer, 1);
    expect(test.live).toBe(0);
    expect(test.attempts).toBe(7);
    expect(test.clock.pendingTimers).toBe(0);
  });

  it('gives up a stream that arrives after it was closed', async () => {
    const clock = new ManualClock();
    const late = Promise.withResolvers<PeerStream>();
    const pool = new StreamPool({ open: () => late.promise, clock, log: silentLogger });
    pool.warm(peer, infer, 1);
    await pool.close();
    const stream = new DoubleStream(peer, infer);
    late.resolve(stream);
    await stream.closed;
    expect(stream.isClosed).toBe(true);
  });
});
