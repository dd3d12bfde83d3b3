// A document whose parts are written by programs that run one at a time: each replaces its own parts and leaves the
// others as they stand.
import { readFile, writeFile } from 'node:fs/promises';

/** Puts parts, by title, into the document in `file` below `head`; those it lacks come last. */
export async function writeSections(
  file: URL,
  head: string,
  written: ReadonlyMap<string, string>,
): Promise<void> {
  const sections = sectionsOf(await readFile(file, 'utf8').catch(() => ''));
  for (const [title, body] of written) {
    sections.set(title, `## ${title}\n\n${body.trim()}\n`);
  }
  await writeFile(file, [head, ...sections.values()].join('\n'));
}

/** By title, as they stand, heading included. */
function sectionsOf(document: string): Map<string, string> {
  const [, ...sections] = document.split(/^(?=## )/m);
  return new Map(
    sections.map((text) => [text.slice('## '.length, text.indexOf('\n')), `${text.trim()}\n`] as const),
  );
}
