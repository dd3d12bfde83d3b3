// What must hold of members' opinions about who lives, with bounds in milliseconds: held against what the simulation
// did to nodes and network (whereabouts.ts), never against another part of the code under test.

import { readDeath } from '../../src/mesh/death.ts';
import type { MemberView } from '../../src/mesh/membership.ts';
import type { MembershipEffect } from '../../src/mesh/membership-events.ts';
import { readEnvelope } from '../../src/trust/envelope.ts';
import type { MeshId, PeerId } from '../../src/trust/keys.ts';
import { beatLimits, meshLimits } from '../../src/util/limits/mesh.ts';
import type { Chronicle } from './chronicle.ts';
import { type InvariantName, InvariantViolation } from './invariants.ts';
import type { NodeProcess, SimulatedNode } from './simulated-node.ts';
import type { NetworkConditions, VirtualNetwork } from './virtual-network.ts';
import { type Vanishing, voicesOf, type Whereabouts } from './whereabouts.ts';

/** As the module was loaded: a mistake planted there later must not move the bounds. */
const promised = { ...beatLimits };

/** How often everybody's opinions are looked at. */
export const livenessLookMs = 250;

/** Quantiles cost more than all else: each so many looks. */
const rttLooks = 8;

/** A tick of the virtual clock, and no more. */
const tickMs = 1;

/** Nothing is heard for so long: the moment is over in which what was heard before still counts. */
const cutOffMs = 2 * promised.beatMs;

export interface LivenessBounds {
  /** From the last word to silence. */
  readonly silentMs: number;
  /** From the last word to the view of the mesh, unless news of the dead node is still on its way. */
  readonly deadMs: number;
  /** The same if it had announced itself shortly before: neighbours say it again of its last record. */
  readonly deadAfterNewsMs: number;
  /** From the first link to everybody's knowledge that a node lives after all. */
  readonly refutedMs: number;
  /** The same of a client's, which asks for what is new now and then. */
  readonly refutedToClientMs: number;
  /** From a standing link to the end of silence about who is at its other end. */
  readonly heardMs: number;
  /** Messages that a node sends in a second of rest to so many others. */
  readonly restMessages: (others: number) => number;
}

/** What holds on a network whose slowest message takes so long. */
export function livenessBounds({ delayMs, jitterMs, loss }: NetworkConditions): LivenessBounds {
  const mostMs = delayMs + jitterMs;
  const { silentMs, probeMs, staggerMs, beatMs, reprobeMs } = promised;
  // A lost message comes with the next comparison; on real links only a lost link loses any.
  const lostMs = loss > 0 ? 2 * meshLimits.syncMs * (1 + meshLimits.jitter) : 0;
  const verdictMs = silentMs + probeMs + staggerMs;
  // The last word on its way, the verdict on its way to whom its author is linked, and once more from there.
  const deadMs = verdictMs + 3 * mostMs + lostMs;
  // Greetings, a comparison, an announcement at the decent rate, and from neighbour to neighbour.
  const refutedMs = 3_000 + 16 * mostMs + lostMs;
  return {
    silentMs: silentMs + mostMs + tickMs,
    deadMs,
    // It refutes what was said before, and for one round it is taken for a word of who is still heard by somebody.
    deadAfterNewsMs: deadMs + newsMs(mostMs) + 2 * (reprobeMs + probeMs + staggerMs) + mostMs,
    refutedMs,
    refutedToClientMs: refutedMs + meshLimits.clientSyncMs * (1 + meshLimits.jitter),
    heardMs: (loss > 0 ? 4 : 1) * beatMs + 3 * mostMs + livenessLookMs,
    // A beat or its answer each second, and both ways every tenth.
    restMessages: (others) => 1.5 * others + 2,
  };
}

/** In which an announcement reaches everybody by broadcast: three heartbeats in which it is told of, and its hops. */
function newsMs(mostDelayMs: number): number {
  return 3_000 + 6 * mostDelayMs;
}

export interface WatchedLives {
  readonly meshId: MeshId;
  readonly nodes: readonly SimulatedNode[];
  readonly network: VirtualNetwork;
  readonly chronicle: Chronicle;
  readonly whereabouts: Whereabouts;
  readonly nowMs: () => number;
}

/** A node that runs, and what it thinks of each other. */
interface Observer {
  readonly node: SimulatedNode;
  readonly process: NodeProcess;
  readonly views: ReadonlyMap<PeerId, MemberView>;
}

export class LivenessInvariants {
  readonly bounds: LivenessBounds;
  readonly #lives: WatchedLives;
  readonly #conditions: NetworkConditions;
  readonly #names: ReadonlyMap<PeerId, string>;
  readonly #liars = new Set<PeerId>();
  /** By `asker subject`: when a liar vouched last. */
  readonly #vouched = new Map<string, number>();
  /** Whom each node had up at the last looks, the newest first: whom it may have asked for a verdict. */
  readonly #lastUp = new Map<PeerId, PeerId[][]>();
  /** By `observer subject`: since when it is shown as anything but alive. */
  readonly #deadSinceMs = new Map<string, number>();
  /** The same for whom it holds silent. */
  readonly #silentSinceMs = new Map<string, number>();
  readonly #announcedMs = new Map<PeerId, number>();
  /** When each node signed its verdicts. */
  readonly #verdictsMs = new Map<PeerId, number[]>();
  #looks = 0;
  #restFrom: { readonly atMs: number; readonly sent: ReadonlyMap<PeerId, number> } | undefined;

  constructor(lives: WatchedLives, conditions: NetworkConditions) {
    this.#lives = lives;
    this.#conditions = conditions;
    this.bounds = livenessBounds(conditions);
    this.#names = new Map(lives.nodes.map(({ peer, name }) => [peer, name]));
  }

  /** From now on this node's word is worth nothing. */
  lies(peer: PeerId): void {
    this.#liars.add(peer);
  }

  vouched(asker: PeerId, subject: PeerId): void {
    this.#vouched.set(`${asker} ${subject}`, this.#lives.nowMs());
  }

  /** Checks one step of a node; throws InvariantViolation. */
  stepped(node: SimulatedNode, effects: readonly MembershipEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'notice' && (effect.notice.type === 'silent' || effect.notice.type === 'gone')) {
        this.#checkCause(node, effect.notice.peer, effect.notice.type);
      } else if (effect.type === 'broadcast') {
        this.#checkBroadcast(node, effect.envelope);
      }
    }
  }

  /** Holds everybody's opinion of everybody against the truth; throws InvariantViolation. */
  look(): void {
    this.#lives.whereabouts.look();
    const observers = this.#observers();
    this.#looks++;
    for (const observer of observers) {
      this.#noteUp(observer);
      for (const subject of this.#lives.nodes) {
        const view = observer.views.get(subject.peer);
        if (subject !== observer.node && view !== undefined && !this.#lives.chronicle.hasLeft(subject.peer)) {
          this.#checkSilenceInTime(observer, view);
          this.#checkGoneInTime(observer, view);
          this.#checkFalseDeath(observer, view);
          this.#checkHeardAgain(observer, view);
          if (this.#looks % rttLooks === 0) {
            this.#checkRtt(observer, view);
          }
        }
      }
    }
  }

  /** From now on nothing happens: what is sent is counted. */
  restBegins(): void {
    this.#restFrom = { atMs: this.#lives.nowMs(), sent: this.#sent() };
  }

  /** At the very end: everybody who lives is alive for everybody, and a mesh at rest has said little. */
  checkEnd(): void {
    const observers = this.#observers().filter(({ node }) => this.#lives.chronicle.isStanding(node.peer));
    for (const observer of observers) {
      for (const { node } of observers) {
        const view = observer.views.get(node.peer);
        const isSilent = view?.isSilent && !this.#mayBeSilent(observer, node.peer);
        if (view?.status !== 'alive' || isSilent) {
          const shown = view?.isSilent ? 'silent' : String(view?.status);
          this.#fail('no-false-death', `${observer.node.name} shows ${node.name} as ${shown} at the end`);
        }
      }
    }
    this.#checkRest();
  }

  /** Where words get lost one after another anybody may fall silent at any time, the last second too, but not for long. */
  #mayBeSilent({ node }: Observer, peer: PeerId): boolean {
    const nowMs = this.#lives.nowMs();
    const sinceMs = this.#silentSinceMs.get(`${node.peer} ${peer}`) ?? nowMs;
    return this.#conditions.loss > 0 && nowMs - sinceMs <= this.bounds.heardMs;
  }

  #noteUp({ node, views }: Observer): void {
    const up = [...views.values()].filter(({ isUp }) => isUp).map(({ record }) => record.peerId);
    const before = this.#lastUp.get(node.peer) ?? [];
    const { probeMs, staggerMs } = promised;
    const looks = Math.ceil((probeMs + staggerMs) / livenessLookMs) + 1;
    this.#lastUp.set(node.peer, [up, ...before].slice(0, looks));
  }

  #checkRest(): void {
    if (this.#restFrom === undefined) {
      return;
    }
    const { atMs, sent } = this.#restFrom;
    const seconds = (this.#lives.nowMs() - atMs) / 1000;
    const most = this.bounds.restMessages(this.#lives.nodes.length - 1);
    for (const [peer, messages] of this.#sent()) {
      const each = (messages - (sent.get(peer) ?? 0)) / seconds;
      if (each > most) {
        this.#fail('rests', `${this.#name(peer)} sends ${each.toFixed(1)} messages a second, of ${most}`);
      }
    }
  }

  /** Who was heard all the time is not silent, whatever happened to the listener or to others. */
  #checkCause({ peer, name }: SimulatedNode, subject: PeerId, what: 'silent' | 'gone'): void {
    const { whereabouts, nowMs, chronicle } = this.#lives;
    const clearMs = Math.max(
      whereabouts.audibleSinceMs(subject, peer),
      whereabouts.pairUncutSinceMs(subject, peer),
      // Who came back must be linked again before it is heard.
      what === 'gone' ? whereabouts.linkedSinceMs(peer, subject) : 0,
    );
    const { delayMs, jitterMs, loss } = this.#conditions;
    const agoMs = promised.silentMs + promised.probeMs + promised.staggerMs + 2 * (delayMs + jitterMs);
    // Who did not run hears of everything when it runs again.
    const ranMs = whereabouts.runsSinceMs(peer) > nowMs() - agoMs ? whereabouts.ranUntilMs(peer) : nowMs();
    const causeMs = ranMs - agoMs;
    if (loss === 0 && clearMs <= causeMs && !chronicle.hasLeft(subject)) {
      this.#fail(
        'silent-for-cause',
        `${name} holds ${this.#name(subject)} ${what}, which was heard all the time`,
      );
    }
  }

  #checkBroadcast(node: SimulatedNode, bytes: Uint8Array): void {
    const { peer, name, process } = node;
    const { nowMs, meshId, chronicle, whereabouts } = this.#lives;
    const envelope = readEnvelope(bytes, meshId);
    const { kind } = envelope;
    if (kind === 'record') {
      this.#announcedMs.set(peer, nowMs());
    }
    if (kind !== 'death') {
      return;
    }
    this.#verdictsMs.set(peer, [...(this.#verdictsMs.get(peer) ?? []), nowMs()]);
    if (chronicle.inviteOf(peer)?.role === 'client') {
      this.#fail('no-voice', `the client ${name} tells a verdict`);
    }
    if (!this.#liars.has(peer)) {
      this.#checkVerdict(node, readDeath(envelope.payload, envelope.signer).subject);
    }
    const { delayMs, jitterMs } = this.#conditions;
    // What waited while it did not run is read then.
    const deafMs = Math.max(whereabouts.deafSinceMs(peer), whereabouts.runsSinceMs(peer));
    const isDeaf = deafMs < nowMs() - cutOffMs - delayMs - jitterMs;
    const isShown = ({ record, status }: MemberView): boolean => status === 'alive' && record.peerId !== peer;
    const others = process?.membership.view(process.clock.now()).filter(isShown) ?? [];
    if (isDeaf && others.length > 1) {
      this.#fail('no-voice', `${name} hears nobody and tells a verdict`);
    }
  }

  /** Who asks three others, of whom not three could have failed to hear of a node, holds nobody dead that they hear. */
  #checkVerdict({ peer, name }: SimulatedNode, subject: PeerId): void {
    const { whereabouts, nodes, nowMs, chronicle } = this.#lives;
    const { delayMs, jitterMs, loss } = this.#conditions;
    const { probeMs, silentMs, staggerMs } = promised;
    const sinceMs = nowMs() - silentMs - probeMs - staggerMs;
    const helpers = new Set(this.#lastUp.get(peer)?.flat());
    helpers.delete(subject);
    const isLinked = (one: PeerId, other: PeerId): boolean =>
      whereabouts.linkedSinceMs(one, other) <= sinceMs;
    const witnesses = nodes.filter((node) => isLinked(peer, node.peer) && isLinked(node.peer, subject));
    const isFast = loss === 0 && 4 * (delayMs + jitterMs) < probeMs;
    const isSeen = witnesses.length > 0 && helpers.size - witnesses.length < promised.helpers;
    const hasRun = whereabouts.runsSinceMs(peer) <= sinceMs;
    if (isFast && isSeen && hasRun && !chronicle.hasLeft(subject)) {
      const heardBy = witnesses.map((node) => node.name).join(', ');
      this.#fail(
        'silent-for-cause',
        `${name} holds ${this.#name(subject)} dead, which ${heardBy} could hear`,
      );
    }
  }

  #checkSilenceInTime({ node, process }: Observer, { record, isUp }: MemberView): void {
    const { whereabouts, nowMs } = this.#lives;
    const sinceMs = whereabouts.inaudibleSinceMs(record.peerId, node.peer);
    const hasRun = whereabouts.runsSinceMs(node.peer) <= sinceMs;
    if (isUp && hasRun && nowMs() - sinceMs > this.bounds.silentMs && !process.isPaused) {
      const subject = this.#name(record.peerId);
      this.#fail('silent-in-time', `${node.name} takes ${subject} for up, not heard since ${sinceMs}`);
    }
  }

  #checkGoneInTime({ node, views }: Observer, { record, status }: MemberView): void {
    const { whereabouts, nowMs, chronicle, nodes } = this.#lives;
    const { peerId } = record;
    const vanished = whereabouts.vanished(peerId);
    if (vanished === undefined || status !== 'alive') {
      return;
    }
    const { delayMs, jitterMs } = this.#conditions;
    const hadNews = vanished.atMs - (this.#announcedMs.get(peerId) ?? 0) < newsMs(delayMs + jitterMs);
    // A verdict counts no more when its author leaves; others say it then.
    const leftMs = nodes.map((other) => chronicle.leftMs(other.peer) ?? 0);
    const sinceMs = Math.max(vanished.atMs, ...leftMs);
    const isPlain = !hadNews && sinceMs === vanished.atMs;
    const isLate = nowMs() - sinceMs > (isPlain ? this.bounds.deadMs : this.bounds.deadAfterNewsMs);
    // Two neighbours must say so; one, where there is but one.
    const voices = new Set([
      ...(vanished.voices.get(node.peer) ?? []),
      ...voicesOf([...views.values()], peerId),
    ]);
    const needed = voices.size <= 1 ? 1 : 2;
    if (
      isLate &&
      this.#isWitness(node.peer, peerId, vanished) &&
      this.#voices(node.peer, peerId, vanished) >= needed
    ) {
      this.#fail(
        'gone-in-time',
        `${node.name} shows ${this.#name(peerId)} as alive, gone at ${vanished.atMs}`,
      );
    }
  }

  /** How many honest neighbours of a vanished node told `observer` of it, if they do what they should. */
  #voices(observer: PeerId, subject: PeerId, vanished: Vanishing): number {
    const { chronicle, whereabouts, nowMs } = this.#lives;
    const speaks = (peer: PeerId): boolean => {
      const isTricked = (this.#vouched.get(`${peer} ${subject}`) ?? 0) >= vanished.atMs;
      const recent = (this.#verdictsMs.get(peer) ?? []).filter((atMs) => nowMs() - atMs < 60_000);
      const isHonest = !this.#liars.has(peer) && chronicle.inviteOf(peer)?.role !== 'client';
      return isHonest && !isTricked && recent.length < meshLimits.deathsPerMinute - 1;
    };
    const reaches = (peer: PeerId): boolean =>
      peer === observer || whereabouts.linkedSinceMs(peer, observer) <= vanished.atMs;
    return [...vanished.neighbours].filter(
      (peer) => speaks(peer) && reaches(peer) && this.#isWitness(peer, subject, vanished),
    ).length;
  }

  /** A node that has run since, and between which and the others nothing was cut. */
  #isWitness(peer: PeerId, subject: PeerId, { atMs }: Vanishing): boolean {
    const { whereabouts } = this.#lives;
    const wholeMs = Math.max(whereabouts.runsSinceMs(peer), whereabouts.uncutSinceMs(peer, subject));
    return wholeMs <= atMs - promised.silentMs;
  }

  #checkFalseDeath({ node }: Observer, { record, status }: MemberView): void {
    const { whereabouts, nowMs } = this.#lives;
    const key = `${node.peer} ${record.peerId}`;
    const deadMs = status === 'alive' ? nowMs() : (this.#deadSinceMs.get(key) ?? nowMs());
    this.#deadSinceMs.set(key, deadMs);
    const joinedMs = whereabouts.joinedSinceMs(node.peer, record.peerId);
    const isClient = this.#lives.chronicle.inviteOf(node.peer)?.role === 'client';
    const boundMs = isClient ? this.bounds.refutedToClientMs : this.bounds.refutedMs;
    if (status !== 'alive' && nowMs() - Math.max(joinedMs, deadMs) > boundMs) {
      this.#fail(
        'no-false-death',
        `${node.name} shows ${this.#name(record.peerId)} as ${status}, which lives`,
      );
    }
  }

  #checkHeardAgain({ node, process }: Observer, { record, isSilent }: MemberView): void {
    const { whereabouts, nowMs } = this.#lives;
    const { peerId } = record;
    const key = `${node.peer} ${peerId}`;
    const silentMs = isSilent ? (this.#silentSinceMs.get(key) ?? nowMs()) : nowMs();
    this.#silentSinceMs.set(key, silentMs);
    const linkedMs = Math.max(
      // Where words get lost one after another anybody may fall silent at any time.
      this.#conditions.loss > 0 ? silentMs : 0,
      whereabouts.linkedSinceMs(node.peer, peerId),
      whereabouts.audibleSinceMs(peerId, node.peer),
    );
    const isMutual = this.#processOf(peerId)?.membership.isUp(node.peer) && process.membership.isUp(peerId);
    if (isSilent && isMutual && nowMs() - linkedMs > this.bounds.heardMs) {
      this.#fail('heard-again', `${node.name} holds ${this.#name(peerId)} silent, linked since ${linkedMs}`);
    }
  }

  /** Nothing comes back sooner than there and back takes. */
  #checkRtt({ node, process }: Observer, { record }: MemberView): void {
    const rtt = process.membership.vitals(record.peerId, process.clock.now())?.rtt;
    if (rtt !== undefined && rtt.p50Ms < 2 * this.#conditions.delayMs) {
      const subject = this.#name(record.peerId);
      this.#fail('rtt-true', `${node.name} believes that ${subject} is ${rtt.p50Ms.toFixed(1)} ms away`);
    }
  }

  #observers(): Observer[] {
    return this.#lives.nodes.flatMap((node) => {
      const { process } = node;
      if (process === undefined || process.isPaused) {
        return [];
      }
      const views = process.membership.view(process.clock.now());
      return [{ node, process, views: new Map(views.map((view) => [view.record.peerId, view])) }];
    });
  }

  #processOf(peer: PeerId): NodeProcess | undefined {
    return this.#lives.nodes.find((node) => node.peer === peer)?.process;
  }

  #sent(): Map<PeerId, number> {
    const { nodes, network } = this.#lives;
    return new Map(nodes.map(({ peer }) => [peer, network.sent(peer).messages]));
  }

  #name(peer: PeerId): string {
    return this.#names.get(peer) ?? peer;
  }

  #fail(invariant: InvariantName, message: string): never {
    throw new InvariantViolation(invariant, message);
  }
}
