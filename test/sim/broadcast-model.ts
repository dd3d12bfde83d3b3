// A model of what gossipsub does with an envelope: every member of the mesh passes it on to a few linked peers,
// once a second it tells some others what it has, and they fetch what they lack. All figures are parameters,
// to be compared with real processes.
import type { HearingVerdict } from '../../src/mesh/membership-events.ts';
import type { PeerId } from '../../src/trust/keys.ts';
import { gossipsubLimits } from '../../src/util/limits/mesh.ts';
import type { Random } from '../../src/util/random.ts';
import { chance, shuffled } from './random-streams.ts';
import type { Scheduled, VirtualClock } from './virtual-clock.ts';
import type { NetworkProcess, Traffic, VirtualNetwork } from './virtual-network.ts';

export interface BroadcastParameters {
  /** Peers that everything is passed on to: wanted, fewest, most. */
  readonly degree: { readonly wanted: number; readonly fewest: number; readonly most: number };
  /** Peers outside these that are told what there is, each heartbeat. */
  readonly told: number;
  readonly heartbeatMs: number;
  /** Heartbeats for which a message is told of. */
  readonly toldHeartbeats: number;
  /** How long a message is known again. */
  readonly seenMs: number;
  /** Bytes around one envelope, around a list of message ids that is told or asked for, and of one id in it. */
  readonly messageBytes: number;
  readonly controlBytes: number;
  readonly idBytes: number;
  /** Probability that a message is lost on one hop; 1: nothing ever arrives. */
  readonly drop: number;
}

/** What a node asks of gossipsub, and its defaults; the bytes are those of its protobuf RPC around our topic. */
export const gossipsubParameters: BroadcastParameters = {
  degree: gossipsubLimits.degree,
  told: gossipsubLimits.told,
  heartbeatMs: 1_000,
  toldHeartbeats: gossipsubLimits.toldHeartbeats,
  seenMs: 120_000,
  messageBytes: 20,
  controlBytes: 18,
  idBytes: gossipsubLimits.messageIdBytes + 2,
  drop: 0,
};

/** One process that takes part. */
export interface BroadcastMember {
  readonly process: NetworkProcess;
  /** Called once for each message. Only what is accepted is passed on. */
  hear(envelope: Uint8Array, via: PeerId): HearingVerdict;
}

interface Message {
  readonly id: string;
  readonly envelope: Uint8Array;
}

interface MemberState {
  readonly member: BroadcastMember;
  readonly eager: Set<PeerId>;
  /** Message ids and when they were first seen, oldest first. */
  readonly seen: Map<string, number>;
  /** What was accepted in each of the last heartbeats, newest first. */
  recent: Message[][];
  heartbeat: Scheduled | undefined;
}

export class BroadcastModel {
  parameters: BroadcastParameters;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #network: VirtualNetwork;
  readonly #members = new Map<PeerId, MemberState>();
  readonly #sent = new Map<PeerId, Traffic>();

  constructor(clock: VirtualClock, random: Random, network: VirtualNetwork, parameters: BroadcastParameters) {
    this.#clock = clock;
    this.#random = random;
    this.#network = network;
    this.parameters = parameters;
  }

  join(member: BroadcastMember): void {
    const state: MemberState = {
      member,
      eager: new Set(),
      seen: new Map(),
      recent: [],
      heartbeat: undefined,
    };
    this.#members.set(member.process.peer, state);
    this.#scheduleHeartbeat(state, this.#random.float() * this.parameters.heartbeatMs);
  }

  leave(peer: PeerId): void {
    this.#members.get(peer)?.heartbeat?.cancel();
    this.#members.delete(peer);
  }

  publish(peer: PeerId, envelope: Uint8Array): void {
    const state = this.#members.get(peer);
    if (state !== undefined) {
      // An envelope ends with its signature.
      const id = Buffer.from(envelope.subarray(-64)).toString('latin1');
      this.#accept(state, { id, envelope }, undefined);
    }
  }

  /** What `peer` has sent by broadcast so far. */
  sent(peer: PeerId): Traffic {
    let traffic = this.#sent.get(peer);
    if (traffic === undefined) {
      traffic = { messages: 0, bytes: 0 };
      this.#sent.set(peer, traffic);
    }
    return traffic;
  }

  #accept(state: MemberState, message: Message, via: PeerId | undefined): void {
    state.seen.set(message.id, this.#clock.nowMs);
    state.recent[0] = [...(state.recent[0] ?? []), message];
    for (const peer of state.eager) {
      if (peer !== via) {
        this.#pass(state, peer, message);
      }
    }
  }

  #pass(from: MemberState, to: PeerId, message: Message): void {
    this.#count(from, this.parameters.messageBytes + message.envelope.length);
    this.#hop(from, to, this.#network.delayMs(), (state, via) => this.#receive(state, message, via));
  }

  #receive(state: MemberState, message: Message, via: PeerId): void {
    if (state.seen.has(message.id)) {
      return;
    }
    state.seen.set(message.id, this.#clock.nowMs);
    if (state.member.hear(message.envelope, via) === 'accept') {
      this.#accept(state, message, via);
    }
  }

  #beat(state: MemberState): void {
    this.#forgetSeen(state);
    const linked = this.#network.linkedPeers(state.member.process).filter((peer) => this.#members.has(peer));
    this.#repair(state, linked);
    const recent = state.recent.flat();
    if (recent.length > 0) {
      const others = linked.filter((peer) => !state.eager.has(peer));
      for (const peer of shuffled(this.#random, others).slice(0, this.parameters.told)) {
        this.#tell(state, peer, recent);
      }
    }
    state.recent = [[], ...state.recent].slice(0, this.parameters.toldHeartbeats);
    this.#scheduleHeartbeat(state, this.parameters.heartbeatMs);
  }

  /** Keeps as many eager peers as wanted, both ways. */
  #repair(state: MemberState, linked: readonly PeerId[]): void {
    const { wanted, fewest, most } = this.parameters.degree;
    const own = state.member.process.peer;
    for (const peer of state.eager) {
      if (!linked.includes(peer)) {
        state.eager.delete(peer);
      }
    }
    if (state.eager.size < fewest) {
      for (const peer of shuffled(this.#random, linked)) {
        const other = this.#members.get(peer);
        if (state.eager.size < wanted && other !== undefined && other.eager.size < most) {
          state.eager.add(peer);
          other.eager.add(own);
        }
      }
    }
  }

  #tell(from: MemberState, to: PeerId, messages: readonly Message[]): void {
    this.#count(from, this.#listBytes(messages));
    this.#hop(from, to, this.#network.delayMs(), (state, via) => {
      const lacking = messages.filter((message) => !state.seen.has(message.id));
      if (lacking.length > 0) {
        this.#count(state, this.#listBytes(lacking));
        this.#hop(state, via, this.#network.delayMs(), (asked, asking) => {
          for (const message of lacking) {
            this.#pass(asked, asking, message);
          }
        });
      }
    });
  }

  /** Does something at the other end of a link, unless that is gone by then. */
  #hop(from: MemberState, to: PeerId, delayMs: number, arrive: (at: MemberState, via: PeerId) => void): void {
    const sender = from.member.process.peer;
    if (chance(this.#random, this.parameters.drop)) {
      return;
    }
    this.#clock.after(delayMs, () => {
      const state = this.#members.get(to);
      if (state !== undefined && this.#network.reaches(sender, to)) {
        arrive(state, sender);
      }
    });
  }

  #forgetSeen(state: MemberState): void {
    for (const [id, seenMs] of state.seen) {
      if (this.#clock.nowMs - seenMs <= this.parameters.seenMs) {
        return;
      }
      state.seen.delete(id);
    }
  }

  #scheduleHeartbeat(state: MemberState, delayMs: number): void {
    state.heartbeat = this.#clock.after(delayMs, () => this.#beat(state));
  }

  #listBytes(messages: readonly Message[]): number {
    return this.parameters.controlBytes + messages.length * this.parameters.idBytes;
  }

  #count(state: MemberState, bytes: number): void {
    const traffic = this.sent(state.member.process.peer);
    traffic.messages += 1;
    traffic.bytes += bytes;
  }
}
