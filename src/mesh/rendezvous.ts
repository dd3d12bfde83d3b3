// Who is whose neighbour in a mesh too large for everybody to be linked to everybody. Everyone computes it alike
// from names alone, so that nobody can claim a neighbour that is none.
import { createHash } from 'node:crypto';
import type { PeerId } from '../trust/keys.ts';

/** Orders the neighbours of either end, lowest first; the same from both ends, and evenly spread: rendezvous hashing. */
export function pairScore(a: PeerId, b: PeerId): string {
  return createHash('sha256').update([a, b].sort().join()).digest('hex').slice(0, 16);
}

/** Whether `peer` is among the `most` best neighbours of `of` among `all`. One hash for each of them. */
export function isNeighbour(peer: PeerId, of: PeerId, all: Iterable<PeerId>, most: number): boolean {
  const score = pairScore(of, peer);
  let better = 0;
  for (const other of all) {
    if (other !== of && other !== peer && pairScore(of, other) < score && ++better >= most) {
      return false;
    }
  }
  return true;
}
