// Who of the neighbours lives: beats them, notices their silence, asks others about it, and comes to a verdict. Silence
// is this node's own opinion and takes a node out of its routing only; a verdict is signed and told, and counts for
// the mesh once a second neighbour has said the same (table.ts).
import type { PeerId } from '../trust/keys.ts';
import { beatLimits, meshLimits } from '../util/limits/mesh.ts';
import type { Random } from '../util/random.ts';
import type { Now } from './membership-events.ts';
import type { Beat, BeatAnswer, Probe, ProbeAnswer } from './message.ts';
import type { ModelLoad } from './model-load.ts';
import type { Outbox } from './outbox.ts';
import type { OwnNode } from './own-node.ts';
import { Probes } from './probes.ts';
import { type AwaitedWord, type PeerLoad, Pulse, type Silence } from './pulse.ts';
import { pairScore } from './rendezvous.ts';
import type { Sessions } from './sessions.ts';
import type { SharedState } from './shared-state.ts';
import type { Sharing } from './sharing.ts';
import { compareVersions, type RecordVersion } from './version.ts';

export interface LivenessParts {
  readonly own: OwnNode;
  readonly shared: SharedState;
  readonly sessions: Sessions;
  readonly sharing: Sharing;
  readonly outbox: Outbox;
  readonly random: Random;
  /** What this node's models have to do at the moment. */
  readonly loads: () => readonly ModelLoad[];
  /** False: no beats are sent, and nobody is silent before its link is lost. */
  readonly beats: boolean;
}

/** What the beats of a neighbour say of it. */
export interface Vitals {
  readonly isSilent: boolean;
  readonly rtt: { readonly p50Ms: number; readonly p95Ms: number } | undefined;
  readonly load: PeerLoad | undefined;
  /** Monotonic time of its last word. */
  readonly heardMs: number;
  /** The word of it that is waited for; undefined if its silence says nothing. */
  readonly awaited: AwaitedWord | undefined;
}

const never = Number.POSITIVE_INFINITY;

export class Liveness {
  readonly #parts: LivenessParts;
  /** Of whoever is up, and of whoever was and is not given up yet. */
  readonly #pulses = new Map<PeerId, Pulse>();
  readonly #probes = new Probes();
  /** Neighbours that are beaten in a large mesh; undefined: to be chosen anew. */
  #chosen: ReadonlySet<PeerId> | undefined;
  #beatMs = 0;
  /** When this machine said it wanted to be woken. */
  #promisedMs = never;

  constructor(parts: LivenessParts) {
    this.#parts = parts;
  }

  /** Before anything else of a step: a process that did not run finds nobody silent for it. */
  begin({ monotonicMs }: Now): void {
    const lateMs = monotonicMs - this.#promisedMs;
    this.#promisedMs = never;
    if (lateMs > beatLimits.lateMs) {
      for (const pulse of this.#pulses.values()) {
        pulse.excuse(lateMs, monotonicMs);
      }
    }
  }

  /** Monotonic time by which `woken` is wanted; taken for a promise. */
  nextMs(): number {
    let nextMs = this.#beats ? this.#beatMs : never;
    for (const pulse of this.#pulses.values()) {
      nextMs = Math.min(nextMs, pulse.dueMs);
    }
    this.#promisedMs = nextMs;
    return nextMs;
  }

  /** Both sides have admitted each other. */
  up(peer: PeerId, { monotonicMs }: Now): void {
    const pulse = this.#pulses.get(peer) ?? new Pulse(peer, monotonicMs);
    pulse.heard(monotonicMs);
    this.#pulses.set(peer, pulse);
    this.#chosen = undefined;
    if (this.#parts.beats) {
      this.#beatMs = this.#pulses.size === 1 ? monotonicMs + beatLimits.beatMs : this.#beatMs;
      this.#beatIfMeant(pulse, monotonicMs);
    }
  }

  /** The last link to a neighbour broke: it is silent at once. */
  lost(peer: PeerId, now: Now): void {
    const pulse = this.#pulses.get(peer);
    this.#chosen = undefined;
    if (this.#parts.shared.table.get(peer)?.record.left) {
      this.dropped(peer);
    } else if (pulse !== undefined && pulse.silence === undefined) {
      this.#fallSilent(pulse, now);
    }
  }

  /** A neighbour was sent away: nobody waits for it. */
  dropped(peer: PeerId): void {
    this.#pulses.delete(peer);
    this.#chosen = undefined;
  }

  /** Anything came from a member. */
  heard(peer: PeerId, { monotonicMs }: Now): void {
    const pulse = this.#pulses.get(peer);
    if (pulse === undefined) {
      return;
    }
    const wasSilent = pulse.silence !== undefined;
    pulse.heard(monotonicMs);
    if (wasSilent) {
      this.#parts.outbox.notice({ type: 'heard', peer });
      this.#parts.outbox.changed(peer);
    }
  }

  /** This node sends a member requests: above meshLimits.fullMesh it would not be beaten otherwise. */
  routed(peer: PeerId, { monotonicMs }: Now): void {
    const pulse = this.#pulses.get(peer);
    if (pulse !== undefined) {
      pulse.routedMs = monotonicMs;
      if (pulse.beatenMs === undefined && this.#parts.beats) {
        this.#beatIfMeant(pulse, monotonicMs);
      }
    }
  }

  /** What only members say. */
  take(peer: PeerId, message: Beat | BeatAnswer | Probe | ProbeAnswer, now: Now): void {
    const pulse = this.#pulses.get(peer);
    if (pulse === undefined) {
      return;
    }
    switch (message.type) {
      case 'beat':
        this.#answer(pulse, message, now.monotonicMs);
        break;
      case 'beat-answer':
        this.#answered(pulse, message, now.monotonicMs);
        break;
      case 'probe':
        this.#probed(peer, message, now.monotonicMs);
        break;
      case 'probe-answer':
        this.#vouchedFor(peer, message);
        break;
    }
  }

  woken(now: Now): void {
    const { monotonicMs } = now;
    if (this.#beats && this.#beatMs <= monotonicMs) {
      this.#beatMs = monotonicMs + beatLimits.beatMs;
      this.#probes.tidy(monotonicMs);
      for (const pulse of this.#pulses.values()) {
        this.#beatIfMeant(pulse, monotonicMs, this.#isMyTurn(pulse, monotonicMs));
      }
    }
    for (const pulse of [...this.#pulses.values()]) {
      if (pulse.dueMs > monotonicMs) {
        continue;
      }
      if (pulse.silence === undefined) {
        this.#fallSilent(pulse, now);
      } else if (pulse.silence.isAsking) {
        this.#count(pulse, pulse.silence, now);
      } else {
        this.#ask(pulse.peer, pulse.silence, monotonicMs);
      }
    }
  }

  isSilent(peer: PeerId): boolean {
    return this.#pulses.get(peer)?.silence !== undefined;
  }

  /** Undefined of whoever is no neighbour. */
  vitals(peer: PeerId, nowMs: number): Vitals | undefined {
    const pulse = this.#pulses.get(peer);
    return (
      pulse && {
        isSilent: pulse.silence !== undefined,
        rtt: pulse.rtt(nowMs),
        load: pulse.load,
        heardMs: pulse.heardMs,
        awaited: pulse.awaited(nowMs),
      }
    );
  }

  get #beats(): boolean {
    return this.#parts.beats && this.#pulses.size > 0;
  }

  /**
   * Of two that beat each other one does so every second, and the other hears of it: half of the messages tell both as
   * much. The other one beats when it is not beaten, and now and then to know how far away its neighbour is.
   */
  #isMyTurn({ peer, beatByMs, sentMs, answers }: Pulse, nowMs: number): boolean {
    return (
      this.#parts.own.peer < peer ||
      answers < beatLimits.firstAnswers ||
      nowMs - beatByMs > beatLimits.overdueMs ||
      nowMs - sentMs >= beatLimits.measureMs
    );
  }

  /** Who is beaten anew is owed as much time as if it had been heard now. */
  #beatIfMeant(pulse: Pulse, nowMs: number, isMyTurn = true): void {
    if (this.#isBeaten(pulse, nowMs)) {
      pulse.beatenMs ??= nowMs;
      if (isMyTurn) {
        this.#beat(pulse, nowMs);
      }
    } else {
      pulse.beatenMs = undefined;
    }
  }

  #isBeaten({ peer, routedMs }: Pulse, nowMs: number): boolean {
    const { sessions, own, shared } = this.#parts;
    if (!sessions.isUp(peer) || shared.table.get(peer)?.record.left) {
      return false;
    }
    if (this.#pulses.size <= meshLimits.fullMesh || nowMs - routedMs < beatLimits.routedMs) {
      return true;
    }
    this.#chosen ??= new Set(nearest(own.peer, [...this.#pulses.keys()]).slice(0, beatLimits.neighbours));
    return this.#chosen.has(peer);
  }

  #beat(pulse: Pulse, nowMs: number): string {
    const { random, outbox } = this.#parts;
    const nonce = random.bytes(beatLimits.nonceBytes);
    const hex = textOf(nonce);
    pulse.sent(hex, nowMs);
    outbox.send(pulse.peer, { type: 'beat', nonce, loads: this.#loads() });
    return hex;
  }

  #answer(pulse: Pulse, { nonce, loads }: Beat, nowMs: number): void {
    pulse.load = { loads, atMs: nowMs };
    pulse.beatByMs = nowMs;
    if (pulse.mayAnswer(nowMs)) {
      this.#parts.outbox.send(pulse.peer, { type: 'beat-answer', nonce, loads: this.#loads() });
    }
  }

  #answered(pulse: Pulse, { nonce, loads }: BeatAnswer, nowMs: number): void {
    const beat = textOf(nonce);
    if (!pulse.answered(beat, nowMs)) {
      return;
    }
    pulse.load = { loads, atMs: nowMs };
    const waiting = this.#probes.answered(beat, nowMs);
    if (waiting !== undefined) {
      this.#parts.outbox.send(waiting.asker, { type: 'probe-answer', nonce: waiting.nonce });
    }
  }

  /** A member does not hear another one: this node tries. */
  #probed(asker: PeerId, { nonce, subject }: Probe, nowMs: number): void {
    const pulse = this.#pulses.get(subject);
    const canTry = pulse !== undefined && this.#parts.sessions.isUp(subject);
    if (canTry && subject !== asker && this.#probes.mayFollow(asker, nowMs)) {
      this.#probes.follow(asker, nonce, this.#beat(pulse, nowMs), nowMs);
    }
  }

  #vouchedFor(helper: PeerId, { nonce }: ProbeAnswer): void {
    const probe = textOf(nonce);
    for (const { silence } of this.#pulses.values()) {
      if (silence?.probe === probe && silence.helpers.has(helper)) {
        silence.isVouchedFor = true;
        silence.isGone = false;
      }
    }
  }

  #fallSilent(pulse: Pulse, { monotonicMs }: Now): void {
    const { outbox, shared } = this.#parts;
    const silence: Silence = {
      probe: '',
      helpers: new Set(),
      isAsking: false,
      dueMs: 0,
      isVouchedFor: false,
      known: shared.table.get(pulse.peer)?.record,
      isGone: false,
      pronounced: undefined,
    };
    pulse.silence = silence;
    outbox.notice({ type: 'silent', peer: pulse.peer });
    outbox.changed(pulse.peer);
    this.#ask(pulse.peer, silence, monotonicMs);
  }

  /** Asks some members whether they hear of a silent one. */
  #ask(subject: PeerId, silence: Silence, nowMs: number): void {
    const { outbox, random } = this.#parts;
    const nonce = random.bytes(beatLimits.nonceBytes);
    silence.probe = textOf(nonce);
    silence.isVouchedFor = false;
    silence.isAsking = true;
    silence.dueMs = nowMs + beatLimits.probeMs + random.float() * beatLimits.staggerMs;
    silence.helpers.clear();
    for (const helper of this.#helpersFor(subject)) {
      silence.helpers.add(helper);
      outbox.send(helper, { type: 'probe', nonce, subject });
    }
  }

  /** Drawn anew each time, so that nobody can see to it that he is asked; in a large mesh among the likely neighbours. */
  #helpersFor(subject: PeerId): PeerId[] {
    const { sessions, random } = this.#parts;
    const isMeant = (peer: PeerId): boolean => peer !== subject && !this.isSilent(peer);
    const up = sessions.up().flatMap(({ peer }) => (isMeant(peer) ? [peer] : []));
    const likely =
      up.length <= meshLimits.fullMesh ? up : nearest(subject, up).slice(0, meshLimits.chosenNeighbours);
    return likely
      .map((peer) => ({ peer, order: random.float() }))
      .sort((a, b) => a.order - b.order)
      .slice(0, beatLimits.helpers)
      .map(({ peer }) => peer);
  }

  /** The time for answers is over. */
  #count(pulse: Pulse, silence: Silence, now: Now): void {
    const { shared, outbox } = this.#parts;
    const { peer } = pulse;
    const entry = shared.table.get(peer);
    const isOver = entry === undefined || entry.record.left || now.wallMs > entry.endMs;
    if (isOver && !this.#parts.sessions.isUp(peer)) {
      this.dropped(peer);
      return;
    }
    const hasSpoken = isNewer(entry?.record, silence.known);
    silence.known = entry?.record;
    const lives = silence.isVouchedFor || hasSpoken;
    if (!lives && !silence.isGone) {
      outbox.notice({ type: 'gone', peer });
    }
    silence.isGone = !lives;
    if (!lives) {
      this.#pronounce(peer, silence, now);
    }
    silence.isAsking = false;
    silence.dueMs = now.monotonicMs + beatLimits.reprobeMs;
  }

  /** Tells the mesh, unless it knows, or this node has no business to. */
  #pronounce(peer: PeerId, silence: Silence, now: Now): void {
    const { own, shared, sharing } = this.#parts;
    const entry = shared.table.get(peer);
    if (entry === undefined || entry.record.left || !own.isMember || own.isClient || this.#isCutOff(now)) {
      return;
    }
    const isSaid = !isNewer(entry.record, silence.pronounced);
    const isKnown = shared.table.status(peer, now.wallMs, () => false) !== 'alive';
    if (
      !isSaid &&
      !isKnown &&
      shared.table.maySpeakOf(peer, own.peer) &&
      sharing.pronounceDead(entry.record, entry.certificate, now)
    ) {
      silence.pronounced = entry.record;
    }
  }

  /** Nobody is heard though there is more than one to hear: then it is this node that is gone. */
  #isCutOff({ wallMs, monotonicMs }: Now): boolean {
    const { shared } = this.#parts;
    return !this.#hearsAnybody(monotonicMs) && shared.table.speakers(wallMs) > 2;
  }

  /** Of late, that is: who was cut off finds the others silent one after another. */
  #hearsAnybody(nowMs: number): boolean {
    const { sessions, beats } = this.#parts;
    return sessions.up().some(({ peer }) => {
      const pulse = this.#pulses.get(peer);
      const isSilent = pulse === undefined || pulse.silence !== undefined;
      return !isSilent && (!beats || nowMs - pulse.heardMs < beatLimits.cutOffMs);
    });
  }

  #loads(): readonly ModelLoad[] {
    return this.#parts
      .loads()
      .filter(({ inFlight, queued }) => inFlight + queued > 0)
      .sort((a, b) => b.inFlight + b.queued - (a.inFlight + a.queued))
      .slice(0, beatLimits.loads);
  }
}

/** The same from both ends, so that most who beat somebody are beaten by him. */
function nearest(of: PeerId, peers: readonly PeerId[]): PeerId[] {
  return peers
    .map((peer) => ({ peer, score: pairScore(of, peer) }))
    .sort((a, b) => (a.score < b.score ? -1 : 1))
    .map(({ peer }) => peer);
}

function isNewer(version: RecordVersion | undefined, than: RecordVersion | undefined): boolean {
  return version !== undefined && (than === undefined || compareVersions(version, than) > 0);
}

function textOf(nonce: Uint8Array): string {
  return Buffer.from(nonce).toString('hex');
}
