// How many verdicts each author gave in the last minute: an honest node loses few neighbours at once, a liar
// would name them all.
import type { PeerId } from '../trust/keys.ts';
import { MeshnodeError } from '../util/errors.ts';
import { meshLimits } from '../util/limits.ts';

const windowMs = 60_000;

export class VerdictRate {
  readonly #times = new Map<PeerId, number[]>();

  /** Throws `record_untimely` if `author` has said too much. Only members are counted, so the map is bounded. */
  count(author: PeerId, wallMs: number): void {
    const recent = (this.#times.get(author) ?? []).filter((time) => Math.abs(wallMs - time) < windowMs);
    if (recent.length >= meshLimits.deathsPerMinute) {
      throw new MeshnodeError(
        'record_untimely',
        `A member gives more than ${recent.length} verdicts a minute.`,
      );
    }
    this.#times.set(author, [...recent, wallMs]);
  }
}
