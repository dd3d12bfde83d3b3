// The real heartbeat under seeds of deaths, stops, cuts and lies. SIM_SEED and SIM_SEEDS choose others;
// `node test/sim/main.ts --lives --from SEED --seeds 1` shows what led to a failure.
import { describe, expect, it } from 'vitest';
import { runLivenessSeed } from './simulation.ts';

const firstSeed = Number(process.env['SIM_SEED'] ?? 1);
const seeds = Number(process.env['SIM_SEEDS'] ?? 32);
const seedsPerTest = 8;

const batches = Array.from({ length: Math.ceil(seeds / seedsPerTest) }, (_, batch) => {
  const from = firstSeed + batch * seedsPerTest;
  return { from, to: Math.min(from + seedsPerTest, firstSeed + seeds) - 1 };
});

describe('who lives is known in time, and nobody who lives is held dead for long', () => {
  it.each(batches)('seeds $from to $to', ({ from, to }) => {
    for (let seed = from; seed <= to; seed += 1) {
      expect(runLivenessSeed(seed).failure, `seed ${seed}`).toBeUndefined();
    }
  });
});

it('a simulation with beats runs the same way each time for one seed', () => {
  const [one, again] = [4, 4].map((seed) => runLivenessSeed(seed).traceHash);
  expect(again).toBe(one);
});
