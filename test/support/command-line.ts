// Runs a command of the command line inside the test's process and catches what it prints.
import { PassThrough } from 'node:stream';
import { Output } from '../../src/cli/output.ts';
import { runProgram } from '../../src/cli/program.ts';
import { systemClock } from '../../src/util/clock.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import { systemRandom } from '../../src/util/random.ts';

export interface CommandOutcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartedCommand {
  readonly outcome: Promise<CommandOutcome>;
  /** What it has printed so far. */
  readonly printed: { stdout: string; stderr: string };
  /** Writes to its standard input. */
  type(text: string): void;
  /** What SIGINT and SIGTERM do. */
  interrupt(): void;
}

/** Starts a command. `environment` is all it sees; `terminal`: a person sits at its input and output. */
export function startCommandLine(
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  { terminal = false }: { terminal?: boolean } = {},
): StartedCommand {
  const interruption = new AbortController();
  const stream = (): PassThrough & { isTTY: boolean } =>
    Object.assign(new PassThrough(), { isTTY: terminal });
  const [input, stdout, stderr] = [stream(), stream(), stream()];
  const printed = { stdout: '', stderr: '' };
  stdout.setEncoding('utf8').on('data', (text) => {
    printed.stdout += String(text);
  });
  stderr.setEncoding('utf8').on('data', (text) => {
    printed.stderr += String(text);
  });
  const streams = { stdout, stderr } as unknown as { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream };
  const exited = runProgram(
    argv,
    {
      clock: systemClock,
      random: systemRandom,
      environment,
      output: new Output(streams, argv.includes('--json'), systemClock),
      input: input as unknown as NodeJS.ReadStream,
    },
    interruption.signal,
  );
  return {
    printed,
    outcome: exited.then((exitCode) => ({ exitCode, ...printed })),
    type: (text) => input.write(text),
    interrupt: () => interruption.abort(new MeshnodeError('interrupted', 'Stopped.')),
  };
}

/** Runs a command to its end. */
export function runCommandLine(
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<CommandOutcome> {
  return startCommandLine(argv, environment).outcome;
}
