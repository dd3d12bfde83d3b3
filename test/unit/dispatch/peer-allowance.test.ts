// What one peer may take of this node: requests under way, tokens a minute, and what is remembered of it.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Admitted,
  PeerAllowance,
  type PeerAllowanceLimits,
} from '../../../src/dispatch/peer-allowance.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { peerLimits } from '../../../src/util/limits/dispatch.ts';
import { thrownBy } from '../../support/thrown.ts';

const minuteMs = 60_000;

/** An allowance with a clock that stands still until it is moved. */
class AllowanceUnderTest {
  nowMs = 5_000_000;
  readonly allowance: PeerAllowance;

  constructor(limits: Partial<PeerAllowanceLimits> = {}) {
    this.allowance = new PeerAllowance({ ...peerLimits, ...limits }, () => this.nowMs);
  }

  admit(peer = 'a'): Admitted {
    return this.allowance.admit(peer);
  }

  /** A request that uses so many tokens and is over at once. */
  use(tokens: number, peer = 'a'): void {
    const admitted = this.admit(peer);
    admitted.charge(tokens);
    admitted.end();
  }

  refusal(peer = 'a'): MeshnodeError {
    return thrownBy(() => this.admit(peer));
  }

  /** Whether a request would be let in now; it is over at once. */
  admits(peer = 'a'): boolean {
    try {
      this.admit(peer).end();
      return true;
    } catch (thrown) {
      if (thrown instanceof MeshnodeError) {
        return false;
      }
      throw thrown;
    }
  }
}

describe('requests of a peer under way', () => {
  it('are bounded, each peer for itself, until some have ended', () => {
    const test = new AllowanceUnderTest();
    const admitted = Array.from({ length: peerLimits.inFlightPerPeer }, () => test.admit());
    expect(test.refusal()).toMatchObject({
      code: 'queue_full',
      message: `${peerLimits.inFlightPerPeer} requests of the same node are under way here already.`,
      details: { retryAfterSeconds: peerLimits.inFlightRetrySeconds },
    });
    expect(test.admits('b')).toBe(true);
    admitted[7]?.end();
    expect(test.admits()).toBe(true);
  });

  it('end once, however often that is said', () => {
    const test = new AllowanceUnderTest({ inFlightPerPeer: 2 });
    const [first] = [test.admit(), test.admit()];
    first?.end();
    first?.end();
    test.admit();
    expect(test.refusal().code).toBe('queue_full');
  });

  it('are never more than allowed, in any order of beginnings and ends', () => {
    const moves = fc.array(fc.record({ peer: fc.constantFrom('a', 'b'), ends: fc.option(fc.nat()) }), {
      maxLength: 100,
      size: 'max',
    });
    fc.assert(
      fc.property(moves, fc.integer({ min: 1, max: 5 }), (list, inFlightPerPeer) => {
        const test = new AllowanceUnderTest({ inFlightPerPeer });
        const underWay = new Map<string, Admitted[]>([
          ['a', []],
          ['b', []],
        ]);
        for (const { peer, ends } of list) {
          const own = underWay.get(peer) ?? [];
          if (ends !== null) {
            const [ended] = own.splice(ends % Math.max(1, own.length), 1);
            ended?.end();
          } else if (own.length < inFlightPerPeer) {
            own.push(test.admit(peer));
          } else {
            expect(test.refusal(peer).code).toBe('queue_full');
          }
        }
      }),
    );
  });
});

describe('tokens of a peer', () => {
  it('are charged afterwards: the next request waits for what was used beyond a minute’s worth', () => {
    const test = new AllowanceUnderTest({ tokensPerMinute: 100 });
    const [one, other] = [test.admit(), test.admit()];
    one.charge(100);
    other.charge(49);
    expect(test.refusal()).toMatchObject({
      code: 'rate_limit_exceeded',
      message: 'A node may use 100 tokens a minute here; this one has used them.',
    });
    expect(test.refusal().details.retryAfterSeconds).toBeCloseTo(30, 6);
    test.nowMs += 29_900;
    expect(test.admits()).toBe(false);
    test.nowMs += 100;
    expect(test.admits()).toBe(true);
  });

  it('are counted for each peer apart', () => {
    const test = new AllowanceUnderTest({ tokensPerMinute: 100 });
    test.use(1_000);
    expect([test.admits('a'), test.admits('b')]).toEqual([false, true]);
  });

  it('are counted piece by piece, and not once the request is over', () => {
    const test = new AllowanceUnderTest({ tokensPerMinute: 100 });
    const admitted = test.admit();
    admitted.charge(60);
    admitted.charge(39);
    expect(test.admits()).toBe(true);
    admitted.end();
    admitted.charge(1);
    expect(test.admits()).toBe(true);
    test.use(1);
    expect(test.admits()).toBe(false);
  });

  it('are not forgiven by forgetting: a debt outlives the coming and going of others', () => {
    const test = new AllowanceUnderTest({ tokensPerMinute: 100 });
    test.use(250);
    for (let other = 0; other < 50; other++) {
      test.admit(`other ${other}`).end();
    }
    expect(test.admits()).toBe(false);
    expect(test.refusal().details.retryAfterSeconds).toBeCloseTo(90.6, 6);
  });

  it('are never more in any stretch of time than a minute’s worth, what came back, and the last answers', () => {
    const gaps = fc.array(fc.double({ min: 0, max: 20_000, noNaN: true }), {
      minLength: 1,
      maxLength: 100,
      size: 'max',
    });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 500 }), (list, tokensEach) => {
        const tokensPerMinute = 1_000;
        const test = new AllowanceUnderTest({ tokensPerMinute });
        const startMs = test.nowMs;
        let used = 0;
        for (const gapMs of list) {
          test.nowMs += gapMs;
          if (test.admits()) {
            test.use(tokensEach);
            used += tokensEach;
          }
          const most = tokensPerMinute * (1 + (test.nowMs - startMs) / minuteMs) + tokensEach;
          expect(used).toBeLessThanOrEqual(most + 2e-3);
        }
        // And it is not refused what it may have.
        expect(used).toBeGreaterThanOrEqual(Math.min(list.length * tokensEach, tokensPerMinute));
      }),
    );
  });

  it('come back when the refusal says, and not before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.nat(5_000), (tokensPerMinute, debt) => {
        const test = new AllowanceUnderTest({ tokensPerMinute });
        test.use(tokensPerMinute + debt);
        const { code, details } = test.refusal();
        expect(code).toBe('rate_limit_exceeded');
        const waitMs = (details.retryAfterSeconds ?? 0) * 1000;
        test.nowMs += waitMs - minuteMs / tokensPerMinute / 100;
        expect(test.admits()).toBe(false);
        test.nowMs += minuteMs / tokensPerMinute / 100;
        expect(test.admits()).toBe(true);
      }),
    );
  });

  it('are owed for minutes at most, however absurd one answer is', () => {
    const test = new AllowanceUnderTest({ tokensPerMinute: 100 });
    test.use(2 ** 31);
    expect(test.refusal().details.retryAfterSeconds).toBeLessThanOrEqual(peerLimits.debtMinutes * 60);
    expect(test.refusal().details.retryAfterSeconds).toBeGreaterThan(60);
  });

  it('suffice for what 32 agents read at once', () => {
    const test = new AllowanceUnderTest();
    const agents = Array.from({ length: 32 }, () => test.admit());
    for (const agent of agents) {
      agent.charge(18_000);
      agent.end();
    }
    expect(test.admits()).toBe(true);
  });
});

describe('what is remembered of peers', () => {
  it('is nothing once they owe nothing and have nothing under way', () => {
    const test = new AllowanceUnderTest({ tokensPerMinute: 100 });
    test.use(50, 'paid back');
    test.admit('under way');
    test.nowMs += minuteMs / 2;
    test.use(100, 'in debt');
    test.admit('newcomer');
    expect(test.allowance.meteredPeers).toBe(3);
    expect(test.admits('in debt')).toBe(false);
  });

  it('is bounded, however many peers come', () => {
    const test = new AllowanceUnderTest({ meteredPeers: 10, tokensPerMinute: 100 });
    for (let peer = 0; peer < 1_000; peer++) {
      test.use(1_000, `peer ${peer}`);
      expect(test.allowance.meteredPeers).toBeLessThanOrEqual(10);
    }
    // Those that came last are still held to what they owe.
    expect([test.admits('peer 999'), test.admits('peer 991')]).toEqual([false, false]);
  });

  it('is given up of the one that was idle for longest', () => {
    const test = new AllowanceUnderTest({ meteredPeers: 2, tokensPerMinute: 100 });
    test.use(60, 'a');
    test.use(60, 'b');
    test.use(10, 'a');
    test.use(60, 'newcomer');
    test.use(30, 'a');
    expect([test.admits('a'), test.allowance.meteredPeers]).toEqual([false, 2]);
    test.use(60, 'b');
    expect(test.admits('b')).toBe(true);
  });

  it('is never given up while a request is under way: then it is the newcomer who waits', () => {
    const test = new AllowanceUnderTest({ meteredPeers: 3, inFlightPerPeer: 1 });
    const [first] = ['a', 'b', 'c'].map((peer) => test.admit(peer));
    expect(test.refusal('d')).toMatchObject({
      code: 'queue_full',
      message: 'Requests of too many nodes are under way here already.',
    });
    expect(test.refusal('a').code).toBe('queue_full');
    first?.end();
    expect(test.admits('d')).toBe(true);
    expect(test.refusal('b').code).toBe('queue_full');
  });
});
