// The mesh in the simulator, over many seeds.
import { runSeed } from '../sim/simulation.ts';
import { markdownTable } from '../support/markdown-table.ts';
import { progress, type TrialResult } from './trial.ts';

const seeds = 2000;
const mostNodes = 12;
const progressSeeds = 100;

export async function trialSimulator(): Promise<TrialResult> {
  const failures: string[] = [];
  let steps = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const outcome = runSeed(seed, { traceLines: 0, mostNodes });
    steps += outcome.steps;
    if (outcome.failure !== undefined) {
      failures.push(`- seed ${seed}: ${outcome.failure.message}`);
      progress(`simulator: seed ${seed} failed: ${outcome.failure.message}`);
    }
    if (seed % progressSeeds === 0) {
      progress(`simulator: ${seed} of ${seeds} seeds, ${failures.length} failed`);
    }
  }
  const table = markdownTable([
    ['seeds', 'failed', 'steps'],
    [`1 to ${seeds}`, String(failures.length), String(steps)],
  ]);
  const note = `Meshes of at most ${mostNodes} nodes; every step is held against the invariants in test/sim/invariants.ts.`;
  return { held: failures.length === 0, report: [table, '', ...failures, note, ''].join('\n') };
}
