// The program. Wires the command line to the process: streams, signals, the exit code. Nothing else in
// the project reads process.argv or ends the process.
import { enableCompileCache } from 'node:module';
import { systemClock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { systemRandom } from '../util/random.ts';
import { Output } from './output.ts';
import { runProgram } from './program.ts';

enableCompileCache();

const interrupt = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (interrupt.signal.aborted) {
      process.exit(130);
    }
    interrupt.abort(new MeshnodeError('interrupted', 'Stopped.'));
  });
}

const argv = process.argv.slice(2);
process.exitCode = await runProgram(
  argv,
  {
    clock: systemClock,
    random: systemRandom,
    environment: process.env,
    output: new Output(process, argv.includes('--json'), systemClock),
    input: process.stdin,
  },
  interrupt.signal,
);
// What a native library still holds must not keep a stopped node from ending.
systemClock.after(nodeLimits.exitMs, () => process.exit(), { keepAlive: false });
