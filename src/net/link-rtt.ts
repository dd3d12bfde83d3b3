// How long a round trip to a peer takes on one path, as a median and a 95th percentile of the last minute.
import { pathLimits } from '../util/limits/net.ts';
import { FadingWindow } from './fading-window.ts';

export class LinkRtt {
  readonly #window = new FadingWindow(pathLimits.rttWindow);

  /** Adds a round trip measured at `nowMs`, a monotonic time. A negative or infinite one is dropped. */
  add(rttMs: number, nowMs: number): void {
    this.#window.add(rttMs, nowMs);
  }

  /** Milliseconds; undefined if nothing was measured lately. */
  p50(nowMs: number): number | undefined {
    return this.#window.quantile(0.5, nowMs);
  }

  /** Milliseconds; undefined if nothing was measured lately. */
  p95(nowMs: number): number | undefined {
    return this.#window.quantile(0.95, nowMs);
  }
}
