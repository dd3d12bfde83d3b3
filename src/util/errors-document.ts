// Writes docs/errors.md from the table of errors. Pure.
import { type ErrorKind, errorTable } from './errors.ts';

/** The whole document, ending in a newline. */
export function errorTableMarkdown(): string {
  const rows = Object.entries(errorTable).map(([code, kind]) => row(code, kind));
  return `# Errors

Every failure has one of these codes, on the API as \`error.code\`, in the log and on the command line. Codes are
added, never renamed. *Retry* says whether the same request may succeed elsewhere or later; *exit* is the exit
code of the command line.

| code | HTTP | type | retry | exit | what to do |
|---|---|---|---|---|---|
${rows.join('\n')}
`;
}

function row(code: string, { status, type, retryable, exitCode, hint }: ErrorKind): string {
  const cells = [`\`${code}\``, status, `\`${type}\``, retryable ? 'yes' : 'no', exitCode, hint];
  return `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
}
