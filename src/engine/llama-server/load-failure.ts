// Why a llama-server did not come up, from what it printed last. Pure.
import { MeshnodeError } from '../../util/errors.ts';
import { describeExit, type ProcessExit } from '../process.ts';

/** Words of llama.cpp and of GPU drivers for "there is not enough memory". */
const outOfMemory =
  /out of memory|failed to allocate|unable to allocate|cannot allocate|cudaMalloc failed|insufficient memory|bad_alloc/i;

/** Lines that say what is wrong, the most telling first. */
const complaints = [
  /error loading model: (.+)/i,
  /unknown model architecture: (.+)/i,
  / E .*?: (.+)$/m,
  /error: (.+)/i,
];

/** The error of a server that ended before it answered. */
export function loadFailure(name: string, exit: ProcessExit): MeshnodeError {
  const { logTail } = exit;
  const cause = new Error(logTail);
  if (outOfMemory.test(logTail)) {
    return new MeshnodeError(
      'model_too_large',
      `There is not enough free memory for ${name} and its context.`,
      {
        cause,
      },
    );
  }
  const said = complaints.flatMap((pattern) => pattern.exec(logTail)?.[1] ?? []).at(0);
  if (said !== undefined) {
    return new MeshnodeError('model_failed', `llama-server refused ${name}: ${said.trim().slice(0, 300)}`, {
      cause,
    });
  }
  return new MeshnodeError('model_failed', `llama-server ${describeExit(exit)} while it loaded ${name}.`, {
    cause,
  });
}
