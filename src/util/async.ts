// Small tools for concurrency: a promise with its handles, a bounded queue between a producer and a
// consumer, waits that a signal can end. Nothing here knows what it carries.
import type { Clock } from './clock.ts';
import { assertInvariant, type MeshnodeError } from './errors.ts';
import type { Logger } from './logging.ts';

/** Runs a task nobody awaits. Its failure is logged under `name`, never lost and never fatal. */
export function background(task: Promise<unknown>, name: string, log: Logger): void {
  task.catch((cause: unknown) => log.error({ err: cause, task: name }, 'a background task failed'));
}

/** Rejects with the signal's reason as soon as it aborts, else settles as `promise` does. */
export function raceSignal<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (signal === undefined) {
    return promise;
  }
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) {
      onAbort();
    } else {
      signal.addEventListener('abort', onAbort, { once: true });
    }
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** Rejects with what `onTimeout` makes if `promise` has not settled within `timeoutMs`. */
export function withTimeout<T>(
  clock: Clock,
  timeoutMs: number,
  promise: Promise<T>,
  onTimeout: () => MeshnodeError,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => reject(onTimeout()));
    promise.then(resolve, reject).finally(() => timer.cancel());
  });
}

/**
 * A bounded first-in first-out channel with one reader. `push` tells whether the producer should
 * pause; `onRoom` then says when to go on. Values already in the channel are read before its failure.
 */
export class Channel<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  readonly #values: T[] = [];
  #ended = false;
  #failure: unknown;
  #wakeReader: (() => void) | undefined;
  #roomWaiters: Array<() => void> = [];
  #onReaderGone: (() => void) | undefined;

  /** `capacity` values may wait before `push` asks the producer to pause. */
  constructor(capacity: number, onReaderGone?: () => void) {
    this.#capacity = capacity;
    this.#onReaderGone = onReaderGone;
  }

  /** Adds a value. False means: wait for `room()` before the next. After the end values are dropped. */
  push(value: T): boolean {
    if (this.#ended) {
      return true;
    }
    this.#values.push(value);
    this.#wakeReader?.();
    return this.#values.length < this.#capacity;
  }

  /** Resolves once fewer than `capacity` values wait, or the channel has ended. */
  room(): Promise<void> {
    if (this.#ended || this.#values.length < this.#capacity) {
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#roomWaiters.push(resolve));
  }

  /** No more values: the reader sees the end, or `failure`, after what is waiting. */
  end(failure?: unknown): void {
    if (this.#ended) {
      return;
    }
    this.#ended = true;
    this.#failure = failure;
    this.#wakeReader?.();
    this.#releaseRoom();
  }

  get ended(): boolean {
    return this.#ended;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    try {
      while (true) {
        const value = this.#values.shift();
        if (value !== undefined) {
          if (this.#values.length < this.#capacity) {
            this.#releaseRoom();
          }
          yield value;
        } else if (this.#ended) {
          if (this.#failure !== undefined) {
            throw this.#failure;
          }
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wakeReader = resolve;
          });
          this.#wakeReader = undefined;
        }
      }
    } finally {
      this.end();
      this.#values.length = 0;
      this.#onReaderGone?.();
      this.#onReaderGone = undefined;
    }
  }

  #releaseRoom(): void {
    const waiters = this.#roomWaiters;
    this.#roomWaiters = [];
    for (const resolve of waiters) {
      resolve();
    }
  }
}

/**
 * The values of several iterables as they come, one waiting value per iterable at most. A failure of one
 * ends all; leaving early closes all. `onEnd` is told first that no more is wanted: an iterable that waits
 * for its next value cannot be closed before it has it.
 */
export async function* mergeIterables<T>(
  sources: readonly AsyncIterable<T>[],
  onEnd: () => void,
): AsyncGenerator<T, void, undefined> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const next = async (iterator: AsyncIterator<T>) => ({ iterator, result: await iterator.next() });
  const pending = new Map(iterators.map((iterator) => [iterator, next(iterator)]));
  try {
    while (pending.size > 0) {
      const { iterator, result } = await (pending.size === 1
        ? only(pending)
        : Promise.race(pending.values()));
      if (result.done === true) {
        pending.delete(iterator);
      } else {
        yield result.value;
        pending.set(iterator, next(iterator));
      }
    }
  } finally {
    onEnd();
    await Promise.allSettled([...pending.values(), ...iterators.map((iterator) => iterator.return?.())]);
  }
}

/** The one value of a map: a race of one costs as much as a race of many. */
function only<V>(map: ReadonlyMap<unknown, V>): V {
  const [value] = map.values();
  assertInvariant(value !== undefined, 'the map holds a value');
  return value;
}

/** A typed set of listeners. A listener that throws does not keep the others from hearing. */
export class Emitter<T> {
  readonly #listeners = new Set<(value: T) => void>();
  readonly #onFailure: (cause: unknown) => void;

  constructor(onFailure: (cause: unknown) => void = () => {}) {
    this.#onFailure = onFailure;
  }

  /** Adds a listener; the returned function removes it. */
  listen(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(value: T): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(value);
      } catch (cause) {
        this.#onFailure(cause);
      }
    }
  }
}
