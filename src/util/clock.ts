// The one place that reads time. Everything else is handed a Clock, so that tests and the
// simulator can own time; nothing outside this file calls Date.now, performance.now or setTimeout.

/** A pending timer. Cancelling one that has fired or was cancelled does nothing. */
export interface Timer {
  cancel(): void;
}

/** Source of time and timers. All durations are milliseconds. */
export interface Clock {
  /** Wall-clock time, milliseconds since the Unix epoch. May jump; only for showing and signing. */
  wallMs(): number;
  /** Monotonic time in milliseconds with a fraction. For measuring and for deadlines. */
  monotonicMs(): number;
  /**
   * Calls `fire` once after `delayMs`. A timer keeps the process alive unless `keepAlive` is false.
   */
  after(delayMs: number, fire: () => void, options?: { keepAlive?: boolean }): Timer;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, fire, options) {
    const handle = setTimeout(fire, delayMs);
    if (options?.keepAlive === false) {
      handle.unref();
    }
    return { cancel: () => clearTimeout(handle) };
  },
};

/** Resolves after `delayMs`; rejects with the signal's reason if it aborts first. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
