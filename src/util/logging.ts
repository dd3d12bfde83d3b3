// The one logger. Lines go to standard error (standard output is for data), as JSON when a program
// reads them and as one plain line when a person does. No prompt, completion, key or token is logged.
import { pino } from 'pino';

/** What modules log with. The first argument holds fields, the second a short sentence. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A logger that adds `fields` to every line, e.g. `{ part: 'api' }`. */
  child(fields: Record<string, unknown>): Logger;
}

export const logLevels = ['silent', 'error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Fields whose values never reach a log line, at the top level or one below it. */
const secretFields = [
  'authorization',
  'x-api-key',
  'apiKey',
  'key',
  'token',
  'prompt',
  'messages',
  'content',
  'text',
];

/** Where lines go: anything with a synchronous write. */
export interface LogSink {
  write(line: string): void;
}

/** Makes the root logger. `pretty` writes one short line for a person instead of JSON. */
export function createLogger(level: LogLevel, sink: LogSink, options: { pretty: boolean }): Logger {
  return pino(
    {
      level,
      base: null,
      redact: {
        paths: [...secretFields.map(quoted), ...secretFields.map((field) => `*${quoted(field)}`)],
        censor: '[hidden]',
      },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    options.pretty ? { write: (line: string) => sink.write(prettyLine(line)) } : sink,
  );
}

/** A logger that drops everything, for tests and for commands that only print data. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};

function quoted(field: string): string {
  return `["${field}"]`;
}

/** `12:34:56 warn  api: sentence field=value ...` from one JSON line. */
function prettyLine(line: string): string {
  const { time, level, msg, part, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${compact(value)}`);
  const cause = isRecord(err) ? [`(${String(err['message'])})`] : [];
  const head = `${String(time).slice(11, 19)} ${String(level).padEnd(5)}`;
  return `${[head, part === undefined ? '' : `${String(part)}:`, String(msg), ...rest, ...cause].filter(Boolean).join(' ')}\n`;
}

function compact(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
