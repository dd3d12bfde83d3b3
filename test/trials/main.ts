// `npm run trials -- NAME...`: what the tests do with few trials, at its full length (all of it without a name).
// Prints a table each and exits with 1 if anything failed.
import { trialSimulator } from './simulator.ts';
import { trialSlowReader } from './slow-reader.ts';

/** Prints its table; resolves to whether everything held. */
const trials: Readonly<Record<string, () => Promise<boolean>>> = {
  simulator: trialSimulator,
  'slow-reader': trialSlowReader,
};

const names = process.argv.slice(2);
const unknown = names.find((name) => trials[name] === undefined);
if (unknown !== undefined) {
  process.stderr.write(`There is no trial '${unknown}'. There are: ${Object.keys(trials).join(', ')}.\n`);
  process.exit(2);
}
let held = true;
for (const [name, trial] of Object.entries(trials)) {
  if (names.length === 0 || names.includes(name)) {
    process.stdout.write(`\n## ${name}\n\n`);
    held = (await trial()) && held;
  }
}
process.exitCode = held ? 0 : 1;
