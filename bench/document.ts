// Writes docs/BENCHMARKS.md: the results of the benches that have run on this machine, and what the document says of
// the others.
import { readFile, writeFile } from 'node:fs/promises';
import { markdownTable, savedResult } from './support/report.ts';

const file = new URL('../docs/BENCHMARKS.md', import.meta.url);

const head = `# Benchmarks

Written by \`npm run bench\`: the figures of each bench's last run, next to their targets. Machines are small and noisy;
figures are compared inside one run only.
`;

/** `names` are those of all benches. */
export async function writeDocument(names: readonly string[]): Promise<void> {
  const sections = sectionsOf(await readFile(file, 'utf8').catch(() => ''));
  for (const result of await Promise.all(names.map(savedResult))) {
    if (result !== undefined) {
      sections.set(result.title, `${markdownTable(result).trim()}\n`);
    }
  }
  await writeFile(file, [head, ...sections.values()].join('\n'));
}

/** By title, as they stand. */
function sectionsOf(document: string): Map<string, string> {
  const [, ...sections] = document.split(/^(?=## )/m);
  return new Map(
    sections.map((text) => [text.slice('## '.length, text.indexOf('\n')), `${text.trim()}\n`] as const),
  );
}
