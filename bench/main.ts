// `npm run bench -- NAME...`: runs benches one after the other (all of them without a name), prints a table
// each, writes its figures to bench/results/NAME.json and all tables known so far to docs/BENCHMARKS.md.
import { writeDocument } from './document.ts';
import { engines } from './engines.ts';
import { gossip } from './gossip.ts';
import { placement } from './placement.ts';
import { proxy } from './proxy.ts';
import { remote } from './remote.ts';
import { spread } from './spread.ts';
import { start } from './start.ts';
import { type BenchResult, printTable, saveResult } from './support/report.ts';
import { tunnel } from './tunnel.ts';

const benches: Readonly<Record<string, () => Promise<BenchResult>>> = {
  start,
  proxy,
  remote,
  tunnel,
  gossip,
  spread,
  placement,
  engines,
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => benches[name] === undefined);
if (unknown.length > 0) {
  process.stderr.write(`There is no bench '${unknown[0]}'. There are: ${Object.keys(benches).join(', ')}.\n`);
  process.exit(2);
}
for (const [name, bench] of Object.entries(benches)) {
  if (names.length === 0 || names.includes(name)) {
    const result = await bench();
    printTable(result);
    await saveResult(result);
  }
}
await writeDocument(Object.keys(benches));
