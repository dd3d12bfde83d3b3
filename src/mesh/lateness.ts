// How late the words of a neighbour come, by those of the last minute: by this a machine that is busy is told from one
// that is gone. Pure.
import { beatLimits } from '../util/limits/mesh.ts';

interface LateWord {
  readonly byMs: number;
  readonly atMs: number;
}

export class Lateness {
  /** Of the last minute; at most as many as fit into one, for each of them took more than a beat. */
  #late: readonly LateWord[] = [];

  /** A word came at `nowMs`, a monotonic time, so long after the one before. */
  add(gapMs: number, nowMs: number): void {
    const byMs = gapMs - beatLimits.beatMs;
    if (byMs > beatLimits.lateMs) {
      this.#late = [...this.#recent(nowMs), { byMs, atMs: nowMs }];
    }
  }

  /**
   * By how many milliseconds beyond the time between two beats a word was late twice or more. What happened once, e.g.
   * because this process did not run for a moment, says nothing about the neighbour.
   */
  repeatedMs(nowMs: number): number {
    const [, second] = this.#recent(nowMs)
      .map(({ byMs }) => byMs)
      .sort((a, b) => b - a);
    return second ?? 0;
  }

  #recent(nowMs: number): readonly LateWord[] {
    return this.#late.filter(({ atMs }) => nowMs - atMs <= beatLimits.latenessMs);
  }
}
