// The member: admits peers and is admitted, announces itself, keeps what the mesh shares in step with its
// neighbours, and says whom to dial. A pure machine of events, time and effects: the node runs it over sockets,
// the simulator over a virtual network, and neither of them decides anything.
import type { Certificate, Issuer } from '../trust/certificate.ts';
import { readEnvelope } from '../trust/envelope.ts';
import type { KeyPair, MeshId, PeerId, SignatureCheck } from '../trust/keys.ts';
import type { MeshTrust } from '../trust/mesh-trust.ts';
import type { Role } from '../trust/roles.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { Random } from '../util/random.ts';
import { Admissions } from './admissions.ts';
import { DialPlan } from './dial-plan.ts';
import { jittered } from './jitter.ts';
import { Liveness, type Vitals } from './liveness.ts';
import type { HearingVerdict, MembershipEffect, MembershipEvent, Now } from './membership-events.ts';
import type { MembershipMemory } from './membership-memory.ts';
import type { Beat, BeatAnswer, MeshMessage, PeerAddresses, Probe, ProbeAnswer } from './message.ts';
import type { ModelLoad } from './model-load.ts';
import { Outbox } from './outbox.ts';
import { OwnNode } from './own-node.ts';
import { OwnRecord } from './own-record.ts';
import type { LocalFacts, PeerRecord } from './record.ts';
import { acceptRenewal, dueRenewals, renewOwn } from './renewal.ts';
import { isUp, mayAnswer, type Session, Sessions } from './sessions.ts';
import { SharedState } from './shared-state.ts';
import { isRefusal, Sharing, verdictOf } from './sharing.ts';
import { answerSync, isSyncMessage, openSync } from './sync.ts';
import type { MemberStatus, Readers } from './table.ts';

export interface MembershipInit {
  readonly identity: KeyPair;
  readonly meshId: MeshId;
  readonly trust: MeshTrust;
  readonly check: SignatureCheck;
  /** This node's own; of an invite just redeemed, or remembered. */
  readonly certificate: Certificate;
  /** What the node wants to be; never more than its certificate says. */
  readonly role: Role;
  readonly facts: LocalFacts;
  /** Whom the invite names. */
  readonly bootstrap: readonly PeerAddresses[];
  /** This node made the mesh: it is a member though nobody has admitted it. */
  readonly isFounder: boolean;
  readonly memory?: MembershipMemory;
  /** What this node makes members with, if it may: the mesh key, or its own under its certificate. */
  readonly issuer?: Issuer;
  readonly random: Random;
  readonly readers?: Readers;
  /** What this node's models have to do at the moment; absent: nothing. Asked for each beat. */
  readonly loads?: () => readonly ModelLoad[];
  /** False: no beats (see LivenessParts). */
  readonly beats?: boolean;
}

/** One member, as this node sees it. */
export interface MemberView {
  readonly record: PeerRecord;
  readonly certificate: Certificate;
  readonly status: MemberStatus;
  /** Both sides have admitted each other over a link that stands, and it is heard. */
  readonly isUp: boolean;
  /** It was a neighbour, and is heard no more. */
  readonly isSilent: boolean;
}

export class Membership {
  readonly #own: OwnNode;
  readonly #trust: MeshTrust;
  readonly #random: Random;
  readonly #bootstrap: readonly PeerAddresses[];
  readonly #memory: MembershipMemory | undefined;
  readonly #sessions = new Sessions();
  readonly #outbox = new Outbox();
  readonly #shared: SharedState;
  readonly #plan: DialPlan;
  readonly #sharing: Sharing;
  readonly #liveness: Liveness;
  readonly #admissions: Admissions;
  #syncMs = 0;
  #sweepMs = 0;
  /** Remembered proofs that by this machine's clock are not signed yet. */
  #untimely: Uint8Array[] = [];
  /** The state of trust that everybody's standing was last judged by. */
  #judgedVersion = -1;

  constructor(init: MembershipInit) {
    const { identity, meshId, trust, check, random, role, facts, memory } = init;
    const lastEpoch = memory?.epoch ?? 0;
    this.#own = new OwnNode({
      key: identity,
      role,
      certificate: init.certificate,
      formers: (memory?.formers ?? []).flatMap((bytes) => readOwn(bytes, identity, trust)),
      hasJoined: init.isFounder || (memory?.hasJoined ?? false),
      record: new OwnRecord({ identity, meshId, role, facts, lastEpoch, random }),
      issuer: init.issuer,
    });
    this.#trust = trust;
    this.#random = random;
    this.#bootstrap = init.bootstrap;
    this.#memory = memory;
    this.#shared = new SharedState({
      self: this.#own.peer,
      trust,
      check,
      ...(init.readers === undefined ? {} : { readers: init.readers }),
    });
    this.#plan = new DialPlan({
      self: this.#own.peer,
      isLinked: (peer) => this.#sessions.isLinked(peer),
      linked: () => this.#sessions.peers(),
      keepsToItsMachine: () => this.#own.record.isLocal,
    });
    const parts = {
      own: this.#own,
      shared: this.#shared,
      sessions: this.#sessions,
      plan: this.#plan,
      outbox: this.#outbox,
      random,
    };
    this.#sharing = new Sharing(parts);
    const { loads = () => [], beats = true } = init;
    this.#liveness = new Liveness({ ...parts, sharing: this.#sharing, loads, beats });
    const knownPeers = (most: number): PeerAddresses[] => this.#knownPeers(most);
    this.#admissions = new Admissions({
      ...parts,
      trust,
      sharing: this.#sharing,
      liveness: this.#liveness,
      knownPeers,
    });
  }

  /** Monotonic time by which the next `woken` is wanted. */
  get nextWakeMs(): number {
    const never = Number.POSITIVE_INFINITY;
    const announceMs = this.#own.isMember ? this.#own.record.dueMs : never;
    const dialMs = this.#own.isExpelled ? never : (this.#plan.nextMs() ?? never);
    const liveMs = this.#liveness.nextMs();
    return Math.min(announceMs, dialMs, this.#syncMs, this.#sweepMs, this.#sessions.nextMs(), liveMs);
  }

  /** This node's own, which a renewal replaces. */
  get certificate(): Certificate {
    return this.#own.certificate;
  }

  /** What it could be a member by: that, and those it keeps to fall back on. */
  get certificates(): readonly Certificate[] {
    return [this.#own.certificate, ...this.#own.formers];
  }

  /** Whether this node is a member, as far as it knows. */
  get isMember(): boolean {
    return this.#own.isMember;
  }

  /** Takes one event and says what is to be done, in this order. */
  step(event: MembershipEvent, now: Now): MembershipEffect[] {
    this.#liveness.begin(now);
    this.#take(event, now);
    return this.#settle(now);
  }

  /** Takes an envelope that came by broadcast, and says whether it deserves to be passed on. */
  hear(
    peer: PeerId,
    envelope: Uint8Array,
    now: Now,
  ): { readonly verdict: HearingVerdict; readonly effects: MembershipEffect[] } {
    this.#liveness.begin(now);
    const verdict = verdictOf(this.#sharing.receive(envelope, peer, now));
    return { verdict, effects: this.#settle(now) };
  }

  /** What must survive the process. */
  memory(): MembershipMemory {
    return {
      epoch: this.#own.record.version.epoch,
      hasJoined: this.#own.hasJoined,
      certificate: this.#own.certificate.bytes,
      formers: this.#own.formers.map(({ bytes }) => bytes),
      proofs: [
        ...this.#trust.weightiest(trustLimits.rememberedBytes).map(({ bytes }) => bytes),
        ...this.#untimely,
      ],
      peers: this.#knownPeers(meshLimits.rememberedPeers),
    };
  }

  /** Every member that is known, this node included. */
  view(now: Now): MemberView[] {
    return [...this.#shared.table.entries()].flatMap(({ record, certificate }) => {
      const { peerId } = record;
      const isSilent = this.#liveness.isSilent(peerId);
      const isUp = this.isUp(peerId) && !isSilent;
      const isTalkedTo = (peer: PeerId): boolean => peer === this.#own.peer || isUp;
      const status = this.#shared.table.status(peerId, now.wallMs, isTalkedTo);
      return status === undefined ? [] : [{ record, certificate, status, isUp, isSilent }];
    });
  }

  /** Both sides have admitted each other over a link that stands. */
  isUp(peer: PeerId): boolean {
    return this.#sessions.isUp(peer);
  }

  /** What the beats of a neighbour say of it; undefined of whoever is none. */
  vitals(peer: PeerId, now: Now): Vitals | undefined {
    return this.#liveness.vitals(peer, now.monotonicMs);
  }

  /** The role in which a linked peer was admitted; undefined: it is not. What the gate asks. */
  roleOf(peer: PeerId): Role | undefined {
    return this.#sessions.roleOf(peer);
  }

  #take(event: MembershipEvent, now: Now): void {
    switch (event.type) {
      case 'started':
        this.#start(now);
        break;
      case 'linked':
        this.#admissions.linked(event.peer, now);
        break;
      case 'unlinked':
        this.#admissions.unlinked(event.peer, now);
        break;
      case 'lost':
        this.#admissions.lost(event.peer, now);
        break;
      case 'dial-failed':
        if (event.isTried) {
          this.#plan.failed(event.peer, now.monotonicMs);
        } else {
          this.#plan.postponed(event.peer, now.monotonicMs);
        }
        break;
      case 'message':
        this.#received(event.peer, event.message, now);
        break;
      case 'heard':
        this.#sharing.receive(event.envelope, event.peer, now);
        break;
      case 'facts':
        this.#own.record.change(event.facts, now);
        break;
      case 'woken':
        this.#woken(now);
        break;
      case 'publish':
        for (const bytes of event.envelopes) {
          this.#sharing.publish(readEnvelope(bytes, this.#trust.meshId), now);
        }
        break;
      case 'routed':
        this.#plan.suggest([{ peerId: event.peer, addresses: event.addresses }], now.monotonicMs);
        this.#plan.use(event.peer, now.monotonicMs);
        this.#liveness.routed(event.peer, now);
        break;
      case 'leave':
        this.#sharing.leave(now);
        break;
    }
  }

  #start(now: Now): void {
    this.#own.startedWallMs = now.wallMs;
    this.#syncMs = now.monotonicMs + this.#syncDelay();
    this.#sweepMs = now.monotonicMs + meshLimits.sweepMs;
    this.#untimely = [...(this.#memory?.proofs ?? [])];
    this.#offerUntimely(now);
    this.#plan.trust([...this.#bootstrap, ...(this.#memory?.peers ?? [])], now.monotonicMs);
    if (this.#own.hasJoined) {
      this.#outbox.notice({ type: 'joined' });
      this.#sharing.announce(now);
    }
  }

  #received(peer: PeerId, message: MeshMessage, now: Now): void {
    const session = this.#sessions.get(peer);
    if (session === undefined || session.closeMs !== undefined) {
      return;
    }
    if (message.type === 'hello') {
      this.#admissions.greeted(session, message, now);
    } else if (message.type === 'admitted') {
      this.#admissions.admitted(session, message, now);
    } else if (message.type === 'refused') {
      this.#admissions.refused(session, message, now);
    } else if (isUp(session)) {
      this.#liveness.heard(peer, now);
      this.#receivedFromMember(session, message, now);
    }
  }

  /** What only members say to each other. */
  #receivedFromMember(session: Session, message: MeshMessage, now: Now): void {
    if (isSyncMessage(message)) {
      // Answers are far larger than questions. What is not answered is asked again in the next round.
      if (!mayAnswer(session, now.monotonicMs)) {
        return;
      }
      this.#outbox.send(session.peer, ...answerSync(this.#shared.items, message));
    } else if (message.type === 'items') {
      for (const envelope of message.envelopes) {
        this.#admissions.judgeSender(session, this.#sharing.receive(envelope, session.peer, now), now);
      }
    } else if (message.type === 'renewal') {
      this.#renew(acceptRenewal(message, this.#own, this.#trust, now), now);
    } else if (isVital(message)) {
      this.#liveness.take(session.peer, message, now);
    }
  }

  #woken(now: Now): void {
    this.#liveness.woken(now);
    this.#admissions.closeOverdue(now);
    this.#admissions.repeatUnanswered(now);
    if (this.#own.isMember && this.#own.record.dueMs <= now.monotonicMs) {
      this.#sharing.announce(now);
    }
    if (this.#syncMs <= now.monotonicMs) {
      this.#syncMs = now.monotonicMs + this.#syncDelay();
      for (const { peer } of this.#sessions.drawn(meshLimits.syncPeers, this.#random)) {
        this.#outbox.send(peer, openSync(this.#shared.items));
      }
    }
    if (this.#sweepMs <= now.monotonicMs) {
      this.#sweepMs = now.monotonicMs + meshLimits.sweepMs;
      this.#sweep(now);
      this.#renewOthers(now);
    }
  }

  /** Proofs of earlier runs are taken when their time has come: a clock that is behind must not lose them. */
  #offerUntimely(now: Now): void {
    this.#untimely = this.#untimely.filter((proof) => {
      const received = this.#sharing.receive(proof, this.#own.peer, now);
      return isRefusal(received) && received.code === 'clock_skewed';
    });
  }

  /** Looks at everybody's standing again, this node's included. */
  #sweep(now: Now): void {
    this.#judgedVersion = this.#trust.version;
    this.#offerUntimely(now);
    for (const { peer, returns } of this.#shared.sweep(now.wallMs)) {
      this.#outbox.changed(peer);
      if (returns === 'none') {
        this.#plan.forget(peer);
      } else if (returns === 'doubtful') {
        this.#plan.doubt(peer);
      }
    }
    this.#admissions.rejudge(now);
    if (this.#own.fallBack((certificate) => this.#trust.judge(certificate, now.wallMs))) {
      this.#showCertificate(now);
    }
    this.#own.judged(this.#trust.judge(this.#own.certificate, now.wallMs), this.#outbox);
  }

  #renewOthers(now: Now): void {
    this.#renew(renewOwn(this.#own, now), now);
    for (const { peer, renewal } of dueRenewals(this.#own, this.#sessions.up(), this.#shared.table, now)) {
      this.#outbox.send(peer, renewal);
    }
  }

  #renew(certificate: Certificate | undefined, now: Now): void {
    if (certificate !== undefined) {
      this.#own.renewed(certificate);
      this.#showCertificate(now);
    }
  }

  /** What this node is now by. */
  #showCertificate(now: Now): void {
    this.#sharing.announce(now);
    this.#outbox.remember();
  }

  #settle(now: Now): MembershipEffect[] {
    if (this.#trust.version !== this.#judgedVersion) {
      this.#sweep(now);
    }
    for (const { peerId, addresses } of this.#own.isExpelled ? [] : this.#plan.due(now.monotonicMs)) {
      this.#outbox.dial(peerId, addresses);
    }
    return this.#outbox.drain();
  }

  #knownPeers(most: number): PeerAddresses[] {
    const left = (peer: PeerId): boolean => this.#shared.table.get(peer)?.record.left ?? false;
    return this.#plan
      .known()
      .filter(({ peerId }) => !left(peerId))
      .sort((a, b) => Number(this.isUp(b.peerId)) - Number(this.isUp(a.peerId)))
      .slice(0, most);
  }

  #syncDelay(): number {
    return jittered(this.#own.isClient ? meshLimits.clientSyncMs : meshLimits.syncMs, this.#random);
  }
}

function isVital(message: MeshMessage): message is Beat | BeatAnswer | Probe | ProbeAnswer {
  return ['beat', 'beat-answer', 'probe', 'probe-answer'].includes(message.type);
}

/** A remembered certificate of this node; nothing if it is none. */
function readOwn(bytes: Uint8Array, { peerId }: KeyPair, trust: MeshTrust): Certificate[] {
  try {
    const certificate = trust.certificate(bytes);
    return certificate.peerId === peerId ? [certificate] : [];
  } catch {
    return []; // Of another mesh, or damaged: what it is by now decides.
  }
}
