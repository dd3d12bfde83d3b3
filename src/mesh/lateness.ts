// How late the words of a neighbour came at most within the last minute: by this a machine that is busy is told from one
// that is gone. Pure.
import { beatLimits } from '../util/limits/mesh.ts';

interface LateWord {
  readonly byMs: number;
  readonly atMs: number;
}

export class Lateness {
  /** In the order in which they came, each less late than the one before: what came before a later word counts no more. */
  #late: readonly LateWord[] = [];

  /** A word came at `nowMs`, a monotonic time, so long after the one before. */
  add(gapMs: number, nowMs: number): void {
    const byMs = gapMs - beatLimits.beatMs;
    if (byMs > 0) {
      this.#late = [...this.#recent(nowMs).filter((word) => word.byMs > byMs), { byMs, atMs: nowMs }];
    }
  }

  /** Milliseconds beyond the time between two beats; 0 if all came in time. */
  longestMs(nowMs: number): number {
    return this.#recent(nowMs)[0]?.byMs ?? 0;
  }

  #recent(nowMs: number): readonly LateWord[] {
    return this.#late.filter(({ atMs }) => nowMs - atMs <= beatLimits.latenessMs);
  }
}
