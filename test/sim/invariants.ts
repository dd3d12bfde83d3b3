// What must hold in every simulation: at each step for the node that took it, and after healing for all nodes
// together. Everything is held against the chronicle, never against another part of the code under test.

import type { Membership, MemberView } from '../../src/mesh/membership.ts';
import type { MembershipEffect, MembershipNotice } from '../../src/mesh/membership-events.ts';
import { readRecord } from '../../src/mesh/record-codec.ts';
import type { RecordVersion } from '../../src/mesh/version.ts';
import { readEnvelope } from '../../src/trust/envelope.ts';
import type { MeshId, PeerId } from '../../src/trust/keys.ts';
import { roles } from '../../src/trust/roles.ts';
import { meshLimits } from '../../src/util/limits/mesh.ts';
import { type Chronicle, versionText } from './chronicle.ts';
import type { NodeProcess, SimulatedNode } from './simulated-node.ts';

/** Names of what must hold; docs and failing seeds speak of them. */
export type InvariantName =
  | 'no-crash'
  | 'comes-to-rest'
  | 'invited-only'
  | 'own-words-only'
  | 'role-granted'
  | 'never-backwards'
  | 'no-resurrection'
  | 'versions-rise'
  | 'bounded'
  | 'no-false-conflict'
  | 'no-false-expulsion'
  | 'joins'
  | 'converges'
  | 'linked'
  | 'out-means-out'
  | 'gone-means-gone'
  | 'uses-counted'
  /** Who lives: liveness-invariants.ts. */
  | 'silent-for-cause'
  | 'silent-in-time'
  | 'gone-in-time'
  | 'no-false-death'
  | 'heard-again'
  | 'rtt-true'
  | 'no-voice'
  | 'rests';

export class InvariantViolation extends Error {
  readonly invariant: InvariantName;

  constructor(invariant: InvariantName, message: string) {
    super(`${invariant}: ${message}`);
    this.invariant = invariant;
  }
}

const slack = 1 + meshLimits.jitter;

/** Three rounds of anti-entropy: what a node has said is known to everybody who can be reached. */
export const spreadBoundMs = 3 * meshLimits.syncMs * slack;

/** After healing: the longest wait of a dial, then what was lost meanwhile is told. */
export const convergenceBoundMs = meshLimits.dialRetryMaxMs * slack + 10_000 + spreadBoundMs;

/** After healing: a record that nobody renews has run out by every clock. */
export const goneBoundMs = meshLimits.recordLifeMs + 2 * meshLimits.clockToleranceMs;

/** Steps of one node without any time going by: what was missed in a long pause comes at once. */
const mostStepsAtOnce = 5_000;

interface Sight {
  /** The newest version ever seen of a peer by this process. */
  version: RecordVersion;
  /** How it was seen last; undefined: not at all any more. */
  status: MemberView['status'] | undefined;
}

export interface WatchedMesh {
  readonly meshId: MeshId;
  readonly nodes: readonly SimulatedNode[];
  readonly chronicle: Chronicle;
  readonly nowMs: () => number;
}

export class Invariants {
  readonly #mesh: WatchedMesh;
  /** Per process what it has seen of each peer. */
  readonly #sights = new WeakMap<NodeProcess, Map<PeerId, Sight>>();
  /** Per process what it has announced last. */
  readonly #announced = new WeakMap<NodeProcess, RecordVersion>();
  /** The moment of the last step, and how many steps it had. */
  #moment = { atMs: 0, steps: 0 };
  readonly #names = new Map<PeerId, string>();
  /** Own versions over time, for the bound on spreading. */
  readonly #history = new Map<PeerId, { readonly atMs: number; readonly version: RecordVersion }[]>();

  constructor(mesh: WatchedMesh) {
    this.#mesh = mesh;
    for (const { peer, name } of mesh.nodes) {
      this.#names.set(peer, name);
    }
  }

  /** Checks one step of a node; throws InvariantViolation. */
  stepped(node: SimulatedNode, effects: readonly MembershipEffect[]): void {
    const { process } = node;
    this.#checkRest(node);
    if (process === undefined || !this.#mesh.chronicle.wasInvited(node.peer)) {
      return; // An intruder may think and say what it likes.
    }
    for (const effect of effects) {
      if (effect.type === 'broadcast') {
        this.#checkBroadcast(node, process, effect.envelope);
      } else if (effect.type === 'send') {
        this.#checkConfidence(node, effect);
      } else if (effect.type === 'notice') {
        this.#checkNotice(node, effect.notice);
      }
    }
    if (effects.some((effect) => effect.type === 'notice' && effect.notice.type === 'changed')) {
      this.checkView(node);
    }
  }

  /** Holds all that a node believes against the truth; throws InvariantViolation. */
  checkView(node: SimulatedNode): void {
    const { process } = node;
    if (process === undefined || process.isPaused || !this.#mesh.chronicle.isStanding(node.peer)) {
      return;
    }
    const views = process.membership.view(process.clock.now());
    if (views.length > this.#mesh.nodes.length) {
      this.#fail(
        'bounded',
        `${node.name} holds ${views.length} records in a mesh of ${this.#mesh.nodes.length}`,
      );
    }
    const sights = this.#sights.get(process) ?? new Map<PeerId, Sight>();
    this.#sights.set(process, sights);
    for (const view of views) {
      this.#checkMember(node, view);
      this.#checkHeard(node, process, view);
      this.#checkSight(node, view, sights);
    }
    const shown = new Set(views.map(({ record }) => record.peerId));
    for (const [peer, sight] of sights) {
      if (!shown.has(peer)) {
        sight.status = undefined;
      }
    }
  }

  /** After healing: everybody who belongs to the mesh and runs knows and reaches everybody else who does. */
  checkConverged(): void {
    for (const node of this.#mesh.nodes) {
      this.#checkJoined(node);
    }
    const members = this.#runningMembers();
    if (members.every(({ address }) => address === undefined)) {
      return; // Nobody is left who can be dialled, so nobody can learn anything.
    }
    for (const observer of members) {
      for (const subject of members) {
        if (observer !== subject) {
          this.#checkKnows(observer, subject);
        }
      }
      for (const view of viewOf(observer)) {
        this.#checkNotOut(observer, view);
      }
    }
    this.#checkUses(members);
  }

  /** Long after healing: nobody believes in those who are no more. */
  checkGone(): void {
    const running = new Set(this.#runningMembers().map(({ peer }) => peer));
    for (const observer of this.#runningMembers()) {
      for (const { record, status, isUp } of viewOf(observer)) {
        if (!running.has(record.peerId) && (status === 'alive' || isUp)) {
          this.#fail(
            'gone-means-gone',
            `${observer.name} still shows ${this.#name(record.peerId)} as ${status}`,
          );
        }
      }
    }
  }

  #checkRest({ name }: SimulatedNode): void {
    const atMs = this.#mesh.nowMs();
    const steps = this.#moment.atMs === atMs ? this.#moment.steps + 1 : 1;
    this.#moment = { atMs, steps };
    if (steps > mostStepsAtOnce * this.#mesh.nodes.length) {
      this.#fail('comes-to-rest', `${name} and others took ${steps} steps in one moment`);
    }
  }

  #checkBroadcast(node: SimulatedNode, process: NodeProcess, bytes: Uint8Array): void {
    const envelope = readEnvelope(bytes, this.#mesh.meshId);
    if (envelope.kind !== 'record') {
      return;
    }
    const version = readRecord(envelope.payload, envelope.signer);
    const last = this.#announced.get(process);
    if (last !== undefined && !isOlder(last, version)) {
      this.#fail(
        'versions-rise',
        `${node.name} announces ${versionText(version)} after ${versionText(last)}`,
      );
    }
    const { outlivedEpoch } = process;
    if (outlivedEpoch !== undefined && version.epoch <= outlivedEpoch) {
      this.#fail('versions-rise', `${node.name} starts with epoch ${version.epoch} after ${outlivedEpoch}`);
    }
    this.#announced.set(process, version);
    this.#mesh.chronicle.announced(node.peer, version);
    const history = this.#history.get(node.peer) ?? [];
    this.#history.set(node.peer, [...history.slice(-40), { atMs: this.#mesh.nowMs(), version }]);
  }

  /** What members share is told to nobody who was never asked in. */
  #checkConfidence(
    node: SimulatedNode,
    { peer, message }: Extract<MembershipEffect, { type: 'send' }>,
  ): void {
    const isPublic = message.type === 'hello' || message.type === 'refused';
    if (!isPublic && !this.#mesh.chronicle.wasInvited(peer)) {
      this.#fail('invited-only', `${node.name} sends ${message.type} to the outsider ${this.#name(peer)}`);
    }
  }

  #checkNotice(node: SimulatedNode, notice: MembershipNotice): void {
    const { chronicle } = this.#mesh;
    if (notice.type === 'up' && !chronicle.wasInvited(notice.peer)) {
      this.#fail('invited-only', `${node.name} lets the outsider ${this.#name(notice.peer)} in`);
    }
    if (notice.type === 'key-conflict') {
      this.#fail('no-false-conflict', `${node.name} takes its own earlier life for another process`);
    }
    const mayBeOverspent = chronicle.inviteOf(node.peer)?.isGenerous === false;
    if (notice.type === 'expelled' && chronicle.isStanding(node.peer) && !mayBeOverspent) {
      this.#fail('no-false-expulsion', `${node.name} holds itself expelled: ${notice.message}`);
    }
  }

  #checkMember({ name }: SimulatedNode, { record, certificate }: MemberView): void {
    const { chronicle } = this.#mesh;
    const subject = this.#name(record.peerId);
    if (!chronicle.wasInvited(record.peerId)) {
      this.#fail('invited-only', `${name} holds a record of the outsider ${subject}`);
    }
    if (!chronicle.hasAnnounced(record.peerId, record)) {
      this.#fail(
        'own-words-only',
        `${name} holds ${subject}@${versionText(record)}, which ${subject} never said`,
      );
    }
    const granted = chronicle.inviteOf(record.peerId)?.role ?? 'admin';
    if (roles.indexOf(record.role) > roles.indexOf(granted)) {
      this.#fail('role-granted', `${name} believes ${subject} to be ${record.role}`);
    }
    const inviter = chronicle.inviteOf(record.peerId)?.by;
    const isByAdmin = inviter !== undefined && chronicle.inviteOf(inviter) !== undefined;
    if (record.role === 'admin' && isByAdmin && certificate.depth === 1) {
      this.#fail('role-granted', `${name} believes ${subject} to be an admin of the mesh key`);
    }
  }

  /** Who holds a revocation acts by it at once. */
  #checkHeard({ name }: SimulatedNode, process: NodeProcess, { record, certificate }: MemberView): void {
    const judgement = process.trust.judge(certificate, process.clock.now().wallMs);
    if (!judgement.standing && judgement.code === 'certificate_revoked') {
      this.#fail('out-means-out', `${name} knows that ${this.#name(record.peerId)} is out and shows it`);
    }
  }

  #checkSight(
    { name }: SimulatedNode,
    { record, status, isUp }: MemberView,
    sights: Map<PeerId, Sight>,
  ): void {
    const { peerId, epoch, sequence } = record;
    const sight = sights.get(peerId);
    if (sight === undefined) {
      sights.set(peerId, { version: { epoch, sequence }, status });
      return;
    }
    const what = `${this.#name(peerId)}@${versionText(record)}`;
    if (isOlder(record, sight.version)) {
      this.#fail('never-backwards', `${name} goes back to ${what} from ${versionText(sight.version)}`);
    }
    // Who has taken an invite that is too small may lose its standing and get it back as news of the uses arrive.
    const mayWaver = this.#mesh.chronicle.inviteOf(peerId)?.isGenerous === false;
    const wasForgotten = sight.status === undefined && !mayWaver;
    const wasOver = wasForgotten || sight.status === 'left' || sight.status === 'expired';
    // Who can be talked to is alive before its new record is here.
    if (status === 'alive' && !isUp && wasOver && !isOlder(sight.version, record)) {
      this.#fail('no-resurrection', `${name} shows ${what} as alive again without a new word of it`);
    }
    if (status === 'alive' && sight.status === 'left') {
      this.#fail('no-resurrection', `${name} shows ${what} as alive after it has left`);
    }
    sight.version = { epoch, sequence };
    sight.status = status;
  }

  #checkJoined(node: SimulatedNode): void {
    const invite = this.#mesh.chronicle.inviteOf(node.peer);
    const { process } = node;
    const belongs = this.#mesh.chronicle.isStanding(node.peer) && invite?.isGenerous !== false;
    const members = this.#runningMembers();
    const canAsk = invite?.contacts.some((contact) => members.some(({ peer }) => peer === contact)) ?? true;
    if (belongs && canAsk && process !== undefined && !process.membership.isMember) {
      this.#fail('joins', `${node.name} is still not in`);
    }
  }

  #checkKnows(observer: RunningNode, subject: RunningNode): void {
    const seen = viewOf(observer).find(({ record }) => record.peerId === subject.peer);
    const oldest = this.#oldestAllowed(subject.peer);
    const known = seen === undefined ? 'not at all' : `as ${seen.status} at ${versionText(seen.record)}`;
    if (seen?.status !== 'alive' || (oldest !== undefined && isOlder(seen.record, oldest))) {
      const wanted = oldest === undefined ? '' : `, wanted at ${versionText(oldest)}`;
      this.#fail('converges', `${observer.name} knows ${subject.name} ${known}${wanted}`);
    }
    const canLink = observer.address !== undefined || subject.address !== undefined;
    if (canLink && !seen.isUp) {
      this.#fail('linked', `${observer.name} has no link to ${subject.name}`);
    }
  }

  #checkNotOut(observer: RunningNode, { record, status, isUp }: MemberView): void {
    const outMs = this.#mesh.chronicle.outSinceMs(record.peerId);
    if (outMs !== undefined && (status === 'alive' || isUp)) {
      const state = isUp ? 'linked' : status;
      this.#fail('out-means-out', `${observer.name} shows ${this.#name(record.peerId)} as ${state}`);
    }
  }

  /** Everybody agrees on who came in by an invite (see checkKnows), so one view tells how many. */
  #checkUses(members: readonly RunningNode[]): void {
    for (const observer of members) {
      const taken = new Map<number, number>();
      for (const { record, certificate, status } of viewOf(observer)) {
        const invite = this.#mesh.chronicle.inviteOf(record.peerId);
        // Who was renewed is a member by the word of who did that.
        if (invite !== undefined && certificate.invite !== undefined && status === 'alive') {
          const count = (taken.get(invite.invite) ?? 0) + 1;
          taken.set(invite.invite, count);
          if (count > invite.maxUses) {
            this.#fail('uses-counted', `${observer.name} shows ${count} by an invite for ${invite.maxUses}`);
          }
        }
      }
    }
  }

  /** What `peer` had said last before the news of it could still be underway. */
  #oldestAllowed(peer: PeerId): RecordVersion | undefined {
    const limitMs = this.#mesh.nowMs() - spreadBoundMs;
    return this.#history.get(peer)?.findLast(({ atMs }) => atMs <= limitMs)?.version;
  }

  #runningMembers(): RunningNode[] {
    return this.#mesh.nodes.flatMap((node) => {
      const { process, peer, name, address } = node;
      const isMember = this.#mesh.chronicle.isStanding(peer) && process?.membership.isMember;
      return isMember && process !== undefined && !process.isPaused ? [{ process, peer, name, address }] : [];
    });
  }

  #name(peer: PeerId): string {
    return this.#names.get(peer) ?? peer;
  }

  #fail(invariant: InvariantName, message: string): never {
    throw new InvariantViolation(invariant, message);
  }
}

interface RunningNode {
  readonly process: NodeProcess;
  readonly peer: PeerId;
  readonly name: string;
  readonly address: string | undefined;
}

function viewOf({ process }: RunningNode): ReturnType<Membership['view']> {
  return process.membership.view(process.clock.now());
}

/** The order of versions, said once more: what is checked must not be checked by itself. */
function isOlder(one: RecordVersion, other: RecordVersion): boolean {
  return one.epoch < other.epoch || (one.epoch === other.epoch && one.sequence < other.sequence);
}
