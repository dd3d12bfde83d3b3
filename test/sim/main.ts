// `node test/sim/main.ts --seeds 2000 --from 1`: runs seeds and prints a table of what failed. With `--trace N` the
// first failing seed is cut down and its last N lines are printed. `--lives`: scenarios about who lives.
import { parseArgs } from 'node:util';
import { shrink } from './shrink.ts';
import { type Outcome, runLivenessSeed, runSeed } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: process.env['SIM_SEEDS'] ?? '100' },
    from: { type: 'string', default: process.env['SIM_SEED'] ?? '1' },
    nodes: { type: 'string', default: '12' },
    trace: { type: 'string', default: '40' },
    lives: { type: 'boolean', default: false },
  },
});
const [seeds, from, mostNodes, traceLines] = [values.seeds, values.from, values.nodes, values.trace].map(
  Number,
) as [number, number, number, number];

const failed: Outcome[] = [];
const invariants = new Map<string, number>();
let steps = 0;
const startedMs = performance.now();
for (let seed = from; seed < from + seeds; seed += 1) {
  const outcome = (values.lives ? runLivenessSeed : runSeed)(seed, { traceLines: 0, mostNodes });
  steps += outcome.steps;
  if (outcome.failure !== undefined) {
    const { message, invariant, atMs } = outcome.failure;
    failed.push(outcome);
    invariants.set(invariant, (invariants.get(invariant) ?? 0) + 1);
    print(`seed ${seed} at ${(atMs / 1000).toFixed(1)} s: ${message}`);
  }
}
const [first] = failed;
if (first !== undefined && traceLines > 0) {
  const smallest = shrink(first, 60, traceLines);
  print(`\nseed ${first.scenario.seed}, cut down to ${smallest.scenario.actions.length} actions:`);
  print(
    smallest.scenario.actions.map(({ atMs, action }) => `  ${atMs} ${JSON.stringify(action)}`).join('\n'),
  );
  print(`its last steps:\n${smallest.trace.join('\n')}\n${smallest.failure?.message}`);
}
const seconds = (performance.now() - startedMs) / 1000;
print('\n| seeds | failed | steps | seconds |\n|---|---|---|---|');
print(`| ${from} to ${from + seeds - 1} | ${failed.length} | ${steps} | ${seconds.toFixed(1)} |`);
for (const [invariant, count] of invariants) {
  print(`${invariant}: ${count}`);
}
process.exitCode = failed.length === 0 ? 0 : 1;

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}
