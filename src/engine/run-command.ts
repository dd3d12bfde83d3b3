// Runs one short command of the system and returns what it printed. Never through a shell, never for
// longer than its time, never more output than its bound; a command that does not exist is an answer.
import { execFile } from 'node:child_process';
import { systemErrorCode } from '../util/errors.ts';
import { hardwareLimits } from '../util/limits/engine.ts';

export type CommandResult =
  | { readonly outcome: 'done'; readonly stdout: string; readonly stderr: string }
  /** Its own failure: exit code not 0, killed, too slow, too talkative. `reason` is one line. */
  | { readonly outcome: 'failed'; readonly stdout: string; readonly reason: string }
  | { readonly outcome: 'missing' };

/** Runs `command` with exactly these arguments. Rejects only when the signal aborts, with its reason. */
export type RunCommand = (
  command: string,
  args: readonly string[],
  signal?: AbortSignal,
) => Promise<CommandResult>;

/** Runs commands of the system, which see what this process sees. */
export const runCommand: RunCommand = commandRunner(process.env);

/** Runs commands that see this environment only. */
export function commandRunner(environment: Readonly<Record<string, string | undefined>>): RunCommand {
  return (command, args, signal) => runOnce(command, args, environment, signal);
}

function runOnce(
  command: string,
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal | undefined,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const options = {
      timeout: hardwareLimits.commandTimeoutMs,
      maxBuffer: hardwareLimits.commandOutputBytes,
      killSignal: 'SIGKILL',
      encoding: 'utf8',
      windowsHide: true,
      // No program is to find anything in the folder that the user happens to be in: llama.cpp's load modules there.
      cwd: '/',
      // The C locale: dates and numbers in the one form our parsers know.
      env: { ...environment, LC_ALL: 'C' },
      ...(signal === undefined ? {} : { signal }),
    } as const;
    execFile(command, args, options, (failure, stdout, stderr) => {
      if (failure === null) {
        resolve({ outcome: 'done', stdout, stderr });
      } else if (signal?.aborted) {
        reject(signal.reason);
      } else if (systemErrorCode(failure) === 'ENOENT') {
        resolve({ outcome: 'missing' });
      } else {
        resolve({ outcome: 'failed', stdout, reason: failureReason(failure, `${stdout}\n${stderr}`) });
      }
    });
  });
}

/** The first line the command printed says more than its exit code. */
function failureReason(failure: Error & { killed?: boolean }, printed: string): string {
  if (failure.killed === true) {
    return 'it took too long or printed too much';
  }
  const firstLine = printed.split('\n').find((line) => line.trim() !== '');
  return (firstLine ?? failure.message).trim().slice(0, 256);
}
