// Whether to wait for a model that is on its way, and what to say if not. Pure.
import type { ModelStatus } from '../serving/model-status.ts';
import { MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';

/** Speed at which weights are taken to load when nothing better is known, bytes a second: a SATA disk. */
const loadBytesPerSecond = 400e6;
/** Time an engine's process is taken to need beside reading the weights, seconds. */
const startSeconds = 2;
/** `retry-after` when nothing is known of the time left, seconds. */
const unknownSeconds = 15;

/**
 * Seconds after which the model is expected to answer, or undefined if it cannot be told. Beside the
 * estimate that is shown, it takes guesses from the size: good enough to decide, not to be shown.
 */
export function expectedSeconds(status: ModelStatus): number | undefined {
  if (status.etaSeconds !== undefined) {
    return status.etaSeconds;
  }
  switch (status.stage) {
    case 'ready':
      return 0;
    case 'resolving':
      // A file on the disk is found at once; a download shows as one soon.
      return startSeconds;
    case 'placing':
    case 'loading':
      return status.sizeBytes === undefined
        ? undefined
        : startSeconds + (status.sizeBytes / loadBytesPerSecond) * (1 - (status.fraction ?? 0));
    default:
      return undefined;
  }
}

/** The `model_loading` error: when to come back, and what is going on as far as it is known. */
export function modelLoading(status: ModelStatus): MeshnodeError {
  const seconds = Math.ceil(expectedSeconds(status) ?? unknownSeconds);
  const { stage, fraction, etaSeconds } = status;
  return new MeshnodeError('model_loading', `The model '${status.name}' is not ready yet (${stage}).`, {
    retryAfterSeconds: Math.min(apiLimits.retryAfterSeconds, Math.max(1, seconds)),
    data: {
      loading: {
        stage,
        ...(fraction === undefined ? {} : { fraction }),
        ...(etaSeconds === undefined ? {} : { eta_seconds: etaSeconds }),
      },
    },
  });
}
