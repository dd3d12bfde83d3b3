// The mesh in the simulator, over many seeds: who belongs to it, and who lives.
import { runLivenessSeed, runSeed } from '../sim/simulation.ts';
import { markdownTable } from '../support/markdown-table.ts';
import { progress, type TrialResult } from './trial.ts';

const mostNodes = 12;
const progressSeeds = 100;

const kinds = [
  { name: 'membership', seeds: 2000, run: runSeed },
  { name: 'liveness', seeds: 1000, run: runLivenessSeed },
];

export async function trialSimulator(): Promise<TrialResult> {
  const outcomes = kinds.map((kind) => ({ ...kind, ...runAll(kind) }));
  const table = markdownTable([
    ['scenarios', 'seeds', 'failed', 'steps'],
    ...outcomes.map(({ name, seeds, failures, steps }) => [
      name,
      `1 to ${seeds}`,
      String(failures.length),
      String(steps),
    ]),
  ]);
  const failures = outcomes.flatMap((outcome) => outcome.failures);
  const note = `Meshes of at most ${mostNodes} nodes; every step is held against the invariants in test/sim/invariants.ts, and those of liveness, where nodes beat each other, against test/sim/liveness-invariants.ts as well.`;
  return { held: failures.length === 0, report: [table, '', ...failures, note, ''].join('\n') };
}

function runAll({ name, seeds, run }: (typeof kinds)[number]): { failures: string[]; steps: number } {
  const failures: string[] = [];
  let steps = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const outcome = run(seed, { traceLines: 0, mostNodes });
    steps += outcome.steps;
    if (outcome.failure !== undefined) {
      failures.push(`- ${name}, seed ${seed}: ${outcome.failure.message}`);
      progress(`simulator: ${name}, seed ${seed} failed: ${outcome.failure.message}`);
    }
    if (seed % progressSeeds === 0) {
      progress(`simulator: ${name}, ${seed} of ${seeds} seeds, ${failures.length} failed`);
    }
  }
  return { failures, steps };
}
