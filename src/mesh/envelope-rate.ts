// How much each peer has passed on lately: a bucket of tokens for each, which fills as time goes by. Only members are
// counted, so the map is bounded; one that comes back finds the bucket as it left it.
import type { PeerId } from '../trust/keys.ts';

interface Bucket {
  tokens: number;
  filledMs: number;
}

export class EnvelopeRate {
  readonly #atOnce: number;
  readonly #perSecond: number;
  readonly #buckets = new Map<PeerId, Bucket>();

  /** `atOnce` after a pause, `perSecond` for ever. */
  constructor(atOnce: number, perSecond: number) {
    this.#atOnce = atOnce;
    this.#perSecond = perSecond;
  }

  /** Counts one of a peer. False: that was one too many. */
  take(peer: PeerId, nowMs: number): boolean {
    const { tokens, filledMs } = this.#buckets.get(peer) ?? { tokens: this.#atOnce, filledMs: nowMs };
    const filled = Math.min(this.#atOnce, tokens + ((nowMs - filledMs) * this.#perSecond) / 1000);
    this.#buckets.set(peer, { tokens: Math.max(0, filled - 1), filledMs: nowMs });
    return filled >= 1;
  }
}
