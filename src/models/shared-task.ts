// Several callers of the same work share one run of it: all hear its progress, and it is cancelled only
// when the last of them has gone.
import { raceSignal } from '../util/async.ts';

export interface SharedTaskOptions<Progress> {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

interface Running<Progress, Result> {
  readonly result: Promise<Result>;
  readonly listeners: Set<(progress: Progress) => void>;
  readonly controller: AbortController;
}

/** Work by key. */
export class SharedTasks<Progress, Result> {
  readonly #running = new Map<string, Running<Progress, Result>>();

  /**
   * Joins the running task of `key`, or starts one. Rejects when the caller's signal aborts; if it was the
   * last caller, only after the task has tidied up.
   */
  async run(
    key: string,
    options: SharedTaskOptions<Progress>,
    start: (task: SharedTaskOptions<Progress>) => Promise<Result>,
  ): Promise<Result> {
    options.signal.throwIfAborted();
    const task = this.#running.get(key) ?? this.#start(key, start);
    const listener = (progress: Progress): void => options.onProgress(progress);
    task.listeners.add(listener);
    try {
      return await raceSignal(task.result, options.signal);
    } finally {
      task.listeners.delete(listener);
      if (task.listeners.size === 0) {
        await this.#stop(key, task, options.signal.reason);
      }
    }
  }

  #start(
    key: string,
    start: (task: SharedTaskOptions<Progress>) => Promise<Result>,
  ): Running<Progress, Result> {
    const controller = new AbortController();
    const listeners = new Set<(progress: Progress) => void>();
    const onProgress = (progress: Progress): void => {
      for (const listener of listeners) {
        listener(progress);
      }
    };
    const task = { result: start({ signal: controller.signal, onProgress }), listeners, controller };
    this.#running.set(key, task);
    return task;
  }

  async #stop(key: string, task: Running<Progress, Result>, reason: unknown): Promise<void> {
    if (this.#running.get(key) === task) {
      this.#running.delete(key);
    }
    task.controller.abort(reason);
    await task.result.catch(() => {}); // Its failure was told to whoever waited for it.
  }
}
