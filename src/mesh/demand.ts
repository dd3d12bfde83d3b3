// What the mesh is asked for: what this node counts and claims, and what of all claims counts. Pure. A claim is
// believed as far as replicas confirm that they served it; times are wall-clock milliseconds.
import type { PeerId } from '../trust/keys.ts';
import { demandLimits } from '../util/limits/mesh.ts';
import { DecayingCounts, remainingShare } from './decaying-counts.ts';

export interface DemandClaim {
  readonly model: string;
  /** Requests, each fading from 1. */
  readonly requests: number;
}

export interface ServedClaim extends DemandClaim {
  /** The node that asked. */
  readonly origin: PeerId;
}

/** What one node's record says of demand. Its numbers may be anything. */
export interface DemandReport {
  readonly origin: PeerId;
  /** When its numbers were true. */
  readonly issuedMs: number;
  /** Asked for by the node's own users. */
  readonly demand: readonly DemandClaim[];
  /** Served by the node for others. */
  readonly served: readonly ServedClaim[];
}

/** What this node's users asked for, and what it served for other nodes. */
export class LocalDemand {
  readonly #asked = new DecayingCounts<{ readonly model: string }>();
  readonly #served = new DecayingCounts<{ readonly origin: PeerId; readonly model: string }>();

  /** A user of this node asked for a model. */
  record(model: string, nowMs: number): void {
    this.#asked.add(model, { model }, nowMs);
  }

  /** This node was asked for a model by `origin`, a peer. */
  seen(origin: PeerId, model: string, nowMs: number): void {
    this.#served.add(`${origin} ${model}`, { origin, model }, nowMs);
  }

  /** What this node's record claims, the most wanted first. */
  claims(nowMs: number): DemandClaim[] {
    return this.#asked.top(demandLimits.models, nowMs).map(({ thing, requests }) => ({ ...thing, requests }));
  }

  /** What this node's record says it served, the most wanted first. */
  servedClaims(nowMs: number): ServedClaim[] {
    return this.#served.top(demandLimits.pairs, nowMs).map(({ thing, requests }) => ({ ...thing, requests }));
  }
}

/**
 * Requests per model over all nodes, fading from 1 each, of one report per origin. Of what a node claims counts at
 * most twice what other nodes served for it, and a small allowance for what nobody saw; and no node counts for more
 * than `requestsPerOrigin`. Equal reports give equal numbers in any order.
 */
export function meshDemand(records: readonly DemandReport[], nowMs: number): Map<string, number> {
  const inOrder = records.toSorted((a, b) => (a.origin < b.origin ? -1 : 1));
  const witnessed = servedByOthers(inOrder, nowMs);
  const total = new Map<string, number>();
  for (const report of inOrder) {
    for (const [model, requests] of believed(report, witnessed, nowMs)) {
      add(total, model, requests);
    }
  }
  return total;
}

/** Requests served, by origin and model: what nodes say they did for other nodes. */
function servedByOthers(records: readonly DemandReport[], nowMs: number): Map<string, number> {
  const served = new Map<string, number>();
  for (const { origin: witness, issuedMs, served: claims } of records) {
    for (const { origin, model, requests } of claims) {
      if (origin !== witness) {
        add(served, pairKey(origin, model), requestsLeft(requests, issuedMs, nowMs));
      }
    }
  }
  return served;
}

/** What counts of one node's claims. */
function believed(
  { origin, issuedMs, demand }: DemandReport,
  witnessed: ReadonlyMap<string, number>,
  nowMs: number,
): Map<string, number> {
  const vouched = new Map<string, number>();
  const unseen = new Map<string, number>();
  for (const [model, requests] of claimed(demand, issuedMs, nowMs)) {
    const most = demandLimits.witnessFactor * (witnessed.get(pairKey(origin, model)) ?? 0);
    add(vouched, model, Math.min(requests, most));
    add(unseen, model, Math.max(0, requests - most));
  }
  for (const [model, requests] of scaledTo(demandLimits.unwitnessedRequests, unseen)) {
    add(vouched, model, requests);
  }
  return scaledTo(demandLimits.requestsPerOrigin, vouched);
}

function claimed(demand: readonly DemandClaim[], issuedMs: number, nowMs: number): Map<string, number> {
  const claims = new Map<string, number>();
  for (const { model, requests } of demand) {
    add(claims, model, requestsLeft(requests, issuedMs, nowMs));
  }
  return claims;
}

/** A claimed number as of now: never more than one node can count, and NaN if it is none. */
function requestsLeft(requests: number, issuedMs: number, nowMs: number): number {
  return Math.min(requests, demandLimits.requestsPerOrigin) * remainingShare(nowMs - issuedMs);
}

/** The same proportions with a sum of at most `most`. */
function scaledTo(most: number, counts: ReadonlyMap<string, number>): Map<string, number> {
  const sum = [...counts.values()].reduce((all, requests) => all + requests, 0);
  const factor = sum > most ? most / sum : 1;
  return new Map([...counts].map(([model, requests]) => [model, requests * factor]));
}

function pairKey(origin: PeerId, model: string): string {
  return `${origin} ${model}`;
}

/** What is no positive number adds nothing. */
function add(counts: Map<string, number>, key: string, requests: number): void {
  if (requests > 0) {
    counts.set(key, (counts.get(key) ?? 0) + requests);
  }
}
