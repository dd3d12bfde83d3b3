/** What came of a trial. */
export interface TrialResult {
  /** Whether all of it held. */
  readonly held: boolean;
  /** For people, in Markdown: a table, and what it counts. */
  readonly report: string;
}

/** A trial that runs for minutes says how far it is, beside its result. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}
