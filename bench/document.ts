// Writes docs/BENCHMARKS.md from the results of the benches that have run on this machine.
import { writeFile } from 'node:fs/promises';
import { markdownTable, savedResult } from './support/report.ts';

/** `names` in the order of the document. */
export async function writeDocument(names: readonly string[]): Promise<void> {
  const results = await Promise.all(names.map(savedResult));
  const tables = results.filter((result) => result !== undefined).map(markdownTable);
  const text = [
    '# Benchmarks',
    '',
    'Written by `npm run bench`: the figures of its last run, next to their targets. Machines are small and noisy;',
    'figures are compared inside one run only.',
    '',
    ...tables,
  ].join('\n');
  await writeFile(new URL('../docs/BENCHMARKS.md', import.meta.url), text);
}
