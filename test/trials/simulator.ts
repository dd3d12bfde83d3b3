// The mesh in the simulator, over many seeds.
import { runSeed } from '../sim/simulation.ts';

const seeds = 2000;
const mostNodes = 12;

export async function trialSimulator(): Promise<boolean> {
  const startedMs = performance.now();
  const failures: string[] = [];
  let steps = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const outcome = runSeed(seed, { traceLines: 0, mostNodes });
    steps += outcome.steps;
    if (outcome.failure !== undefined) {
      failures.push(`seed ${seed}: ${outcome.failure.message}`);
    }
  }
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  process.stdout.write(
    `${failures.map((line) => `${line}\n`).join('')}| seeds | failed | steps | seconds |\n|---|---|---|---|\n` +
      `| 1 to ${seeds} | ${failures.length} | ${steps} | ${seconds} |\n`,
  );
  return failures.length === 0;
}
