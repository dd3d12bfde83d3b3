// One step of a build: a foreign program that ends with this node, whose lines are read as they come, and whose
// failure becomes one sentence. Knows nothing of what is built.
import type { Clock } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { nativeLimits } from '../../util/limits/native.ts';
import type { Logger } from '../../util/logging.ts';
import { describeExit, startForeignProcess } from '../process.ts';

export interface BuildStep {
  /** For errors: `configuring`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Record<string, string>;
  readonly onLine?: (line: string) => void;
}

/** Runs a step to its end. Rejects `engine_build_failed` or `disk_full`, or with the reason of the signal. */
export async function runStep(
  step: BuildStep,
  { clock, log, signal }: { clock: Clock; log: Logger; signal: AbortSignal },
): Promise<void> {
  signal.throwIfAborted();
  const { name, onLine, ...program } = step;
  const running = startForeignProcess({
    ...program,
    name: `build/${name}`,
    clock,
    log,
    ...(onLine === undefined ? {} : { onLine }),
  });
  const leave = (): void => running.kill();
  signal.addEventListener('abort', leave);
  try {
    const exit = await running.exited;
    signal.throwIfAborted();
    if (exit.code !== 0) {
      throw failure(step, describeExit(exit), exit.logTail);
    }
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

function failure(step: BuildStep, end: string, printed: string): MeshnodeError {
  if (/no space left on device|disk quota exceeded/i.test(printed)) {
    return new MeshnodeError('disk_full', `The disk ran full while ${step.name}.`, {
      hint: 'Free some space in the cache folder, then run `meshnode engine build` again.',
    });
  }
  const complaints = printed.split('\n').filter((line) => /error|fatal|not found|no such/i.test(line));
  const said = (complaints.length > 0 ? complaints : printed.trim().split('\n'))
    .slice(0, nativeLimits.errorLines)
    .map((line) => line.trim())
    .join(' | ');
  return new MeshnodeError('engine_build_failed', `${step.command} ${end} while ${step.name}: ${said}`, {
    cause: new Error(printed),
  });
}
