// One request on its way: everything it waits for ends as soon as there is a reason, be it that the caller
// is gone, the time is up or the engine is silent. Costs one promise an event, and no timer.
import type { Clock, Timer } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';

export class Call {
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #callerSignal: AbortSignal;
  readonly #onCallerGone = (): void => this.#end(new MeshnodeError('cancelled', 'The caller hung up.'));
  #deadline: Timer | undefined;
  #stallWatch: Timer | undefined;
  /** When the present wait began; absent between waits, while the reader has the word. */
  #waitingSinceMs: number | undefined;
  #rejectWait: ((reason: unknown) => void) | undefined;

  /** `leftMs` is the time until the deadline, if there is one. */
  constructor(clock: Clock, callerSignal: AbortSignal, leftMs?: number) {
    this.#clock = clock;
    this.#callerSignal = callerSignal;
    if (callerSignal.aborted) {
      this.#onCallerGone();
      return;
    }
    callerSignal.addEventListener('abort', this.#onCallerGone, { once: true });
    if (leftMs !== undefined) {
      this.#deadline = clock.after(leftMs, () =>
        this.#end(
          new MeshnodeError('deadline_exceeded', 'The time allowed for the answer ran out.', {
            param: 'timeout',
          }),
        ),
      );
    }
  }

  /** Aborted when there is a reason to stop. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Settles as `promise` does, or rejects as soon as the call has to stop. One wait at a time. */
  wait<T>(promise: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.signal.aborted) {
        reject(this.signal.reason);
      }
      this.#rejectWait = reject;
      this.#waitingSinceMs = this.#clock.monotonicMs();
      promise.then(resolve, reject);
    });
  }

  /** From now on, one wait longer than `stallMs` ends the call with `engine_timeout`. */
  watchForStall(stallMs: number, model: string): void {
    const check = (): void => {
      const nowMs = this.#clock.monotonicMs();
      const waitedMs = nowMs - (this.#waitingSinceMs ?? nowMs);
      if (waitedMs >= stallMs) {
        const silentSeconds = Math.round(waitedMs / 1000);
        this.#end(
          new MeshnodeError('engine_timeout', `The engine of ${model} was silent for ${silentSeconds} s.`),
        );
      } else {
        this.#stallWatch = this.#clock.after(stallMs - waitedMs, check);
      }
    };
    this.#stallWatch?.cancel();
    this.#stallWatch = this.#clock.after(stallMs, check);
  }

  /** No answer is waited for at the moment. */
  endStallWatch(): void {
    this.#stallWatch?.cancel();
  }

  /** The engine has answered: what the reader takes from now on does not count as the engine's silence. */
  answered(): void {
    this.#waitingSinceMs = undefined;
  }

  /** The request is over: no timer and no listener is left. */
  close(): void {
    this.#deadline?.cancel();
    this.#stallWatch?.cancel();
    this.#callerSignal.removeEventListener('abort', this.#onCallerGone);
  }

  #end(reason: MeshnodeError): void {
    this.#controller.abort(reason);
    this.#rejectWait?.(reason);
  }
}
