// When a peer that is not heard is left for another one, by a request that it has given nothing for. Pure.
import type { AwaitedWord } from '../../mesh/pulse.ts';
import { remoteLimits } from '../../util/limits/dispatch.ts';
import { beatLimits } from '../../util/limits/mesh.ts';

/** Milliseconds after its last word, for one whose words were late by `lateMs`: twice that is not expected of it. */
export function doubtAfterMs(lateMs: number): number {
  const usualMs = beatLimits.beatMs + remoteLimits.doubtLateness * lateMs;
  return Math.min(beatLimits.silentMs, Math.max(remoteLimits.doubtMs, usualMs));
}

/** False of a peer whose silence says nothing. Both times are monotonic. */
export function isDoubted(awaited: AwaitedWord | undefined, nowMs: number): boolean {
  return awaited !== undefined && nowMs - awaited.sinceMs >= doubtAfterMs(awaited.lateMs);
}
