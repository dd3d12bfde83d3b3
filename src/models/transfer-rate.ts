// How fast bytes come and how long the rest will take, from a sliding window of samples. Pure state: time is handed in.
import { downloadLimits } from '../util/limits/models.ts';

/** What can be said of a transfer. An ETA is only given once enough was seen to mean something. */
export interface TransferRate {
  readonly bytesPerSecond?: number;
  readonly etaSeconds?: number;
}

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

/** Feeds on (time, bytes so far) and tells speed and ETA. Times are monotonic milliseconds. */
export class RateMeter {
  readonly #samples: Sample[] = [];
  #firstMs: number | undefined;

  /** Adds a sample; `bytes` is the count so far and may drop when a transfer starts afresh. */
  add(atMs: number, bytes: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && bytes < last.bytes) {
      this.#samples.length = 0;
      this.#firstMs = undefined;
    }
    this.#firstMs ??= atMs;
    this.#samples.push({ atMs, bytes });
    while ((this.#samples[0]?.atMs ?? atMs) < atMs - downloadLimits.rateWindowMs) {
      this.#samples.shift();
    }
  }

  rate(totalBytes: number): TransferRate {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) {
      return {};
    }
    const bytesPerSecond = ((last.bytes - first.bytes) / (last.atMs - first.atMs)) * 1000;
    const seenMs = last.atMs - (this.#firstMs ?? last.atMs);
    if (seenMs < downloadLimits.etaAfterMs || bytesPerSecond <= 0) {
      return { bytesPerSecond };
    }
    return { bytesPerSecond, etaSeconds: (totalBytes - last.bytes) / bytesPerSecond };
  }
}
