// The last measurements of one thing, the older the less they count. Says quantiles, never a best ever:
// they rise as readily as they fall.

interface Sample {
  readonly value: number;
  readonly atMs: number;
}

export interface FadingWindowLimits {
  /** A measurement counts half as much after this long. */
  readonly halfLifeMs: number;
  /** Older ones count nothing. */
  readonly memoryMs: number;
  /** Measurements kept at most, the newest. */
  readonly samples: number;
}

export class FadingWindow {
  readonly #limits: FadingWindowLimits;
  /** Oldest first. */
  #samples: Sample[] = [];

  constructor(limits: FadingWindowLimits) {
    this.#limits = limits;
  }

  /** Adds what was measured at `nowMs`, a monotonic time. What is no number or negative was no measurement. */
  add(value: number, nowMs: number): void {
    if (Number.isFinite(value) && value >= 0) {
      this.#samples = [...this.#fresh(nowMs), { value, atMs: nowMs }].slice(-this.#limits.samples);
    }
  }

  /** The value that `share` (0 to 1) of the weight does not exceed; undefined if nothing recent is known. */
  quantile(share: number, nowMs: number): number | undefined {
    const weighted = this.#fresh(nowMs)
      .map(({ value, atMs }) => ({ value, weight: 2 ** ((atMs - nowMs) / this.#limits.halfLifeMs) }))
      .sort((a, b) => a.value - b.value);
    let remaining = share * weighted.reduce((sum, { weight }) => sum + weight, 0);
    for (const { value, weight } of weighted) {
      remaining -= weight;
      if (remaining <= 0) {
        return value;
      }
    }
    return weighted.at(-1)?.value; // Rounding left a crumb of weight.
  }

  #fresh(nowMs: number): readonly Sample[] {
    return this.#samples.filter(({ atMs }) => nowMs - atMs < this.#limits.memoryMs);
  }
}
