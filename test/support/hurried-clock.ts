// The machine's clock, run faster: what waits minutes in production waits milliseconds in a test.
import { type Clock, systemClock } from '../../src/util/clock.ts';

/** A clock on which `factor` seconds pass in one, if they are part of a wait of `leastMs`. Its wall time is the machine's. */
export function hurriedClock(factor: number, leastMs = 0): Clock {
  return {
    wallMs: () => systemClock.wallMs(),
    monotonicMs: () => systemClock.monotonicMs() * factor,
    after: (delayMs, fire, options) =>
      systemClock.after(delayMs < leastMs ? delayMs : delayMs / factor, fire, options),
  };
}
