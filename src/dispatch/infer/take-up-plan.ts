// When an answer whose stream broke is worth taking up, and for how long. Pure: told what came and when streams
// broke, it says what to do next.
import { inferLimits } from '../../util/limits/dispatch.ts';

/** What may still be tried. */
export interface Chance {
  /** Monotonic time, ms, after which nothing is tried any more. */
  readonly untilMs: number;
  /** Streams that may be opened in vain meanwhile. */
  readonly tries: number;
}

export class TakeUpPlan {
  readonly #patienceMs: number;
  readonly #usedMs: number;
  #framesHeld = 0;
  #hasOutput = false;
  /** Streams that broke, and streams that were tried, since the last frame. */
  #broken = 0;
  #tries = 0;

  /** The first stream was there at `usedMs`. For `patienceMs` after a loss a caller without output waits. */
  constructor(usedMs: number, patienceMs: number) {
    this.#usedMs = usedMs;
    this.#patienceMs = patienceMs;
  }

  /** Event frames of the answer that have come. */
  get framesHeld(): number {
    return this.#framesHeld;
  }

  /** An event frame has come; `isOutput` if it carries a piece of the answer. */
  received(isOutput: boolean): void {
    this.#framesHeld++;
    this.#hasOutput ||= isOutput;
    this.#broken = 0;
    this.#tries = 0;
  }

  /** The stream broke at `nowMs`. Undefined: the answer is lost. */
  chanceAfterLoss(nowMs: number): Chance | undefined {
    this.#broken++;
    if (this.#broken > inferLimits.resumes) {
      return undefined;
    }
    const waitMs = this.#hasOutput ? inferLimits.resumeMs : this.#patienceMs;
    if (waitMs > 0) {
      return { untilMs: nowMs + waitMs, tries: Number.POSITIVE_INFINITY };
    }
    return this.#wasStillborn(nowMs) ? { untilMs: nowMs + inferLimits.resumeMs, tries: 1 } : undefined;
  }

  /** The pause before the next try. */
  nextPauseMs(): number {
    this.#tries++;
    return this.#tries === 1
      ? 0
      : Math.min(inferLimits.resumePauseMs * 2 ** (this.#tries - 2), inferLimits.resumePauseMostMs);
  }

  /** A stream from the pool may have been dead for a while. The peer has seen nothing of it, or can tell by the key. */
  #wasStillborn(nowMs: number): boolean {
    return this.#framesHeld === 0 && this.#broken === 1 && nowMs - this.#usedMs < inferLimits.stillbornMs;
  }
}
