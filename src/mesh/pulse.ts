// What one neighbour's beats have told: when it was heard last, how far away it is, how busy. Pure bookkeeping;
// liveness.ts draws the conclusions.
import { LinkRtt } from '../net/link-rtt.ts';
import type { PeerId } from '../trust/keys.ts';
import { beatLimits } from '../util/limits/mesh.ts';
import { Lateness } from './lateness.ts';
import type { ModelLoad } from './model-load.ts';
import type { RecordVersion } from './version.ts';

/** A neighbour that is not heard, and what is done about it. Times are monotonic. */
export interface Silence {
  /** Hex of the last probe: whoever of its helpers answers it vouches for the neighbour. */
  probe: string;
  readonly helpers: Set<PeerId>;
  /** Its answers are yet to be counted. */
  isAsking: boolean;
  /** When they are, or when others are asked again. */
  dueMs: number;
  isVouchedFor: boolean;
  /** Its last record when that was looked at last: a newer one since then is a word that somebody hears. */
  known: RecordVersion | undefined;
  /** This node holds it gone. */
  isGone: boolean;
  /** What of it this node has told the mesh to be its last word. */
  pronounced: RecordVersion | undefined;
}

export interface PeerLoad {
  /** Models that have something to do. */
  readonly loads: readonly ModelLoad[];
  /** Monotonic time at which it came. */
  readonly atMs: number;
}

/** A word that is to come about a second after the last one. */
export interface AwaitedWord {
  /** Monotonic time of the last word, or since when there should be any. */
  readonly sinceMs: number;
  /** Milliseconds by which words were late more than once within the last minute. */
  readonly lateMs: number;
}

export class Pulse {
  readonly peer: PeerId;
  readonly #rtt = new LinkRtt();
  readonly #lateness = new Lateness();
  /** Hex of the nonces that are out, and when they went. */
  readonly #unanswered = new Map<string, number>();
  /** When beats of the neighbour were answered within the last second. */
  #answeredMs: number[] = [];
  heardMs: number;
  /** When it beat this node last; what it answers does not count. */
  beatByMs: number;
  /** Since when it is beaten without a break; undefined: it is not, and its silence says nothing. */
  beatenMs: number | undefined;
  /** It was given time for what came while this process did not run; once a word, for some machines never are in time. */
  #hasGrace = false;
  /** When this node sent it a request last. */
  routedMs = Number.NEGATIVE_INFINITY;
  /** Beats that were answered. */
  answers = 0;
  /** When the last beat went out. */
  sentMs = Number.NEGATIVE_INFINITY;
  load: PeerLoad | undefined;
  silence: Silence | undefined;

  constructor(peer: PeerId, heardMs: number) {
    this.peer = peer;
    this.heardMs = heardMs;
    this.beatByMs = heardMs;
  }

  /** A beat goes out. */
  sent(nonce: string, nowMs: number): void {
    this.sentMs = nowMs;
    this.#unanswered.set(nonce, nowMs);
    const [oldest] = this.#unanswered.keys();
    if (oldest !== undefined && this.#unanswered.size > beatLimits.unanswered) {
      this.#unanswered.delete(oldest);
    }
  }

  /** Takes an answer; false if there was no such beat, or it was answered already. */
  answered(nonce: string, nowMs: number): boolean {
    const sentMs = this.#unanswered.get(nonce);
    if (sentMs === undefined) {
      return false;
    }
    this.#unanswered.delete(nonce);
    this.#rtt.add(nowMs - sentMs, nowMs);
    this.answers++;
    return true;
  }

  /** Whether one more of the neighbour's beats is answered now; it is counted then. */
  mayAnswer(nowMs: number): boolean {
    this.#answeredMs = this.#answeredMs.filter((atMs) => nowMs - atMs < 1_000);
    const may = this.#answeredMs.length < beatLimits.answersPerSecond;
    if (may) {
      this.#answeredMs.push(nowMs);
    }
    return may;
  }

  /** When something is to be concluded from its saying nothing. */
  get dueMs(): number {
    const { silence } = this;
    const sinceMs = this.#awaitedSinceMs;
    return (
      silence?.dueMs ?? (sinceMs === undefined ? Number.POSITIVE_INFINITY : sinceMs + beatLimits.silentMs)
    );
  }

  /** The word of it that is waited for; undefined if its silence says nothing. */
  awaited(nowMs: number): AwaitedWord | undefined {
    const sinceMs = this.#awaitedSinceMs;
    return sinceMs === undefined ? undefined : { sinceMs, lateMs: this.#lateness.repeatedMs(nowMs) };
  }

  get #awaitedSinceMs(): number | undefined {
    return this.beatenMs === undefined ? undefined : Math.max(this.heardMs, this.beatenMs);
  }

  /** It says something. */
  heard(nowMs: number): void {
    const sinceMs = this.#awaitedSinceMs;
    // Of one that had fallen silent it says nothing: it was gone, not late.
    if (sinceMs !== undefined && this.silence === undefined) {
      this.#lateness.add(nowMs - sinceMs, nowMs);
    }
    this.heardMs = nowMs;
    this.silence = undefined;
    this.#hasGrace = false;
  }

  /**
   * This process did not run for so long, until now: that says nothing about the neighbour, nor about the way to it.
   * Timers come before what waits in sockets, so that too gets its time.
   */
  excuse(byMs: number, nowMs: number): void {
    this.#unanswered.clear();
    this.#postpone(byMs);
    const graceMs = nowMs + beatLimits.lateMs - this.dueMs;
    if (graceMs > 0 && !this.#hasGrace) {
      this.#hasGrace = true;
      this.#postpone(graceMs);
    }
  }

  #postpone(byMs: number): void {
    this.heardMs += byMs;
    this.beatByMs += byMs;
    if (this.beatenMs !== undefined) {
      this.beatenMs += byMs;
    }
    if (this.silence !== undefined) {
      this.silence.dueMs += byMs;
    }
  }

  /** Milliseconds, median and 95th percentile of the last minute; undefined if nothing was measured lately. */
  rtt(nowMs: number): { readonly p50Ms: number; readonly p95Ms: number } | undefined {
    const [p50Ms, p95Ms] = [this.#rtt.p50(nowMs), this.#rtt.p95(nowMs)];
    return p50Ms === undefined || p95Ms === undefined ? undefined : { p50Ms, p95Ms };
  }
}
