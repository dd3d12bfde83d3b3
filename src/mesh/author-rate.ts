// How often each member has said something in the last minute. Only members are counted, so it is bounded.
import type { PeerId } from '../trust/keys.ts';
import { MeshnodeError } from '../util/errors.ts';

const windowMs = 60_000;

export class AuthorRate {
  readonly #what: string;
  readonly #perMinute: number;
  readonly #times = new Map<PeerId, number[]>();

  /** `what` is counted, in the plural; at most `perMinute` of each author. */
  constructor(what: string, perMinute: number) {
    this.#what = what;
    this.#perMinute = perMinute;
  }

  /** Throws `record_untimely` if `author` has said too much. */
  count(author: PeerId, wallMs: number): void {
    // A clock that is set back makes a minute last, not an hour: times of the future do not count either.
    const recent = (this.#times.get(author) ?? []).filter((time) => Math.abs(wallMs - time) < windowMs);
    if (recent.length >= this.#perMinute) {
      throw new MeshnodeError(
        'record_untimely',
        `A member gives more than ${this.#perMinute} ${this.#what} a minute.`,
      );
    }
    recent.push(wallMs);
    this.#times.set(author, recent);
  }

  forget(author: PeerId): void {
    this.#times.delete(author);
  }
}
