// What came of this node's contacts with each peer: why the last one failed, and how far apart the two clocks are.
// Only shown to the owner.

import type { MembershipNotice } from '../mesh/membership-events.ts';
import type { ContactListener } from '../mesh/mesh.ts';
import type { PeerId } from '../trust/keys.ts';
import type { Clock } from '../util/clock.ts';
import type { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';

/** What became of one address that was dialled. */
export interface TriedAddress {
  readonly address: string;
  readonly reason: string;
}

export interface FailedContact {
  readonly code: string;
  readonly message: string;
  /** Monotonic. */
  readonly atMs: number;
  readonly attempts: readonly TriedAddress[];
}

export interface ToldTime {
  /** How far the peer's clock is ahead, too little by the time that its greeting took. */
  readonly aheadMs: number;
  /** Monotonic. */
  readonly atMs: number;
}

export class PeerContacts implements ContactListener {
  readonly #clock: Clock;
  /** Strangers are among them: both are bounded, and those told of longest ago go first. */
  readonly #failures = new Map<PeerId, FailedContact>();
  readonly #times = new Map<PeerId, ToldTime>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Why there was no contact last; undefined if there was. */
  failureOf(peer: PeerId): FailedContact | undefined {
    return this.#failures.get(peer);
  }

  timeOf(peer: PeerId): ToldTime | undefined {
    return this.#times.get(peer);
  }

  hear(notice: MembershipNotice): void {
    if (notice.type === 'up' || notice.type === 'left') {
      this.#failures.delete(notice.peer);
    } else if (notice.type === 'refused') {
      this.#failed(notice.peer, notice.code, `It does not let this node in: ${notice.message}`);
    } else if (notice.type === 'rejected') {
      this.#failed(notice.peer, notice.code, `This node does not let it in: ${notice.message}`);
    }
  }

  dialFailed(peer: PeerId, { code, message, details }: MeshnodeError): void {
    this.#failed(peer, code, message, triedAddresses(details.data?.['attempts']));
  }

  /** Of the greetings of one link that counts which took the least time: none can come before it was sent. */
  toldTime(peer: PeerId, clockMs: number): void {
    const atMs = this.#clock.monotonicMs();
    const aheadMs = clockMs - this.#clock.wallMs();
    const before = this.#times.get(peer);
    const isSameLink = before !== undefined && atMs - before.atMs <= nodeLimits.greetingsMs;
    if (!isSameLink || aheadMs > before.aheadMs) {
      keep(this.#times, peer, { aheadMs, atMs });
    }
  }

  #failed(peer: PeerId, code: string, message: string, attempts: readonly TriedAddress[] = []): void {
    keep(this.#failures, peer, { code, message, atMs: this.#clock.monotonicMs(), attempts });
  }
}

function keep<Value>(map: Map<PeerId, Value>, peer: PeerId, value: Value): void {
  map.delete(peer);
  map.set(peer, value);
  const [oldest] = map.keys();
  if (oldest !== undefined && map.size > nodeLimits.peerContacts) {
    map.delete(oldest);
  }
}

/** The details of an error are untyped. */
function triedAddresses(attempts: unknown): TriedAddress[] {
  const isTried = (value: unknown): value is TriedAddress =>
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'address') === 'string' &&
    typeof Reflect.get(value, 'reason') === 'string';
  return Array.isArray(attempts) ? attempts.filter(isTried) : [];
}
