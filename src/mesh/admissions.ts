// Lets peers in and out: from the first link over hello and admission to members that tell each other
// everything, and back. One session a peer; what a hello must prove is admission.ts's.
import type { Certificate } from '../trust/certificate.ts';
import type { PeerId } from '../trust/keys.ts';
import type { MeshTrust } from '../trust/mesh-trust.ts';
import { asMeshnodeError, type ErrorCode, isErrorCode, type MeshnodeError } from '../util/errors.ts';
import { meshLimits, meshMessageLimits } from '../util/limits/mesh.ts';
import { type Admitter, admit, helloTo, refusalTo, shownBy, welcomeTo } from './admission.ts';
import type { Liveness } from './liveness.ts';
import type { Now } from './membership-events.ts';
import type { Admitted, Hello, PeerAddresses, Refused } from './message.ts';
import { splitItems } from './message-codec.ts';
import { deadlineOf, isUp, mayRepeat, repeatDueMs, type Session } from './sessions.ts';
import { isFault, type Received, type Sharing, type SharingParts } from './sharing.ts';
import { openSync } from './sync.ts';

export interface AdmissionsParts extends SharingParts {
  readonly trust: MeshTrust;
  readonly sharing: Sharing;
  readonly liveness: Liveness;
  /** Members that can be dialled, at most so many, those this node talks to first. */
  readonly knownPeers: (most: number) => PeerAddresses[];
}

export class Admissions {
  readonly #parts: AdmissionsParts;

  constructor(parts: AdmissionsParts) {
    this.#parts = parts;
  }

  linked(peer: PeerId, now: Now): void {
    const { sessions, plan, own } = this.#parts;
    const session = sessions.open(peer, now.monotonicMs);
    plan.linked(peer);
    // A newcomer shows nothing before the other side has proved to be of the mesh.
    if (own.isMember) {
      this.#sayHello(session, now);
    }
  }

  unlinked(peer: PeerId, now: Now): void {
    const { sessions, plan, liveness } = this.#parts;
    const session = sessions.get(peer);
    sessions.delete(peer);
    plan.unlinked();
    if (session !== undefined && isUp(session)) {
      plan.lost(peer, now.monotonicMs);
      liveness.lost(peer, now);
      this.#down(peer);
    } else if (session?.closeMs === undefined) {
      plan.failed(peer, now.monotonicMs);
    }
  }

  /** Messages may have been lost with one of several links. What members share is compared anew. */
  lost(peer: PeerId, now: Now): void {
    const { sessions, outbox, shared } = this.#parts;
    const session = sessions.get(peer);
    if (session === undefined || session.closeMs !== undefined) {
      return;
    }
    // Two measures: what is compared once more must not use up the answer to a peer whose process is a new one.
    if (isUp(session) && mayRepeat(session, 'comparedMs', now.monotonicMs)) {
      outbox.send(peer, openSync(shared.items));
    } else if (!isUp(session) && mayRepeat(session, 'repeatedMs', now.monotonicMs)) {
      this.#sayAgain(session, now);
    }
  }

  /** Says again what has had no answer: with the link it went by it may have been lost. */
  repeatUnanswered(now: Now): void {
    for (const session of this.#parts.sessions.all()) {
      if (repeatDueMs(session) <= now.monotonicMs) {
        session.repeatedMs = now.monotonicMs;
        this.#sayAgain(session, now);
      }
    }
  }

  greeted(session: Session, hello: Hello, now: Now): void {
    const { sessions } = this.#parts;
    if (session.theirs === undefined) {
      this.#greetedFirst(session, hello, now);
    } else if (Buffer.compare(session.theirs.bytes, hello.certificate) === 0) {
      if (mayRepeat(session, 'repeatedMs', now.monotonicMs)) {
        this.#greetedAgain(session, session.theirs, hello, now);
      }
    } else if (mayRepeat(session, 'reopenedMs', now.monotonicMs)) {
      // A new process that is a member by something else, perhaps for more or for less than the last one was.
      if (isUp(session)) {
        this.#sentAway(session.peer);
      }
      this.#greetedFirst(sessions.reopen(session, now.monotonicMs), hello, now);
    }
  }

  #greetedFirst(session: Session, hello: Hello, now: Now): void {
    const { trust, own, sharing } = this.#parts;
    const admitter: Admitter = {
      trust,
      own: { key: own.key, certificate: own.certificate, mayAdmit: own.isMember && !own.isClient },
      take: (proof) => sharing.receive(proof, session.peer, now),
      now,
    };
    let certificate: Certificate | undefined;
    try {
      certificate = shownBy(session.peer, hello, admitter);
      const use = admit(certificate, hello, admitter);
      session.theirs = certificate;
      if (!session.helloSent) {
        this.#sayHello(session, now);
      }
      if (use !== undefined) {
        sharing.publish(use, now);
      }
      this.#sayWelcome(session, certificate, now);
      this.#checkUp(session, now);
    } catch (thrown) {
      this.reject(session, asMeshnodeError(thrown), now, certificate);
    }
  }

  admitted(session: Session, message: Admitted, now: Now): void {
    const { own, sharing, plan, outbox } = this.#parts;
    if (session.theirs === undefined || session.admittedByThem) {
      return;
    }
    session.admittedByThem = true;
    const mine = message.yourRecord === undefined ? [] : [message.yourRecord];
    for (const envelope of [...message.proofs, ...mine]) {
      this.judgeSender(session, sharing.receive(envelope, session.peer, now), now);
    }
    plan.suggest(message.peers, now.monotonicMs);
    if (!own.hasJoined) {
      own.hasJoined = true;
      sharing.announce(now);
      outbox.notice({ type: 'joined' });
    }
    outbox.remember();
    this.#checkUp(session, now);
  }

  refused(session: Session, { code, message, proofs }: Refused, now: Now): void {
    const { outbox, sharing } = this.#parts;
    const known: ErrorCode = isErrorCode(code) ? code : 'join_failed';
    outbox.notice({ type: 'refused', peer: session.peer, code: known, message });
    // Only members are worth the checking. Who came by an invite that was used up elsewhere, while the two sides were
    // apart, would otherwise go on for good with others who did.
    if (session.theirs !== undefined) {
      for (const proof of proofs) {
        sharing.receive(proof, session.peer, now);
      }
    }
    this.#close(session, 'the peer refused this node', now, 0);
  }

  /**
   * Tells a peer why it may not stay, with what the certificate that it showed does not stand by, and closes its link
   * after it had time to read that.
   */
  reject(
    session: Session,
    error: Pick<MeshnodeError, 'code' | 'message'>,
    now: Now,
    certificate?: Certificate,
  ): void {
    const { outbox, trust } = this.#parts;
    const { code, message } = error;
    outbox.notice({ type: 'rejected', peer: session.peer, code, message });
    outbox.send(session.peer, refusalTo(trust, certificate, error));
    this.#close(session, message, now, meshLimits.refusalMs);
  }

  /** Peers whose items are plainly false lose their link. */
  judgeSender(session: Session, received: Received, now: Now): void {
    if (isFault(received) && session.closeMs === undefined) {
      session.strikes++;
      if (session.strikes >= meshLimits.strikes) {
        this.reject(session, asMeshnodeError(received), now);
      }
    }
  }

  /** Closes what has had its time. */
  closeOverdue(now: Now): void {
    for (const session of this.#parts.sessions.all()) {
      if (deadlineOf(session) > now.monotonicMs) {
        continue;
      }
      if (session.closeMs === undefined) {
        this.#close(session, 'admission took too long', now, 0);
      } else {
        this.#disconnect(session, 'refused');
      }
    }
  }

  /** Puts out whoever does not stand any more. */
  rejudge(now: Now): void {
    const { sessions, trust, shared } = this.#parts;
    for (const session of sessions.all()) {
      if (session.theirs === undefined || session.closeMs !== undefined) {
        continue;
      }
      // What it was admitted by, as long as that stands: its record may be one of an earlier life.
      if (trust.judge(session.theirs, now.wallMs).standing) {
        continue;
      }
      const shown = shared.table.get(session.peer)?.certificate ?? session.theirs;
      const judgement = trust.judge(shown, now.wallMs);
      if (judgement.standing) {
        session.theirs = shown;
      } else {
        this.reject(session, judgement, now, shown);
      }
    }
  }

  #sayHello(session: Session, now: Now): void {
    const { trust, own, outbox } = this.#parts;
    session.helloSent = true;
    outbox.send(session.peer, helloTo(trust, own.certificate, session.theirs !== undefined, now));
  }

  #sayWelcome({ peer }: Session, certificate: Certificate, now: Now): void {
    const { trust, outbox, shared, knownPeers } = this.#parts;
    const peers = knownPeers(meshMessageLimits.peers).filter(({ peerId }) => peerId !== peer);
    const theirRecord = shared.table.get(peer)?.envelope.bytes;
    outbox.send(peer, welcomeTo(trust, certificate, peers, theirRecord, now));
  }

  /**
   * A hello from who is admitted already: the answer was lost, or the peer's process is a new one whose old link still
   * stands, and knows nothing of this session.
   */
  #greetedAgain(session: Session, theirs: Certificate, { heard }: Hello, now: Now): void {
    const { outbox, shared } = this.#parts;
    if (!heard) {
      this.#sayHello(session, now);
    }
    this.#sayWelcome(session, theirs, now);
    if (isUp(session)) {
      outbox.send(session.peer, openSync(shared.items));
    }
  }

  #sayAgain(session: Session, now: Now): void {
    if (session.helloSent) {
      this.#sayHello(session, now);
    }
    if (session.theirs !== undefined) {
      this.#sayWelcome(session, session.theirs, now);
    }
  }

  /** From now on the two tell each other everything. */
  #checkUp(session: Session, now: Now): void {
    const { plan, outbox, shared, own, liveness } = this.#parts;
    const { peer } = session;
    if (!isUp(session)) {
      return;
    }
    plan.up(peer);
    liveness.up(peer, now);
    outbox.notice({ type: 'up', peer });
    outbox.changed(peer);
    const record = shared.table.get(own.peer)?.envelope.bytes;
    outbox.send(peer, ...splitItems(record === undefined ? [] : [record]));
    // One exchange serves both; a client begins because nobody else tells it anything.
    if (own.isClient || own.peer < peer) {
      outbox.send(peer, openSync(shared.items));
    }
  }

  #close(session: Session, reason: string, now: Now, delayMs: number): void {
    if (isUp(session)) {
      this.#sentAway(session.peer);
    }
    session.closeMs = now.monotonicMs + delayMs;
    this.#parts.plan.failed(session.peer, now.monotonicMs);
    if (delayMs === 0) {
      this.#disconnect(session, reason);
    }
  }

  #sentAway(peer: PeerId): void {
    this.#parts.liveness.dropped(peer);
    this.#down(peer);
  }

  #down(peer: PeerId): void {
    this.#parts.outbox.notice({ type: 'down', peer });
    this.#parts.outbox.changed(peer);
  }

  #disconnect(session: Session, reason: string): void {
    session.closeMs = Number.POSITIVE_INFINITY; // Asked for once; `unlinked` is the answer.
    this.#parts.outbox.disconnect(session.peer, reason);
  }
}
