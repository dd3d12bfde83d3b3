// Whether a better plan is worth loading a model anew. Pure. A plan that no longer works is no question of worth.
import { placementLimits } from '../util/limits/placement.ts';

/** Whether `next` gains enough over the plan that runs since monotonic time `plannedMs`. What is unknown gains nothing. */
export function isWorthReplanning(
  current: { readonly tokensPerSecond: number | undefined; readonly plannedMs: number },
  next: { readonly tokensPerSecond: number | undefined },
  nowMs: number,
): boolean {
  if (current.tokensPerSecond === undefined || next.tokensPerSecond === undefined) {
    return false;
  }
  const isSettled = nowMs - current.plannedMs >= placementLimits.replanMs;
  return isSettled && next.tokensPerSecond >= current.tokensPerSecond * (1 + placementLimits.replanGain);
}
