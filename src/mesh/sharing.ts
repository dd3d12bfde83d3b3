// Brings what is signed to where it belongs: takes it from peers and broadcasts, passes on what must be known at
// once, and speaks for this node itself. What an envelope is worth, SharedState decides.
import type { Certificate } from '../trust/certificate.ts';
import type { Envelope } from '../trust/envelope.ts';
import type { PeerId } from '../trust/keys.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import type { Random } from '../util/random.ts';
import { sealDeath } from './death.ts';
import type { DialPlan } from './dial-plan.ts';
import type { HearingVerdict, Now } from './membership-events.ts';
import { splitItems } from './message-codec.ts';
import type { Outbox } from './outbox.ts';
import type { OwnNode } from './own-node.ts';
import type { PeerRecord } from './record.ts';
import type { Session, Sessions } from './sessions.ts';
import type { SharedState, Taken } from './shared-state.ts';

export interface SharingParts {
  readonly own: OwnNode;
  readonly shared: SharedState;
  readonly sessions: Sessions;
  readonly plan: DialPlan;
  readonly outbox: Outbox;
  readonly random: Random;
}

/** An envelope that was taken, or why it was not: most refusals are nobody's fault. */
export type Received = Taken | MeshnodeError;

export class Sharing {
  readonly #parts: SharingParts;
  #hasConflict = false;
  /** This run has raised its epoch above one that it met. */
  #hasOutlived = false;
  /** Somebody holds this node dead: its next word must not wait for a broadcast or a comparison. */
  #isContradicted = false;

  constructor(parts: SharingParts) {
    this.#parts = parts;
  }

  /** Takes an envelope that came from `source`. */
  receive(bytes: Uint8Array, source: PeerId, now: Now): Received {
    const { shared, outbox, own } = this.#parts;
    let taken: Taken;
    try {
      taken = shared.take(bytes, now.wallMs);
    } catch (thrown) {
      return asMeshnodeError(thrown);
    }
    switch (taken.what) {
      case 'standing':
        outbox.remember();
        this.#flood(taken.envelope, source);
        break;
      case 'record':
        this.#learned(taken, source, now);
        break;
      case 'death':
        outbox.changed(taken.subject);
        this.#flood(taken.envelope, source);
        break;
      case 'own-record':
        this.#metMyself(taken.record, now);
        break;
      case 'own-death':
        this.#isContradicted = own.record.refute(taken.version, now) || this.#isContradicted;
        break;
    }
    return taken;
  }

  /** Takes and spreads what this node has signed itself; false: it would not be taken. */
  publish(envelope: Envelope, now: Now): boolean {
    const received = this.receive(envelope.bytes, this.#parts.own.peer, now);
    if (isRefusal(received)) {
      return false;
    }
    this.#parts.outbox.broadcast(envelope.bytes);
    this.#parts.outbox.remember();
    return true;
  }

  /** Says what this node is now. */
  announce(now: Now): void {
    const { own, shared } = this.#parts;
    this.#tellOwn(own.record.announce(own.certificate, now, shared.table.speakers(now.wallMs)), now);
  }

  /** Says, for the last time, that this node is gone for good. */
  leave(now: Now): void {
    const { own, shared } = this.#parts;
    const envelope = own.record.leave(own.certificate, now, shared.table.speakers(now.wallMs));
    this.#tellOwn(envelope, now);
    this.#flood(envelope, own.peer);
  }

  /** Tells the mesh that a neighbour cannot be reached any more; false: this node has said too much of late. */
  pronounceDead(
    { peerId, epoch, sequence, expiresMs }: PeerRecord,
    certificate: Certificate,
    now: Now,
  ): boolean {
    const atMs = Math.floor(now.wallMs);
    const death = { subject: peerId, epoch, sequence, atMs, expiresMs };
    return this.publish(sealDeath(death, certificate.meshId, this.#parts.own.key), now);
  }

  #tellOwn(envelope: Envelope, now: Now): void {
    const { own, shared, outbox } = this.#parts;
    try {
      shared.takeOwn(envelope, now.wallMs);
    } catch (thrown) {
      // What this node would not take from others it does not tell them: it has said too much, or it does not stand.
      // The latter is for the next look at everybody's standing to say.
      if (!(thrown instanceof MeshnodeError) || thrown.code === 'internal') {
        throw thrown;
      }
      own.record.announceLater(now);
      return;
    }
    if (own.record.version.sequence === 0) {
      outbox.remember();
    }
    outbox.changed(own.peer);
    outbox.broadcast(envelope.bytes);
    if (this.#isContradicted) {
      this.#isContradicted = false;
      this.#flood(envelope, own.peer);
    }
  }

  #learned({ record, envelope, first }: Extract<Taken, { what: 'record' }>, source: PeerId, now: Now): void {
    const { plan, outbox } = this.#parts;
    const { peerId, addresses, left } = record;
    outbox.changed(peerId);
    if (left) {
      plan.forget(peerId);
      outbox.notice({ type: 'left', peer: peerId });
    } else if (plan.member(peerId, addresses, now.monotonicMs)) {
      outbox.remember();
    }
    // Who comes, who goes and who lives after all is told at once; the rest travels by broadcast and comparison.
    if (first || left) {
      this.#passOn(envelope, source);
    }
  }

  /**
   * A record signed with this node's key that this run did not make: of an earlier life, until one that was made
   * since this run began answers even the epoch that this run has raised because of another. Then a second process
   * lives with the key, and of the two the one that sees the higher epoch stops. Dates alone would not do: a clock
   * may have been set back between two lives.
   */
  #metMyself(seen: PeerRecord, now: Now): void {
    const { own, outbox } = this.#parts;
    const isAnswer = this.#hasOutlived && seen.issuedMs > own.startedWallMs;
    if (isAnswer && seen.epoch > own.record.version.epoch) {
      if (!this.#hasConflict) {
        this.#hasConflict = true;
        outbox.notice({ type: 'key-conflict' });
      }
    } else if (own.record.outlive(seen)) {
      this.#hasOutlived = true;
      if (own.hasJoined) {
        this.announce(now);
      }
    }
  }

  /** To every neighbour: what somebody's standing hangs on must not wait for a comparison. */
  #flood(envelope: Envelope, source: PeerId): void {
    this.#send(envelope, source, this.#parts.sessions.up());
  }

  /** To some neighbours: each of them does the same. Clients pass nothing on, and ask for what is new themselves. */
  #passOn(envelope: Envelope, source: PeerId): void {
    const { sessions, random } = this.#parts;
    const isMeant = ({ peer, theirs }: Session): boolean => peer !== source && theirs?.role !== 'client';
    this.#send(envelope, source, sessions.drawn(meshLimits.passOn, random, isMeant));
  }

  #send({ bytes }: Envelope, source: PeerId, sessions: readonly Session[]): void {
    const messages = splitItems([bytes]);
    for (const { peer } of sessions) {
      if (peer !== source) {
        this.#parts.outbox.send(peer, ...messages);
      }
    }
  }
}

export function isRefusal(received: Received): received is MeshnodeError {
  return received instanceof Error;
}

/** Whether whoever sent this knows better: what is unsigned or impossible is no news that comes too early. */
export function isFault(received: Received): boolean {
  const faults = ['envelope_invalid', 'record_invalid', 'certificate_invalid', 'mesh_mismatch'];
  return isRefusal(received) && faults.includes(received.code);
}

/** Whether others should hear what was received. */
export function verdictOf(received: Received): HearingVerdict {
  if (isRefusal(received)) {
    return isFault(received) ? 'reject' : 'ignore';
  }
  return received.what === 'nothing' ? 'ignore' : 'accept';
}
