// The arithmetic of a rate, under arbitrary use.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fullAfterUse, leftOfRate, type Rate } from '../../../src/util/rate.ts';

const rates: fc.Arbitrary<Rate> = fc.record({
  amount: fc.integer({ min: 1, max: 1_000_000 }),
  windowMs: fc.integer({ min: 1_000, max: 24 * 60 * 60_000 }),
});
const startMs = 1_000_000;

describe('a rate', () => {
  it('is whole before anything was used, and again a window after all was', () => {
    fc.assert(
      fc.property(rates, (rate) => {
        const whole = { remaining: rate.amount, waitMs: 0, resetMs: 0 };
        expect(leftOfRate(rate, undefined, startMs)).toEqual(whole);
        const fullAtMs = fullAfterUse(rate, undefined, rate.amount, startMs);
        expect(fullAtMs).toBeCloseTo(startMs + rate.windowMs, 3);
        expect(leftOfRate(rate, fullAtMs, startMs).remaining).toBe(0);
        expect(leftOfRate(rate, fullAtMs, fullAtMs)).toEqual(whole);
      }),
    );
  });

  it('has what was not used, whatever pieces it was used in', () => {
    fc.assert(
      fc.property(rates, fc.array(fc.nat(1_000), { minLength: 1, maxLength: 20 }), (rate, pieces) => {
        let fullAtMs: number | undefined;
        for (const units of pieces) {
          fullAtMs = fullAfterUse(rate, fullAtMs, units, startMs);
        }
        const used = pieces.reduce((sum, units) => sum + units, 0);
        expect(leftOfRate(rate, fullAtMs, startMs).remaining).toBe(Math.max(0, rate.amount - used));
      }),
    );
  });

  it('gives one unit at the time that it names, and none before, however deep the debt', () => {
    fc.assert(
      fc.property(rates, fc.integer({ min: 0, max: 1_000_000 }), (rate, debt) => {
        const fullAtMs = fullAfterUse(rate, undefined, rate.amount + debt, startMs);
        const { waitMs } = leftOfRate(rate, fullAtMs, startMs);
        const unitMs = rate.windowMs / rate.amount;
        expect(Math.abs(waitMs - (debt + 1) * unitMs)).toBeLessThan(unitMs / 100);
        expect(leftOfRate(rate, fullAtMs, startMs + waitMs)).toMatchObject({ remaining: 1, waitMs: 0 });
        expect(leftOfRate(rate, fullAtMs, startMs + waitMs - unitMs / 10).remaining).toBe(0);
      }),
    );
  });

  it('saves nothing up: an idle time gives no more than one window’s worth', () => {
    const rate = { amount: 10, windowMs: 1_000 };
    const fullAtMs = fullAfterUse(rate, undefined, 5, 0);
    expect(leftOfRate(rate, fullAtMs, 1e9).remaining).toBe(10);
    expect(leftOfRate(rate, fullAfterUse(rate, fullAtMs, 4, 1e9), 1e9).remaining).toBe(6);
  });
});
