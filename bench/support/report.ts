// What a bench found, and how it is shown: rows of a measure, its samples, and its target.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { markdownTable } from '../../test/support/markdown-table.ts';

export interface BenchRow {
  /** What was measured, e.g. `added first byte p50`. */
  readonly measure: string;
  readonly value: string;
  /** What it is compared with. */
  readonly against: string;
  /** Empty where there is none. */
  readonly target: string;
  /** Whether the target is met; absent where there is none. */
  readonly met?: boolean;
  readonly samples: readonly number[];
}

export interface BenchResult {
  readonly name: string;
  readonly title: string;
  /** What a reader must know to judge the figures. */
  readonly notes: readonly string[];
  readonly machine: string;
  readonly rows: readonly BenchRow[];
}

const resultsFolder = new URL('../results/', import.meta.url);

/** The machine, as far as it matters for reading a figure. */
export function describeMachine(): string {
  const [cpu] = cpus();
  return `${cpus().length} x ${cpu?.model.trim() ?? 'unknown CPU'}, ${process.platform}-${process.arch}, Node.js ${process.version}`;
}

export function printTable(result: BenchResult): void {
  process.stdout.write(`\n## ${result.title}\n\n${markdownOf(result)}\n`);
}

/** The result as Markdown, without its title. */
export function markdownOf(result: BenchResult): string {
  const table = markdownTable([
    ['measure', 'value', 'against', 'target', 'met'],
    ...result.rows.map((row) => [row.measure, row.value, row.against, row.target, verdict(row)]),
  ]);
  const notes = [...result.notes, `Machine: ${result.machine}.`];
  return [table, '', ...notes.map((note) => `- ${note}`), ''].join('\n');
}

export async function saveResult(result: BenchResult): Promise<void> {
  await mkdir(resultsFolder, { recursive: true });
  await writeFile(new URL(`${result.name}.json`, resultsFolder), `${JSON.stringify(result, null, 2)}\n`);
}

/** A saved result, or undefined if that bench has not run here. */
export async function savedResult(name: string): Promise<BenchResult | undefined> {
  try {
    return JSON.parse(await readFile(new URL(`${name}.json`, resultsFolder), 'utf8')) as BenchResult;
  } catch {
    return undefined;
  }
}

function verdict(row: BenchRow): string {
  if (row.met === undefined) {
    return '';
  }
  return row.met ? 'yes' : '**no**';
}
