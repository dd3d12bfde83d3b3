// Which replica of a model is asked first: the one with the least to do for each of its slots. Pure.

/** What is known of a replica at the moment. */
export interface ReplicaLoad {
  /** Requests that it has, waiting ones included. */
  readonly requests: number;
  /** Requests that it answers at once; undefined: not known. */
  readonly slots: number | undefined;
  /** Median round trip to it, milliseconds: 0 if it is on this machine, undefined if not known. */
  readonly rttMs: number | undefined;
  /** It was not heard when it should have been: others are asked before it. */
  readonly isDoubted?: boolean;
}

/** What a replica that does not tell its slots is taken to have: one graphics card's usual setting. */
const unknownSlots = 4;
/** What a way that was not measured yet is taken for, milliseconds: longer than any measured one in a city. */
export const unknownRttMs = 50;

/** Replicas, the one to be asked first at the front; among equals the nearest, then the order that they came in. */
export function leastLoadedFirst<Replica>(
  replicas: readonly Replica[],
  loadOf: (replica: Replica) => ReplicaLoad,
): Replica[] {
  return replicas
    .map((replica) => ({ replica, load: loadOf(replica) }))
    .sort(
      (one, other) =>
        doubt(one.load) - doubt(other.load) ||
        fullness(one.load) - fullness(other.load) ||
        distance(one.load) - distance(other.load),
    )
    .map(({ replica }) => replica);
}

function doubt({ isDoubted = false }: ReplicaLoad): number {
  return Number(isDoubted);
}

/** Requests for each slot. */
function fullness({ requests, slots = unknownSlots }: ReplicaLoad): number {
  return requests / Math.max(1, slots);
}

function distance({ rttMs = unknownRttMs }: ReplicaLoad): number {
  return rttMs;
}
