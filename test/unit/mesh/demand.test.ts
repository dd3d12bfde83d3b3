// What the mesh is asked for: honest numbers add up, liars are held to what others saw, everything fades.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DemandReport, LocalDemand, meshDemand } from '../../../src/mesh/demand.ts';
import { demandLimits } from '../../../src/util/limits/mesh.ts';

const nowMs = Date.UTC(2026, 0, 1);
const { halfLifeMs, lifeMs, requestsPerOrigin, unwitnessedRequests, witnessFactor } = demandLimits;

const report = (origin: string, parts: Partial<DemandReport> = {}): DemandReport => ({
  origin,
  issuedMs: nowMs,
  demand: [],
  served: [],
  ...parts,
});

const asks = (origin: string, model: string, requests: number, issuedMs = nowMs): DemandReport =>
  report(origin, { issuedMs, demand: [{ model, requests }] });

/** A replica's report of what it served for others. */
const saw = (witness: string, ...served: DemandReport['served']): DemandReport => report(witness, { served });

describe('demand of one node', () => {
  it('counts each request once, halves by the half-life and names the most wanted first', () => {
    const demand = new LocalDemand();
    demand.record('quiet', nowMs);
    demand.record('busy', nowMs);
    demand.record('busy', nowMs);
    expect(demand.claims(nowMs + halfLifeMs)).toEqual([
      { model: 'busy', requests: 1 },
      { model: 'quiet', requests: 0.5 },
    ]);
    demand.record('busy', nowMs + halfLifeMs);
    expect(demand.claims(nowMs + halfLifeMs)[0]).toEqual({ model: 'busy', requests: 2 });
  });

  it('counts what it served by origin and model', () => {
    const demand = new LocalDemand();
    demand.seen('a', 'demo', nowMs);
    demand.seen('a', 'demo', nowMs);
    demand.seen('b', 'demo', nowMs);
    expect(demand.servedClaims(nowMs)).toEqual([
      { origin: 'a', model: 'demo', requests: 2 },
      { origin: 'b', model: 'demo', requests: 1 },
    ]);
    expect(demand.claims(nowMs)).toEqual([]);
  });

  it('tells nothing of what was long ago', () => {
    const demand = new LocalDemand();
    demand.record('demo', nowMs);
    expect(demand.claims(nowMs + 6 * halfLifeMs)).toHaveLength(1);
    expect(demand.claims(nowMs + 6 * halfLifeMs + 1)).toEqual([]);
  });

  it('does not grow when the clock is set back', () => {
    const demand = new LocalDemand();
    demand.record('demo', nowMs);
    expect(demand.claims(nowMs - lifeMs)).toEqual([{ model: 'demo', requests: 1 }]);
  });

  it('keeps and tells a bounded number, and of too many the most wanted', () => {
    const demand = new LocalDemand();
    for (let index = 0; index < 3 * demandLimits.counted; index++) {
      demand.record('wanted', nowMs + index);
      demand.record(`once ${index}`, nowMs + index);
      demand.seen('origin', `once ${index}`, nowMs + index);
    }
    expect(demand.claims(nowMs)).toHaveLength(demandLimits.models);
    expect(demand.claims(nowMs)[0]?.model).toBe('wanted');
    expect(demand.servedClaims(nowMs)).toHaveLength(demandLimits.pairs);
  });
});

describe('demand of the mesh', () => {
  it('adds up what nodes ask for and replicas saw', () => {
    const served = [
      { origin: 'a', model: 'demo', requests: 10 },
      { origin: 'b', model: 'demo', requests: 20 },
    ];
    const demand = meshDemand([asks('a', 'demo', 10), asks('b', 'demo', 20), saw('r', ...served)], nowMs);
    expect(demand).toEqual(new Map([['demo', 30]]));
  });

  it('believes a little of what no replica saw, all models of a node together', () => {
    expect(meshDemand([asks('a', 'unserved', 2)], nowMs).get('unserved')).toBe(2);
    expect(meshDemand([asks('a', 'unserved', 1_000)], nowMs).get('unserved')).toBe(unwitnessedRequests);
    const many = Array.from({ length: 32 }, (_, index) => ({ model: `model ${index}`, requests: 1_000 }));
    const demand = meshDemand([report('a', { demand: many })], nowMs);
    expect([...demand.values()].reduce((sum, requests) => sum + requests, 0)).toBeCloseTo(
      unwitnessedRequests,
    );
  });

  it('caps what a node counts for, whoever vouches for it', () => {
    const endless = Number.POSITIVE_INFINITY;
    const liar = report('liar', {
      demand: [
        { model: 'demo', requests: endless },
        { model: 'other', requests: 1e308 },
      ],
    });
    const friend = saw(
      'friend',
      { origin: 'liar', model: 'demo', requests: endless },
      { origin: 'liar', model: 'other', requests: endless },
    );
    expect(meshDemand([liar, friend], nowMs)).toEqual(
      new Map([
        ['demo', requestsPerOrigin / 2],
        ['other', requestsPerOrigin / 2],
      ]),
    );
  });

  it('takes nobody for a witness of himself', () => {
    const liar = report('liar', {
      demand: [{ model: 'demo', requests: 1_000 }],
      served: [{ origin: 'liar', model: 'demo', requests: 1_000 }],
    });
    expect(meshDemand([liar], nowMs).get('demo')).toBe(unwitnessedRequests);
  });

  it('does not count what a replica says it served for a node that asked for less', () => {
    const replica = saw('r', { origin: 'a', model: 'demo', requests: 1_000 });
    expect(meshDemand([replica], nowMs).size).toBe(0);
    expect(meshDemand([replica, asks('a', 'demo', 3)], nowMs).get('demo')).toBe(3);
  });

  it('takes a claim from the future as one of now, and one that is a day old for nothing', () => {
    expect(meshDemand([asks('a', 'demo', 2, nowMs + 10 * lifeMs)], nowMs).get('demo')).toBe(2);
    expect(meshDemand([asks('a', 'demo', 2, nowMs - halfLifeMs)], nowMs).get('demo')).toBe(1);
    expect(meshDemand([asks('a', 'demo', 2, nowMs - lifeMs - 1)], nowMs).size).toBe(0);
  });

  const origin = fc.constantFrom('a', 'b', 'c', 'd');
  const model = fc.constantFrom('demo', 'other', 'third');
  const reportsWith = (requests: fc.Arbitrary<number>, issuedMs: fc.Arbitrary<number>) =>
    fc.uniqueArray(
      fc.record({
        origin,
        issuedMs,
        demand: fc.array(fc.record({ model, requests }), { maxLength: 6 }),
        served: fc.array(fc.record({ origin, model, requests }), { maxLength: 6 }),
      }),
      { selector: (one) => one.origin },
    );
  const sane = reportsWith(
    fc.double({ min: 0, max: 1_000, noNaN: true }),
    fc.integer({ min: nowMs - lifeMs, max: nowMs }),
  );
  const hostileNumber = fc.oneof(
    fc.double(),
    fc.constantFrom(
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      1e308,
      -1e308,
      -1,
      0,
      nowMs,
    ),
  );
  const hostile = reportsWith(hostileNumber, hostileNumber);

  it('is a positive number and bounded by the number of nodes, whatever they claim', () => {
    fc.assert(
      fc.property(hostile, (reports) => {
        for (const requests of meshDemand(reports, nowMs).values()) {
          expect(requests).toBeGreaterThan(0);
          expect(requests).toBeLessThanOrEqual(requestsPerOrigin * reports.length * 1.000001);
        }
      }),
    );
  });

  it('does not depend on the order of the reports', () => {
    fc.assert(
      fc.property(
        hostile.chain((all) =>
          fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
        ),
        ([all, shuffled]) => {
          expect(meshDemand(shuffled, nowMs)).toEqual(meshDemand(all, nowMs));
        },
      ),
    );
  });

  it('is the sum of what each node counts for, given what the others saw', () => {
    fc.assert(
      fc.property(sane, (reports) => {
        const witnesses: DemandReport[] = reports.map((one) => ({ ...one, demand: [] }));
        const sum = new Map<string, number>();
        for (const [index, one] of reports.entries()) {
          for (const [name, requests] of meshDemand(witnesses.with(index, one), nowMs)) {
            sum.set(name, (sum.get(name) ?? 0) + requests);
          }
        }
        const together = meshDemand(reports, nowMs);
        expect([...together.keys()].sort()).toEqual([...sum.keys()].sort());
        for (const [name, requests] of together) {
          expect(requests).toBeCloseTo(sum.get(name) ?? Number.NaN, 6);
        }
      }),
    );
  });

  it('is raised by one liar to no more than twice what was served for him and the allowance, nor above the cap', () => {
    const claims = fc.array(fc.record({ model, requests: hostileNumber }), { maxLength: 6 });
    const pairs = fc.array(fc.record({ origin, model, requests: hostileNumber }), { maxLength: 6 });
    fc.assert(
      fc.property(sane, claims, pairs, hostileNumber, (all, demand, served, issuedMs) => {
        const others = all.filter((one) => one.origin !== 'a');
        const before = meshDemand(others, nowMs);
        const after = meshDemand([...others, { origin: 'a', issuedMs, demand, served }], nowMs);
        for (const name of ['demo', 'other', 'third']) {
          const claimedByOthers = sumOf(
            others.flatMap((one) => one.demand),
            name,
          );
          const servedForLiar = sumOf(
            others.flatMap((one) => one.served.filter((pair) => pair.origin === 'a')),
            name,
          );
          // What he vouches for can only bring others nearer to what they claimed themselves.
          const most = Math.min(witnessFactor * servedForLiar + unwitnessedRequests, requestsPerOrigin);
          expect(after.get(name) ?? 0).toBeLessThanOrEqual(
            Math.max(before.get(name) ?? 0, claimedByOthers) + most + 1e-6,
          );
        }
      }),
    );
  });

  it('fades', () => {
    fc.assert(
      fc.property(sane, fc.integer({ min: 1, max: 2 * lifeMs }), (reports, laterMs) => {
        const later = meshDemand(reports, nowMs + laterMs);
        for (const [name, requests] of later) {
          expect(requests).toBeLessThanOrEqual((meshDemand(reports, nowMs).get(name) ?? 0) + 1e-9);
        }
        expect(laterMs <= lifeMs || later.size === 0).toBe(true);
      }),
    );
  });
});

function sumOf(claims: readonly { model: string; requests: number }[], name: string): number {
  return claims.reduce((sum, { model, requests }) => sum + (model === name ? requests : 0), 0);
}
