// How many spare streams are worth keeping for one protocol to one peer: as many as were last asked for at
// once, fewer as time passes, one while the peer is asked at all. Pure.
import type { poolLimits } from '../util/limits/net.ts';

export type PoolLimits = { readonly [name in keyof typeof poolLimits]: number };

export class SpareTarget {
  readonly #limits: PoolLimits;
  /** Times of the last takes, oldest first: those of one burst, and no more than spares there can be. */
  #takes: number[] = [];
  #peak = 0;
  #peakMs = 0;
  #usedMs = Number.NEGATIVE_INFINITY;

  constructor(limits: PoolLimits) {
    this.#limits = limits;
  }

  /** A stream was asked for at monotonic time `nowMs`. */
  record(nowMs: number): void {
    const burst = this.#takes.filter((takenMs) => nowMs - takenMs < this.#limits.burstMs);
    this.#takes = [...burst, nowMs].slice(-this.#limits.spares);
    this.raise(this.#takes.length, nowMs);
  }

  /** At least `count` are expected to be asked for at once. */
  raise(count: number, nowMs: number): void {
    this.#usedMs = nowMs;
    if (count >= this.at(nowMs)) {
      this.#peak = Math.min(count, this.#limits.spares);
      this.#peakMs = nowMs;
    }
  }

  /** Spare streams to keep now. */
  at(nowMs: number): number {
    if (nowMs - this.#usedMs >= this.#limits.forgetMs) {
      return 0;
    }
    const faded = this.#peak * 2 ** ((this.#peakMs - nowMs) / this.#limits.halfLifeMs);
    return Math.max(1, Math.ceil(faded));
  }
}
