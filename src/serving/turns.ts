// One after the other: a task begins once those that came before it are done. It knows nothing of the tasks.
import { raceSignal } from '../util/async.ts';

export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `task` when its turn comes. The signal ends the wait for the turn; the task has to heed it itself. */
  async take<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const mine = Promise.withResolvers<void>();
    const before = this.#last;
    this.#last = before.then(() => mine.promise);
    try {
      await raceSignal(before, signal);
      return await task();
    } finally {
      mine.resolve();
    }
  }
}
