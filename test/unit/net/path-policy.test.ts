// Which link to a peer is used: the first choice, a lost one, and that noise never makes it change its mind.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LinkRtt } from '../../../src/net/link-rtt.ts';
import type { PathKind } from '../../../src/net/network.ts';
import { PathPolicy } from '../../../src/net/path-policy.ts';
import { pathLimits } from '../../../src/util/limits/net.ts';

const peer = 'peer';
const both: readonly PathKind[] = ['tcp', 'quic'];

/** A policy whose paths are measured once a second; the path used after each second is kept. */
class Measured {
  readonly policy = new PathPolicy();
  readonly used: (PathKind | undefined)[] = [];
  #nowMs = 0;

  second(rtts: Partial<Record<PathKind, number>>): PathKind | undefined {
    this.#nowMs += 1_000;
    for (const path of both) {
      const rttMs = rtts[path];
      if (rttMs !== undefined) {
        this.policy.observe(peer, path, { rttMs }, this.#nowMs);
      }
    }
    this.used.push(this.choose()?.path);
    return this.used.at(-1);
  }

  seconds(count: number, rtts: Partial<Record<PathKind, number>>): PathKind | undefined {
    for (let second = 0; second < count; second++) {
      this.second(rtts);
    }
    return this.used.at(-1);
  }

  choose(available = both) {
    return this.policy.choose(peer, available, this.#nowMs);
  }

  get changes(): number {
    return this.used.filter((path, index) => index > 0 && path !== this.used[index - 1]).length;
  }
}

describe('path policy', () => {
  it('takes TCP first while nothing is measured, QUIC without TCP, and nothing without a link', () => {
    const { policy } = new Measured();
    expect(policy.choose('a', ['quic', 'tcp'], 0)?.path).toBe('tcp');
    expect(policy.choose('b', ['quic'], 0)).toEqual({ path: 'quic', reason: 'the only link' });
    expect(policy.choose('c', [], 0)).toBeUndefined();
  });

  it('begins with the path that was measured to be clearly better', () => {
    const policy = new PathPolicy();
    policy.observe(peer, 'tcp', { rttMs: 40 }, 0);
    policy.observe(peer, 'quic', { rttMs: 20 }, 0);
    expect(policy.choose(peer, both, 0)).toEqual({
      path: 'quic',
      reason: 'quic takes 20.0 ms, tcp 40.0 ms',
    });
  });

  it('changes only after several measurements and some seconds', () => {
    const measured = new Measured();
    measured.choose();
    for (let second = 1; second <= pathLimits.rivalMs / 1_000; second++) {
      expect(measured.second({ tcp: 40, quic: 20 })).toBe('tcp');
    }
    expect(measured.second({ tcp: 40, quic: 20 })).toBe('quic');
  });

  it('does not count the measurements of the path in use for its rival', () => {
    const measured = new Measured();
    measured.choose();
    measured.seconds(2, { tcp: 40, quic: 20 });
    expect(measured.seconds(20, { tcp: 40 })).toBe('tcp');
  });

  it('makes a rival that fell back prove itself from the start', () => {
    const measured = new Measured();
    measured.choose();
    measured.seconds(3, { tcp: 40, quic: 20 });
    measured.seconds(20, { tcp: 40, quic: 40 });
    expect(measured.seconds(12, { tcp: 40, quic: 20 })).toBe('tcp'); // Ahead again for some three of them.
    expect(measured.seconds(5, { tcp: 40, quic: 20 })).toBe('quic');
  });

  it('ignores a rival that saves a fifth of almost nothing', () => {
    const measured = new Measured();
    measured.choose();
    expect(measured.seconds(60, { tcp: 1.1, quic: 0.2 })).toBe('tcp');
  });

  it('leaves a lost path at once and does not return to it only because it is back', () => {
    const measured = new Measured();
    measured.seconds(10, { tcp: 10, quic: 11 });
    measured.policy.lost(peer, 'tcp');
    expect(measured.choose(['quic'])?.path).toBe('quic');
    expect(measured.choose(both)?.path).toBe('quic');
    expect(measured.seconds(60, { tcp: 10, quic: 11 })).toBe('quic');
  });

  it('weighs throughput with the round trip where both paths have it', () => {
    const measured = new Measured();
    measured.choose();
    measured.policy.observe(peer, 'tcp', { bytesPerSecond: 1_000_000 }, 0);
    measured.policy.observe(peer, 'quic', { bytesPerSecond: 50_000_000 }, 0);
    expect(measured.seconds(10, { tcp: 20, quic: 21 })).toBe('quic');
    expect(measured.seconds(60, { tcp: 20, quic: 21 })).toBe('quic');
  });

  it('forgets a peer', () => {
    const measured = new Measured();
    measured.seconds(10, { tcp: 40, quic: 20 });
    measured.policy.forget(peer);
    expect(measured.choose()?.reason).toBe('tcp first, none clearly better');
  });

  it('remembers a bounded number of peers, the last measured ones', () => {
    const measured = new Measured();
    measured.seconds(10, { tcp: 40, quic: 20 });
    expect(measured.choose()?.path).toBe('quic');
    for (let index = 0; index < pathLimits.peers; index++) {
      measured.policy.observe(`another ${index}`, 'tcp', { rttMs: 1 }, 0);
    }
    expect(measured.choose()?.path).toBe('tcp');
  });

  it('is not moved by what is no measurement', () => {
    const measured = new Measured();
    measured.choose();
    for (const rttMs of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      expect(measured.seconds(10, { tcp: 20, quic: rttMs })).toBe('tcp');
    }
    for (const bytesPerSecond of [0, -1, Number.NaN]) {
      measured.policy.observe(peer, 'tcp', { bytesPerSecond }, 0);
    }
    expect(measured.choose()?.path).toBe('tcp');
  });

  it('never chooses what is not available, whatever happens, and always something that is', () => {
    const path = fc.constantFrom<PathKind>('quic', 'tcp', 'memory');
    const measurement = fc.oneof(
      fc.record({ rttMs: fc.double() }),
      fc.record({ bytesPerSecond: fc.double() }),
      fc.constant('lost' as const),
    );
    const step = fc.record({ path, measurement, laterMs: fc.nat(5_000), available: fc.uniqueArray(path) });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const policy = new PathPolicy();
        let nowMs = 0;
        for (const { path, measurement, laterMs, available } of steps) {
          nowMs += laterMs;
          if (measurement === 'lost') {
            policy.lost(peer, path);
          } else {
            policy.observe(peer, path, measurement, nowMs);
          }
          const chosen = policy.choose(peer, available, nowMs)?.path;
          expect(available.length === 0 ? [undefined] : available).toContain(chosen);
        }
      }),
    );
  });

  const rtt = fc.double({ min: 0.1, max: 500, noNaN: true });
  /** Two minutes of a factor between 0.9 and 1.1 for each path. */
  const noise = fc.array(
    fc.tuple(fc.double({ min: 0.9, max: 1.1, noNaN: true }), fc.double({ min: 0.9, max: 1.1, noNaN: true })),
    { minLength: 120, maxLength: 120 },
  );

  it('never changes between equal paths for noise of a tenth, and at most once between any two', () => {
    fc.assert(
      fc.property(rtt, rtt, noise, (tcpMs, quicMs, factors) => {
        const equal = new Measured();
        const any = new Measured();
        equal.choose();
        any.choose();
        for (const [tcp, quic] of factors) {
          equal.second({ tcp: tcpMs * tcp, quic: tcpMs * quic });
          any.second({ tcp: tcpMs * tcp, quic: quicMs * quic });
        }
        expect(equal.used.every((path) => path === 'tcp')).toBe(true);
        expect(any.changes).toBeLessThanOrEqual(1);
      }),
      { numRuns: 30 },
    );
  });

  it('follows a lasting change within a half-life and the time of proof', () => {
    const boundSeconds = (pathLimits.rttWindow.halfLifeMs + pathLimits.rivalMs) / 1_000 + 2;
    fc.assert(
      fc.property(rtt, fc.integer({ min: 1, max: 90 }), (tcpMs, secondsBefore) => {
        const measured = new Measured();
        measured.seconds(secondsBefore, { tcp: tcpMs, quic: tcpMs * 2 + 2 });
        expect(measured.used.at(-1)).toBe('tcp');
        expect(measured.seconds(boundSeconds, { tcp: tcpMs * 4 + 4, quic: tcpMs * 2 + 2 })).toBe('quic');
        expect(measured.changes).toBe(1);
      }),
      { numRuns: 30 },
    );
  });

  it('decides for each peer as if there were no other', () => {
    const measurement = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom(...both), rtt);
    fc.assert(
      fc.property(fc.array(measurement, { maxLength: 60 }), (measurements) => {
        const together = new PathPolicy();
        const alone = new Map(['a', 'b', 'c'].map((name) => [name, new PathPolicy()]));
        for (const [index, [name, path, rttMs]] of measurements.entries()) {
          const nowMs = index * 1_000;
          for (const policy of [together, alone.get(name)]) {
            policy?.observe(name, path, { rttMs }, nowMs);
          }
          expect(together.choose(name, both, nowMs)).toEqual(alone.get(name)?.choose(name, both, nowMs));
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('the round trip of a link', () => {
  it('is unknown before the first measurement and once the last is old', () => {
    const link = new LinkRtt();
    expect(link.p50(0)).toBeUndefined();
    link.add(20, 0);
    expect(link.p50(pathLimits.rttWindow.memoryMs - 1)).toBe(20);
    expect(link.p95(pathLimits.rttWindow.memoryMs)).toBeUndefined();
  });

  it('has a median and a 95th percentile', () => {
    const link = new LinkRtt();
    for (let index = 0; index < 50; index++) {
      link.add(index % 10 === 0 ? 200 : 20, index);
    }
    expect([link.p50(50), link.p95(50)]).toEqual([20, 200]);
  });

  it('rises as well as it falls', () => {
    const link = new LinkRtt();
    for (let second = 0; second < 40; second++) {
      link.add(second < 20 ? 10 : 80, second * 1_000);
    }
    expect(link.p50(40_000)).toBe(80);
    for (let second = 40; second < 60; second++) {
      link.add(15, second * 1_000);
    }
    expect(link.p50(60_000)).toBe(15);
  });

  it('keeps only the newest of very many measurements', () => {
    const link = new LinkRtt();
    for (let index = 0; index < 1_000; index++) {
      link.add(index, 0);
    }
    expect(link.p50(0)).toBeGreaterThanOrEqual(1_000 - pathLimits.rttWindow.samples);
  });

  it('lies between the smallest and the largest measurement, the median not above the 95th percentile', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.double({ min: 0, max: 1e6, noNaN: true }), fc.nat(3_000)), { minLength: 1 }),
        (measurements) => {
          const link = new LinkRtt();
          let nowMs = 0;
          for (const [rttMs, laterMs] of measurements) {
            nowMs += laterMs;
            link.add(rttMs, nowMs);
          }
          const [p50, p95] = [link.p50(nowMs) ?? Number.NaN, link.p95(nowMs) ?? Number.NaN];
          const rtts = measurements.map(([rttMs]) => rttMs);
          expect(p50).toBeGreaterThanOrEqual(Math.min(...rtts));
          expect(p50).toBeLessThanOrEqual(p95);
          expect(p95).toBeLessThanOrEqual(Math.max(...rtts));
        },
      ),
    );
  });
});
