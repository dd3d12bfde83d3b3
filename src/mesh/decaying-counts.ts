// Counts of things, each fading by halves. Bounded: of too many, the one counted least is forgotten.
import { demandLimits } from '../util/limits/mesh.ts';

interface Count<Thing> {
  readonly thing: Thing;
  readonly requests: number;
  /** When `requests` was so high. */
  readonly atMs: number;
}

export class DecayingCounts<Thing> {
  readonly #counts = new Map<string, Count<Thing>>();

  /** Counts a thing, told from others by `id`, once more at `nowMs`. */
  add(id: string, thing: Thing, nowMs: number): void {
    const before = this.#counts.get(id);
    if (before === undefined && this.#counts.size >= demandLimits.counted) {
      this.#forgetLeast(nowMs);
    }
    const requests = 1 + (before === undefined ? 0 : requestsNow(before, nowMs));
    this.#counts.set(id, { thing, requests, atMs: nowMs });
  }

  /** The `most` things counted most, the highest first, with what of their counts is left at `nowMs`. */
  top(most: number, nowMs: number): { readonly thing: Thing; readonly requests: number }[] {
    return [...this.#counts]
      .map(([id, count]) => ({ id, thing: count.thing, requests: requestsNow(count, nowMs) }))
      .filter(({ requests }) => requests >= demandLimits.leastRequests)
      .sort((a, b) => b.requests - a.requests || (a.id < b.id ? -1 : 1))
      .slice(0, most)
      .map(({ thing, requests }) => ({ thing, requests }));
  }

  #forgetLeast(nowMs: number): void {
    let least: { id: string; requests: number } | undefined;
    for (const [id, count] of this.#counts) {
      const requests = requestsNow(count, nowMs);
      if (least === undefined || requests < least.requests) {
        least = { id, requests };
      }
    }
    if (least !== undefined) {
      this.#counts.delete(least.id);
    }
  }
}

/** What is left after `elapsedMs` of what was 1. A time that has not come yet counts as now; after a day nothing is. */
export function remainingShare(elapsedMs: number): number {
  return elapsedMs > demandLimits.lifeMs ? 0 : 2 ** (-Math.max(0, elapsedMs) / demandLimits.halfLifeMs);
}

function requestsNow({ requests, atMs }: Count<unknown>, nowMs: number): number {
  return requests * remainingShare(nowMs - atMs);
}
