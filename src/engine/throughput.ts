// How fast a model generates, all its answers together: a pure counter that is told when answers
// begin and end.

/** Busy time after which old answers begin to be forgotten: long enough to be steady, short enough to be true. */
const memoryMs = 30_000;

/** Tokens per second of the time in which at least one answer was running. */
export class Throughput {
  #running = 0;
  #busySinceMs = 0;
  #busyMs = 0;
  #tokens = 0;

  /** An answer begins at monotonic time `nowMs`. */
  begin(nowMs: number): void {
    if (this.#running === 0) {
      this.#busySinceMs = nowMs;
    }
    this.#running++;
  }

  /** An answer has ended after `tokens` generated tokens. */
  end(nowMs: number, tokens: number): void {
    this.#running--;
    this.#busyMs += nowMs - this.#busySinceMs;
    this.#busySinceMs = nowMs;
    this.#tokens += tokens;
    if (this.#busyMs > memoryMs) {
      this.#busyMs /= 2;
      this.#tokens /= 2;
    }
  }

  /** Answers running now. */
  get running(): number {
    return this.#running;
  }

  /** 0 before the first answer has ended. */
  get tokensPerSecond(): number {
    return this.#busyMs === 0 ? 0 : (this.#tokens * 1000) / this.#busyMs;
  }
}
