// Where a command prints: data to standard output, words for people to standard error. A reader that
// goes away (`| head`) ends the output quietly.
import { styleText } from 'node:util';
import type { Clock } from '../util/clock.ts';
import { systemErrorCode } from '../util/errors.ts';

export interface OutputStreams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

/** Styles used on a terminal, by meaning. */
const styles = {
  strong: 'bold',
  dim: 'dim',
  good: 'green',
  warning: 'yellow',
  bad: 'red',
  name: 'cyan',
} as const;
export type Style = keyof typeof styles;

export class Output {
  readonly streams: OutputStreams;
  /** Whether `--json` was given: then standard output carries JSON only. */
  readonly json: boolean;
  readonly #clock: Clock;

  constructor(streams: OutputStreams, json: boolean, clock: Clock) {
    this.streams = streams;
    this.json = json;
    this.#clock = clock;
    for (const stream of [streams.stdout, streams.stderr]) {
      stream.on('error', (cause) => {
        if (systemErrorCode(cause) !== 'EPIPE') {
          throw cause;
        }
      });
    }
  }

  /** Whether a person watches standard error on a terminal that can move its cursor, and says how large it is. */
  get isLive(): boolean {
    const { isTTY, columns, rows } = this.streams.stderr;
    const hasSize = columns > 0 && rows > 0;
    return isTTY === true && hasSize && process.env['TERM'] !== 'dumb' && process.env['CI'] === undefined;
  }

  /** One line of data. */
  line(text: string): void {
    this.streams.stdout.write(`${text}\n`);
  }

  /** A piece of data without a line end, e.g. of an answer that streams. */
  piece(text: string): void {
    this.streams.stdout.write(text);
  }

  /** One JSON value on a line of its own. */
  value(value: unknown): void {
    this.line(JSON.stringify(value));
  }

  /** Something that happened, with the time (ISO 8601), on a line of its own. The kinds: cli-document.ts. */
  event(event: { readonly event: string; readonly [field: string]: unknown }): void {
    this.value({ time: new Date(this.#clock.wallMs()).toISOString(), ...event });
  }

  /** A line for a person. */
  say(text: string): void {
    this.streams.stderr.write(`${text}\n`);
  }

  /** Text in a style, if the stream it goes to shows styles (NO_COLOR and FORCE_COLOR are heeded). */
  styled(style: Style, text: string, stream: 'stdout' | 'stderr' = 'stdout'): string {
    return styleText(styles[style], text, { stream: this.streams[stream] });
  }

  /** Rows as columns of equal width, the header dimmed. */
  table(header: readonly string[], rows: ReadonlyArray<readonly string[]>): void {
    const widths = header.map((title, column) =>
      Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
    );
    const format = (row: readonly string[]): string =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd();
    this.line(this.styled('dim', format(header)));
    for (const row of rows) {
      this.line(format(row));
    }
  }
}
