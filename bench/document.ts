// Writes docs/BENCHMARKS.md: the results of the benches that have run on this machine, and what the document says of
// the others.
import { writeSections } from '../test/support/document-sections.ts';
import { markdownOf, savedResult } from './support/report.ts';

const file = new URL('../docs/BENCHMARKS.md', import.meta.url);

const head = `# Benchmarks

Written by \`npm run bench\`: the figures of each bench's last run, next to their targets. Machines are small and noisy;
figures are compared inside one run only.
`;

/** `names` are those of all benches. */
export async function writeDocument(names: readonly string[]): Promise<void> {
  const results = (await Promise.all(names.map(savedResult))).filter((result) => result !== undefined);
  await writeSections(file, head, new Map(results.map((result) => [result.title, markdownOf(result)])));
}
