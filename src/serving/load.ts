// One attempt to load a model, from the reference to the end of what belongs to it: its result, and the way
// to stop it. What is done to load a model is handed in.
import type { LoadedModel } from '../engine/engine.ts';
import { raceSignal, withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';

export class Load {
  /** Rejects with a MeshnodeError: of what went wrong, or at once with the reason it is stopped for. */
  readonly done: Promise<LoadedModel>;
  readonly #work: Promise<LoadedModel>;
  readonly #stop = new AbortController();

  constructor(run: (signal: AbortSignal) => Promise<LoadedModel>) {
    const { signal } = this.#stop;
    this.#work = run(signal);
    this.done = raceSignal(this.#work, signal).catch((thrown: unknown) => {
      throw asMeshnodeError(thrown);
    });
  }

  /** Ends whatever is going on, also what goes on once the model is loaded. */
  stop(reason: MeshnodeError): void {
    this.#stop.abort(reason);
  }

  /**
   * Resolves when a stopped load has tidied up: it may have a process to end. Rejects with `engine_timeout`
   * if it does not: one that hangs is not waited for for ever.
   */
  async settled(clock: Clock): Promise<void> {
    const settled = this.#work.then(
      () => {},
      () => {},
    );
    const onTimeout = (): MeshnodeError =>
      new MeshnodeError('engine_timeout', 'A load goes on although it was told to stop.');
    await withTimeout(clock, engineLimits.cancelMs, settled, onTimeout);
  }
}
