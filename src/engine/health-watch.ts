// Finds a process that lives but does not answer any more, e.g. caught in an endless template: asks it now
// and then, whether or not it has work, and has it restarted when it is silent.
import { raceSignal } from '../util/async.ts';
import type { Clock, Timer } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';

export interface WatchedModel {
  /** Whether there is a process to ask. */
  readonly running: boolean;
  /** Resolves when the process has answered. */
  ping(signal: AbortSignal): Promise<void>;
  restart(reason: MeshnodeError): void;
}

/** Watches until the returned timer is cancelled. Keeps no process alive. */
export function watchHealth(model: WatchedModel, clock: Clock): Timer {
  const stop = new AbortController();
  let timer: Timer;
  const next = (): void => {
    if (stop.signal.aborted) {
      return;
    }
    timer = clock.after(engineLimits.healthMs, () => void check().finally(next), { keepAlive: false });
  };
  const check = async (): Promise<void> => {
    if (!model.running || stop.signal.aborted) {
      return;
    }
    const silent = new MeshnodeError(
      'engine_timeout',
      `The process of the engine did not answer for ${engineLimits.healthTimeoutMs / 1000} s.`,
    );
    const patience = new AbortController();
    const giveUp = clock.after(engineLimits.healthTimeoutMs, () => patience.abort(silent), {
      keepAlive: false,
    });
    try {
      await raceSignal(model.ping(patience.signal), stop.signal);
    } catch (reason) {
      // Whatever else ended the ping has ended the process too, which its supervisor sees.
      if (reason === silent) {
        model.restart(silent);
      }
    } finally {
      giveUp.cancel();
    }
  };
  next();
  return {
    cancel: () => {
      stop.abort(new MeshnodeError('cancelled', 'The model is unloaded.'));
      timer.cancel();
    },
  };
}
