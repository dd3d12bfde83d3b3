// How much of something may be used in a stretch of time. Pure; the generic cell rate algorithm, whose whole
// state is one time: when all of it can be used again.

/** What is used comes back evenly over the window; as much as `amount` may be used at once. */
export interface Rate {
  readonly amount: number;
  readonly windowMs: number;
}

/** What is left of a rate. */
export interface RateLeft {
  /** Whole units. 0 if more was used than the rate gives. */
  readonly remaining: number;
  /** Until one unit can be used, ms; 0 if it can now. */
  readonly waitMs: number;
  /** Until all of it can be used again, ms. */
  readonly resetMs: number;
}

/** What is left at `nowMs` if all of it can be used at `fullAtMs`; undefined: nothing was used yet. */
export function leftOfRate(rate: Rate, fullAtMs: number | undefined, nowMs: number): RateLeft {
  const { amount, windowMs } = rate;
  const unitMs = windowMs / amount;
  const resetMs = Math.max(0, (fullAtMs ?? nowMs) - nowMs);
  // Sums of fractions of a millisecond end a hair beside whole units, the more so the longer the clock runs.
  const remaining = Math.max(0, Math.floor((windowMs - resetMs) / unitMs + 1e-3));
  return { remaining, waitMs: remaining > 0 ? 0 : resetMs + unitMs - windowMs, resetMs };
}

/** When all of it can be used again after so many `units` more. Beyond what is left they are a debt. */
export function fullAfterUse(rate: Rate, fullAtMs: number | undefined, units: number, nowMs: number): number {
  return Math.max(fullAtMs ?? nowMs, nowMs) + (units * rate.windowMs) / rate.amount;
}
