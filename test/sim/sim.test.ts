// The real code of trust and membership under a hundred seeds of trouble. SIM_SEED and SIM_SEEDS choose others;
// `node test/sim/main.ts --from SEED --seeds 1` shows what led to a failure.
import { describe, expect, it } from 'vitest';
import { makeScenario } from './scenario.ts';
import { runScenario, runSeed } from './simulation.ts';

const firstSeed = Number(process.env['SIM_SEED'] ?? 1);
const seeds = Number(process.env['SIM_SEEDS'] ?? 100);
const seedsPerTest = 10;

const batches = Array.from({ length: Math.ceil(seeds / seedsPerTest) }, (_, batch) => {
  const from = firstSeed + batch * seedsPerTest;
  return { from, to: Math.min(from + seedsPerTest, firstSeed + seeds) - 1 };
});

describe('everything that must hold does, whatever happens to the network and the nodes', () => {
  it.each(batches)('seeds $from to $to', ({ from, to }) => {
    for (let seed = from; seed <= to; seed += 1) {
      expect(runSeed(seed).failure, `seed ${seed}`).toBeUndefined();
    }
  });
});

describe('a simulation', () => {
  it('of a mesh that is old has certificates renewed', () => {
    const old = Array.from({ length: 20 }, (_, seed) => makeScenario(seed + 1)).find(
      ({ ageMs }) => ageMs > 0,
    );
    const { trace } = runScenario(old ?? makeScenario(1), { traceLines: 100_000 });
    expect(trace.some((line) => line.includes('renewal from'))).toBe(true);
  });

  it('runs the same way each time for one seed, and another way for another', () => {
    const [one, again, other] = [3, 3, 4].map((seed) => runSeed(seed).traceHash);
    expect(again).toBe(one);
    expect(other).not.toBe(one);
  });
});
