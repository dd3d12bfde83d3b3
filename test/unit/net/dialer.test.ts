// Dialling over a transport that the test plays: what is tried when, who wins, what is remembered.
import { describe, expect, it } from 'vitest';
import { DialBackoff, Dialer } from '../../../src/net/dialer.ts';
import { KeyPair } from '../../../src/trust/keys.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rejectionOf } from '../../support/thrown.ts';

const peer = '12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu';
const otherPeer = KeyPair.fromSeed(new Uint8Array(32)).peerId;
const addressOf = (index: number): string => `/ip4/10.0.0.1/tcp/${index + 1}`;
const addresses = (count: number): string[] => Array.from({ length: count }, (_, index) => addressOf(index));

interface Attempt {
  readonly address: string;
  readonly atMs: number;
  readonly signal: AbortSignal;
  readonly succeed: (connection: string) => void;
  readonly fail: (error: Error) => void;
}

function setUp() {
  const clock = new ManualClock();
  const attempts: Attempt[] = [];
  const discarded: string[] = [];
  const dialer = new Dialer<string>({
    clock,
    connect: ({ text }, signal) =>
      new Promise((succeed, fail) => {
        attempts.push({ address: text, atMs: clock.monotonicMs(), signal, succeed, fail });
      }),
    discard: (connection) => discarded.push(connection),
  });
  const attempt = (index: number): Attempt => {
    const found = attempts[index];
    if (found === undefined) {
      throw new Error(`attempt ${index} was not made`);
    }
    return found;
  };
  return { clock, attempts, attempt, discarded, dialer };
}

describe('a dial', () => {
  it('gives each address a head start before the next, and tries eight at once', async () => {
    const { clock, attempts, dialer } = setUp();
    const failure = rejectionOf(dialer.dial(peer, addresses(20)));
    await clock.advance(netLimits.dialHeadStartMs - 1);
    expect(attempts).toHaveLength(1);
    await clock.advance(1_000);
    expect(attempts.map(({ atMs }) => atMs)).toEqual(
      Array.from({ length: netLimits.dialsAtOnce }, (_, index) => index * netLimits.dialHeadStartMs),
    );
    await clock.advance(netLimits.dialMs);
    expect(await failure).toMatchObject({ code: 'peer_unreachable' });
  });

  it('goes on at once where an address fails at once', async () => {
    const { clock, attempt, attempts, dialer } = setUp();
    const dial = dialer.dial(peer, addresses(2));
    await clock.settle();
    attempt(0).fail(new Error('refused'));
    await clock.settle();
    expect(attempts).toHaveLength(2);
    attempt(1).succeed('second');
    expect(await dial).toBe('second');
  });

  it('stops the others when one has won, and closes what comes too late', async () => {
    const { clock, attempt, discarded, dialer } = setUp();
    const dial = dialer.dial(peer, addresses(3));
    await clock.advance(2 * netLimits.dialHeadStartMs);
    attempt(1).succeed('winner');
    expect(await dial).toBe('winner');
    await clock.settle();
    expect(attempt(0).signal.aborted).toBe(true);
    expect(attempt(2).signal.aborted).toBe(true);
    attempt(0).succeed('late');
    await clock.settle();
    expect(discarded).toEqual(['late']);
  });

  it('never aborts the signal of the connection it returns', async () => {
    const { clock, attempt, dialer } = setUp();
    const caller = new AbortController();
    const dial = dialer.dial(peer, addresses(1), undefined, caller.signal);
    await clock.settle();
    attempt(0).succeed('connection');
    await dial;
    caller.abort();
    await clock.advance(60_000);
    expect(attempt(0).signal.aborted).toBe(false);
  });

  it('gives one address a second and a half, all of them five seconds, and says of each why', async () => {
    const { clock, attempts, dialer } = setUp();
    const failure = rejectionOf(dialer.dial(peer, addresses(3)));
    await clock.advance(netLimits.dialAddressMs + 2 * netLimits.dialHeadStartMs);
    const error = await failure;
    expect(error).toMatchObject({ code: 'peer_unreachable' });
    expect(error.details.data?.['attempts']).toEqual(
      addresses(3).map((address) => ({ address, reason: `No answer within ${netLimits.dialAddressMs} ms.` })),
    );
    expect(attempts.every(({ signal }) => signal.aborted)).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is over after five seconds whatever is left to try', async () => {
    const { clock, dialer } = setUp();
    const failure = rejectionOf(dialer.dial(peer, addresses(netLimits.dialAddresses + 10)));
    await clock.advance(netLimits.dialMs);
    expect(await failure).toMatchObject({ code: 'peer_unreachable' });
  });

  it('ends with its signal', async () => {
    const { clock, attempt, dialer } = setUp();
    const caller = new AbortController();
    const failure = rejectionOf(dialer.dial(peer, addresses(1), undefined, caller.signal));
    await clock.settle();
    caller.abort(new MeshnodeError('cancelled', 'enough'));
    expect(await failure).toMatchObject({ code: 'cancelled' });
    expect(attempt(0).signal.aborted).toBe(true);
  });

  it('says that the key is another one if that is what answered', async () => {
    const { clock, attempt, dialer } = setUp();
    const failure = rejectionOf(dialer.dial(peer, addresses(2)));
    await clock.settle();
    attempt(0).fail(new MeshnodeError('peer_key_mismatch', 'not you'));
    await clock.settle();
    attempt(1).fail(new Error('refused'));
    expect(await failure).toMatchObject({ code: 'peer_key_mismatch' });
  });

  it('tries only addresses of the path that is wanted', async () => {
    const { clock, attempts, dialer } = setUp();
    const caller = new AbortController();
    const mixed = [addressOf(0), '/ip4/10.0.0.1/udp/1/quic-v1'];
    const failure = rejectionOf(dialer.dial(peer, mixed, 'quic', caller.signal));
    await clock.advance(1_000);
    expect(attempts.map(({ address }) => address)).toEqual([mixed[1]]);
    caller.abort(new MeshnodeError('cancelled', 'enough'));
    await failure;
  });

  it('fails at once, with reasons, when no address can be dialled', async () => {
    const { dialer, attempts } = setUp();
    const error = await rejectionOf(dialer.dial(peer, ['nonsense', '/ip4/1.2.3.4/tcp/5/ws']));
    expect(error).toMatchObject({ code: 'peer_unreachable' });
    expect(error.details.data?.['attempts']).toHaveLength(2);
    expect(await rejectionOf(dialer.dial(peer, []))).toMatchObject({ code: 'peer_unreachable' });
    expect(attempts).toEqual([]);
  });

  describe('after a failure', () => {
    const setUpFailing = () => {
      const parts = setUp();
      const { clock, attempt, attempts, dialer } = parts;
      /** Dials, waits until the address is tried, and has it refuse. */
      const fail = async (waitMs = 0): Promise<void> => {
        const failure = rejectionOf(dialer.dial(peer, addresses(1)));
        await clock.advance(waitMs);
        attempt(attempts.length - 1).fail(new Error('refused'));
        await failure;
      };
      return { ...parts, fail };
    };

    it('waits until the address may be tried again, longer each time, until it answers', async () => {
      const { clock, attempt, attempts, dialer, fail } = setUpFailing();
      await fail();
      await fail(1_000);
      const dial = dialer.dial(peer, addresses(1));
      await clock.advance(1_999);
      expect(attempts).toHaveLength(2);
      await clock.advance(1);
      attempt(2).succeed('connection');
      expect(await dial).toBe('connection');
      expect(attempts.map(({ atMs }) => atMs)).toEqual([0, 1_000, 3_000]);
      await fail();
      await fail(1_000);
      expect(attempts).toHaveLength(5);
    });

    it('waits for all addresses that failed side by side, not for the first alone', async () => {
      const { clock, attempts, dialer } = setUp();
      const failure = rejectionOf(dialer.dial(peer, addresses(3)));
      await clock.advance(2_000);
      await failure;
      const again = rejectionOf(dialer.dial(peer, addresses(3)));
      await clock.advance(netLimits.dialMs);
      await again;
      expect(attempts.map(({ address }) => address)).toEqual([...addresses(3), ...addresses(3)]);
    });

    it('says that nothing was tried if the wait would leave no time to try', async () => {
      const { attempts, dialer, fail } = setUpFailing();
      await fail();
      await fail(1_000);
      await fail(2_000);
      const error = await rejectionOf(dialer.dial(peer, addresses(1)));
      expect(error).toMatchObject({ code: 'peer_unreachable' });
      expect(error.details.data).toEqual({ attempts: [], backedOffMs: 4_000 });
      expect(attempts).toHaveLength(3);
    });

    it('is over within the bound of a dial, the wait included, or with its signal', async () => {
      const { clock, dialer, fail } = setUpFailing();
      await fail();
      const many = rejectionOf(dialer.dial(peer, addresses(1)));
      await clock.advance(netLimits.dialMs);
      expect(await many).toMatchObject({ code: 'peer_unreachable' });
      const caller = new AbortController();
      const cancelled = rejectionOf(dialer.dial(peer, addresses(1), undefined, caller.signal));
      caller.abort(new MeshnodeError('cancelled', 'enough'));
      expect(await cancelled).toMatchObject({ code: 'cancelled' });
      expect(clock.pendingTimers).toBe(0);
    });

    it('tries other addresses at once and says which was left alone', async () => {
      const { clock, attempt, attempts, dialer, fail } = setUpFailing();
      await fail();
      const failure = rejectionOf(dialer.dial(peer, addresses(2)));
      await clock.settle();
      expect(attempts.map(({ address }) => address)).toEqual(addresses(2));
      attempt(1).fail(new Error('refused'));
      expect((await failure).details.data?.['attempts']).toEqual([
        { address: addressOf(0), reason: 'failed before, left alone for another 1000 ms' },
        { address: addressOf(1), reason: 'refused' },
      ]);
    });

    it('dials another peer at the same address as if nothing had happened', async () => {
      const { clock, attempt, dialer, fail } = setUpFailing();
      await fail();
      const dial = dialer.dial(otherPeer, addresses(1));
      await clock.settle();
      attempt(1).succeed('connection');
      expect(await dial).toBe('connection');
    });
  });
});

describe('the back-off of addresses', () => {
  it('doubles from a second to a minute, for one peer', () => {
    const backoff = new DialBackoff();
    const waits = Array.from({ length: 9 }, () => {
      backoff.failed(peer, 'a', 0);
      return backoff.waitMs(peer, 'a', 0);
    });
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(backoff.waitMs(otherPeer, 'a', 0)).toBe(0);
    backoff.succeeded(otherPeer, 'a');
    expect(backoff.waitMs(peer, 'a', 0)).toBe(60_000);
    backoff.succeeded(peer, 'a');
    expect(backoff.waitMs(peer, 'a', 0)).toBe(0);
  });

  it('forgets what failed longest ago', () => {
    const backoff = new DialBackoff();
    for (let index = 0; index <= netLimits.backoffAddresses; index++) {
      backoff.failed(peer, String(index), 0);
    }
    expect(backoff.waitMs(peer, '0', 0)).toBe(0);
    expect(backoff.waitMs(peer, '1', 0)).toBe(1_000);
  });
});
