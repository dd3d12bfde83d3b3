// The arithmetic of a key's limits, under arbitrary arrivals.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  admitRequest,
  allowanceOf,
  chargeTokens,
  type KeyLimits,
  type KeyUsage,
  tightestAllowance,
} from '../../../src/api/key-limits.ts';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** Sends requests at these times; the times of those that were admitted. */
function admittedAt(limits: KeyLimits, timesMs: readonly number[], tokensEach = 0): number[] {
  let usage: KeyUsage = {};
  return timesMs.filter((nowMs) => {
    const admission = admitRequest(limits, usage, nowMs);
    if (admission.admitted) {
      usage = chargeTokens(limits, admission.usage, tokensEach, nowMs);
    }
    return admission.admitted;
  });
}

const limit = fc.integer({ min: 1, max: 1000 });
const gaps = fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0, max: 20_000, noNaN: true })), {
  minLength: 1,
  maxLength: 200,
});
const times = gaps.map((list) => {
  let nowMs = 1_000_000;
  return list.map((gap) => (nowMs += gap));
});
const limitsOf = fc.record(
  { requestsPerMinute: limit, tokensPerMinute: limit, tokensPerDay: limit },
  { requiredKeys: [] },
);

describe('requests a minute', () => {
  it('are never more than one minute’s worth and what came back since, in any stretch of time', () => {
    fc.assert(
      fc.property(limit, times, (requestsPerMinute, timesMs) => {
        const admitted = admittedAt({ requestsPerMinute }, timesMs);
        for (const [first, fromMs] of admitted.entries()) {
          for (const [last, toMs] of admitted.entries()) {
            if (last >= first) {
              const most = requestsPerMinute * (1 + (toMs - fromMs) / minuteMs);
              expect(last - first + 1).toBeLessThanOrEqual(most + 2e-3);
            }
          }
        }
      }),
      { numRuns: 50 },
    );
  });

  it('are all to be had at once, and no more', () => {
    fc.assert(
      fc.property(limit, fc.double({ min: 0, max: 1e10, noNaN: true }), (requestsPerMinute, nowMs) => {
        const timesMs = Array.from({ length: requestsPerMinute + 5 }, () => nowMs);
        expect(admittedAt({ requestsPerMinute }, timesMs)).toHaveLength(requestsPerMinute);
      }),
    );
  });

  it('come back one by one, and all of them after a minute', () => {
    const limits = { requestsPerMinute: 4 };
    const at = (...seconds: number[]) =>
      admittedAt(
        limits,
        seconds.map((second) => second * 1000),
      );
    expect(at(0, 0, 0, 0, 0, 14, 16, 16)).toEqual([0, 0, 0, 0, 16_000]);
    expect(at(0, 0, 0, 0, 60, 60, 60, 60, 60)).toHaveLength(8);
  });
});

describe('a refusal', () => {
  it('names the time after which the same request is admitted, and not before', () => {
    fc.assert(
      fc.property(limitsOf, times, fc.integer({ min: 0, max: 5000 }), (limits, timesMs, tokens) => {
        const { requestsPerMinute = 1e9, tokensPerMinute = 1e9, tokensPerDay = 1e9 } = limits;
        const unitMs = Math.max(
          minuteMs / requestsPerMinute,
          minuteMs / tokensPerMinute,
          dayMs / tokensPerDay,
        );
        let usage: KeyUsage = {};
        for (const nowMs of timesMs) {
          const admission = admitRequest(limits, usage, nowMs);
          if (admission.admitted) {
            usage = chargeTokens(limits, admission.usage, tokens, nowMs);
          } else {
            const { waitMs } = admission.refusal;
            expect(waitMs).toBeGreaterThan(0);
            expect(admitRequest(limits, usage, nowMs + waitMs).admitted).toBe(true);
            const earlierMs = waitMs - unitMs / 100;
            expect(earlierMs > 0 && admitRequest(limits, usage, nowMs + earlierMs).admitted).toBe(false);
          }
        }
      }),
    );
  });

  it('names the bound that makes the caller wait longest', () => {
    const limits = { requestsPerMinute: 1, tokensPerDay: 24 };
    const usage = chargeTokens(limits, {}, 25, 0);
    const first = admitRequest(limits, usage, 0);
    expect(first).toEqual({
      admitted: false,
      refusal: { limit: '24 tokens a day', waitMs: (2 * dayMs) / 24 },
    });
  });
});

describe('tokens', () => {
  it('are charged afterwards: an answer may use more than are left, and the next request waits for it', () => {
    const limits = { tokensPerMinute: 100 };
    const usage = chargeTokens(limits, {}, 250, 0);
    expect(allowanceOf('tokensPerMinute', limits, usage, 0)).toMatchObject({
      remaining: 0,
      resetMs: 150_000,
    });
    expect(admitRequest(limits, usage, 90_000).admitted).toBe(false);
    expect(admitRequest(limits, usage, 90_600).admitted).toBe(true);
  });

  it('are never more in a day than a day’s worth, what came back, and the last answer', () => {
    const tokensPerDay = 1000;
    fc.assert(
      fc.property(times, fc.integer({ min: 1, max: 300 }), (timesMs, tokensEach) => {
        const admitted = admittedAt({ tokensPerDay }, timesMs, tokensEach);
        const lastedMs = (timesMs.at(-1) ?? 0) - (timesMs[0] ?? 0);
        const most = tokensPerDay * (1 + lastedMs / dayMs) + tokensEach;
        expect(admitted.length * tokensEach).toBeLessThanOrEqual(most + 2e-3);
      }),
    );
  });

  it('are told by the bound with the least left', () => {
    const limits = { tokensPerMinute: 100, tokensPerDay: 1000 };
    const tightest = (used: number, nowMs: number) =>
      tightestAllowance('tokens', limits, chargeTokens(limits, {}, used, 0), nowMs);
    expect(tightest(50, 0)).toMatchObject({ limit: 100, remaining: 50 });
    expect(tightest(990, 10 * minuteMs)).toMatchObject({ limit: 1000, remaining: 16 });
  });
});

describe('the limits of a key', () => {
  it('change nothing that they are given, and answer the same question the same way', () => {
    fc.assert(
      fc.property(limitsOf, times, fc.nat(1000), (limits, [nowMs = 0], tokens) => {
        const usage = Object.freeze(chargeTokens(limits, {}, tokens, nowMs));
        Object.freeze(limits);
        expect(admitRequest(limits, usage, nowMs)).toEqual(admitRequest(limits, usage, nowMs));
        expect(chargeTokens(limits, usage, 1, nowMs)).toEqual(chargeTokens(limits, usage, 1, nowMs));
      }),
    );
  });

  it('that are absent bound nothing', () => {
    const admission = admitRequest({}, {}, 5);
    expect(admission).toEqual({ admitted: true, usage: {} });
    expect(chargeTokens({}, {}, 1e9, 5)).toEqual({});
    expect(tightestAllowance('tokens', {}, {}, 5)).toBeUndefined();
  });
});
