// Runs a command of the command line inside the test's process and catches what it prints.
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Output } from '../../src/cli/output.ts';
import { runProgram } from '../../src/cli/program.ts';
import { systemClock } from '../../src/util/clock.ts';
import { systemRandom } from '../../src/util/random.ts';

export interface CommandOutcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `environment` is the whole environment the command sees. */
export async function runCommandLine(
  argv: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<CommandOutcome> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const printed = Promise.all([text(stdout), text(stderr)]);
  const streams = { stdout, stderr } as unknown as { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream };
  const exitCode = await runProgram(
    argv,
    {
      clock: systemClock,
      random: systemRandom,
      environment,
      output: new Output(streams, argv.includes('--json')),
      input: new PassThrough() as unknown as NodeJS.ReadStream,
    },
    new AbortController().signal,
  );
  stdout.end();
  stderr.end();
  const [out, err] = await printed;
  return { exitCode, stdout: out, stderr: err };
}
