// What stands between this node and each linked peer: who has admitted whom, and until when.
import type { Certificate } from '../trust/certificate.ts';
import type { PeerId } from '../trust/keys.ts';
import type { Role } from '../trust/roles.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import type { Random } from '../util/random.ts';

export interface Session {
  readonly peer: PeerId;
  /** Monotonic time of the first link. */
  readonly sinceMs: number;
  helloSent: boolean;
  /** The peer's certificate, once this node has admitted it. */
  theirs: Certificate | undefined;
  admittedByThem: boolean;
  /** Monotonic time at which something was last said again. */
  repeatedMs: number;
  /** Monotonic time of the last comparison because messages may have been lost. */
  comparedMs: number;
  /** Monotonic time at which it last began anew because of another certificate. */
  reopenedMs: number;
  /** Monotonic times of the last questions of the peer that were answered. */
  answeredMs: number[];
  /** False items that the peer has sent. */
  strikes: number;
  /** Monotonic time at which the link is closed because the peer may not stay; Infinity once that is asked for. */
  closeMs: number | undefined;
}

/** Both sides have admitted each other. */
export function isUp(session: Session): boolean {
  return session.theirs !== undefined && session.admittedByThem && session.closeMs === undefined;
}

/** Monotonic time at which a session must have come further. */
export function deadlineOf(session: Session): number {
  return (
    session.closeMs ?? (isUp(session) ? Number.POSITIVE_INFINITY : session.sinceMs + meshLimits.admissionMs)
  );
}

/** Whether one more question of the peer is answered now; it is counted then. */
export function mayAnswer(session: Session, nowMs: number): boolean {
  session.answeredMs = session.answeredMs.filter((time) => nowMs - time < meshLimits.answerWindowMs);
  const may = session.answeredMs.length < meshLimits.answers;
  if (may) {
    session.answeredMs.push(nowMs);
  }
  return may;
}

/** Whether the last greeting, comparison or new beginning is long enough ago for one more; the next counts from now then. */
export function mayRepeat(
  session: Session,
  what: 'repeatedMs' | 'comparedMs' | 'reopenedMs',
  nowMs: number,
): boolean {
  const leastMs = what === 'reopenedMs' ? meshLimits.reopenMs : meshLimits.repeatMs;
  const may = nowMs - session[what] >= leastMs;
  session[what] = may ? nowMs : session[what];
  return may;
}

/** Monotonic time at which an unanswered hello is said again. */
export function repeatDueMs(session: Session): number {
  const isWaiting = session.helloSent && session.closeMs === undefined && !isUp(session);
  return isWaiting ? session.repeatedMs + meshLimits.repeatMs : Number.POSITIVE_INFINITY;
}

export class Sessions {
  readonly #sessions = new Map<PeerId, Session>();

  open(peer: PeerId, sinceMs: number): Session {
    const session: Session = {
      peer,
      sinceMs,
      helloSent: false,
      theirs: undefined,
      admittedByThem: false,
      repeatedMs: sinceMs,
      comparedMs: Number.NEGATIVE_INFINITY,
      reopenedMs: Number.NEGATIVE_INFINITY,
      answeredMs: [],
      strikes: 0,
      closeMs: undefined,
    };
    this.#sessions.set(peer, session);
    return session;
  }

  /** The same link as if it were new, but for what was counted against the peer. Time that it did not use runs on. */
  reopen(session: Session, nowMs: number): Session {
    const { peer, strikes, answeredMs, reopenedMs } = session;
    const next = this.open(peer, isUp(session) ? nowMs : session.sinceMs);
    return Object.assign(next, { strikes, answeredMs, reopenedMs });
  }

  get(peer: PeerId): Session | undefined {
    return this.#sessions.get(peer);
  }

  delete(peer: PeerId): void {
    this.#sessions.delete(peer);
  }

  all(): Session[] {
    return [...this.#sessions.values()];
  }

  up(): Session[] {
    return this.all().filter(isUp);
  }

  /** At most `most` of those that are up, drawn anew each time. */
  drawn(most: number, random: Random, isMeant = (_: Session): boolean => true): Session[] {
    return this.up()
      .filter(isMeant)
      .map((session) => ({ session, order: random.float() }))
      .sort((a, b) => a.order - b.order)
      .slice(0, most)
      .map(({ session }) => session);
  }

  peers(): IterableIterator<PeerId> {
    return this.#sessions.keys();
  }

  isLinked(peer: PeerId): boolean {
    return this.#sessions.has(peer);
  }

  isUp(peer: PeerId): boolean {
    const session = this.#sessions.get(peer);
    return session !== undefined && isUp(session);
  }

  /** The role in which this node has admitted a peer that is linked to it; undefined: it has not. */
  roleOf(peer: PeerId): Role | undefined {
    const session = this.#sessions.get(peer);
    return session?.closeMs === undefined ? session?.theirs?.role : undefined;
  }

  /** The next of all deadlines. */
  nextMs(): number {
    // Asked after every step: no lists here.
    let nextMs = Number.POSITIVE_INFINITY;
    for (const session of this.#sessions.values()) {
      if (!isUp(session)) {
        nextMs = Math.min(nextMs, deadlineOf(session), repeatDueMs(session));
      }
    }
    return nextMs;
  }
}
