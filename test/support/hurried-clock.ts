// The machine's clock, run faster: what waits minutes in production waits milliseconds in a test.
import { type Clock, systemClock } from '../../src/util/clock.ts';

/** A clock on which `factor` seconds pass in one. Its wall time is the machine's. */
export function hurriedClock(factor: number): Clock {
  return {
    wallMs: () => systemClock.wallMs(),
    monotonicMs: () => systemClock.monotonicMs() * factor,
    after: (delayMs, fire, options) => systemClock.after(delayMs / factor, fire, options),
  };
}
