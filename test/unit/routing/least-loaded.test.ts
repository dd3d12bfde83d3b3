// The order in which replicas are asked.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { leastLoadedFirst, type ReplicaLoad } from '../../../src/routing/least-loaded.ts';

interface Named extends ReplicaLoad {
  readonly name: string;
}

const none: ReplicaLoad = { requests: 0, slots: 1, rttMs: 0 };

const order = (...replicas: Named[]): string[] =>
  leastLoadedFirst(replicas, (replica) => replica).map(({ name }) => name);

describe('leastLoadedFirst', () => {
  it('asks who has least to do for each slot, not who has least', () => {
    const small = { name: 'small', requests: 1, slots: 1, rttMs: 0 };
    const large = { name: 'large', requests: 3, slots: 8, rttMs: 20 };
    expect(order(small, large)).toEqual(['large', 'small']);
  });

  it('asks the nearest of those with equal load, and whose way is unknown last', () => {
    const idle = { requests: 0, slots: 4 };
    const far = { name: 'far', ...idle, rttMs: 30 };
    const unknown = { name: 'unknown', ...idle, rttMs: undefined };
    expect(order(unknown, far, { name: 'here', ...idle, rttMs: 0 })).toEqual(['here', 'far', 'unknown']);
  });

  it('asks whoever was not heard when he should have been after all others', () => {
    const busy = { name: 'busy', requests: 9, slots: 1, rttMs: 90, isDoubted: false };
    expect(order({ name: 'doubted', ...none, isDoubted: true }, busy)).toEqual(['busy', 'doubted']);
  });

  it('takes a replica that does not tell its slots for one with a few', () => {
    const silent = { name: 'silent', requests: 2, slots: undefined, rttMs: 1 };
    expect(order(silent, { name: 'full', requests: 1, slots: 1, rttMs: 1 })).toEqual(['silent', 'full']);
    expect(order(silent, { name: 'wide', requests: 2, slots: 16, rttMs: 1 })).toEqual(['wide', 'silent']);
  });

  it('leaves nobody out, names nobody twice, and keeps the order of equals', () => {
    const load = fc.record({
      requests: fc.nat(9),
      slots: fc.option(fc.nat(8), { nil: undefined }),
      rttMs: fc.option(fc.integer({ min: 0, max: 90 }), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(load), (loads) => {
        const indices = leastLoadedFirst([...loads.keys()], (index) => loads[index] ?? none);
        expect([...indices].sort((a, b) => a - b)).toEqual([...loads.keys()]);
      }),
    );
  });
});
