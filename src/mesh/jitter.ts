// Waits that differ a little from node to node, so that a mesh does not do everything at the same moment.
import { meshLimits } from '../util/limits/mesh.ts';
import type { Random } from '../util/random.ts';

/** `delayMs`, up to meshLimits.jitter shorter or longer. */
export function jittered(delayMs: number, random: Random): number {
  return delayMs * (1 + meshLimits.jitter * (2 * random.float() - 1));
}
