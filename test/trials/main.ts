// `npm run trials -- NAME...`: what the tests do with few trials, at its full length (all of it without a name).
// Prints a table each, writes it to docs/TRIALS.md, and exits with 1 if anything failed.
import { writeSections } from '../support/document-sections.ts';
import { trialLiveness } from './liveness.ts';
import { trialSaturation } from './saturation.ts';
import { trialSimulator } from './simulator.ts';
import { trialSlowReader } from './slow-reader.ts';
import { trialSoak } from './soak.ts';
import type { TrialResult } from './trial.ts';

const file = new URL('../../docs/TRIALS.md', import.meta.url);

const head = `# Trials

Written by \`npm run trials\`: the last run of each, at its full length. The test suite runs the same with few.
`;

const trials: Readonly<Record<string, () => Promise<TrialResult>>> = {
  liveness: () => trialLiveness(),
  saturation: () => trialSaturation(),
  soak: () => trialSoak(),
  simulator: trialSimulator,
  'slow-reader': trialSlowReader,
};

const names = process.argv.slice(2);
const unknown = names.find((name) => trials[name] === undefined);
if (unknown !== undefined) {
  process.stderr.write(`There is no trial '${unknown}'. There are: ${Object.keys(trials).join(', ')}.\n`);
  process.exit(2);
}
for (const [name, trial] of Object.entries(trials)) {
  if (names.length === 0 || names.includes(name)) {
    const { held, report } = await trial();
    process.stdout.write(`\n## ${name}\n\n${report}\n`);
    await writeSections(file, head, new Map([[name, report]]));
    process.exitCode = held ? process.exitCode : 1;
  }
}
