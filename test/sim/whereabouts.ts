// Who could have heard whom in a simulation, and since when: the truth that what members think of each other's life
// is held against. Looks at processes and the network alone, never at a membership's opinion but for its links.
import type { MemberView } from '../../src/mesh/membership.ts';
import type { PeerId } from '../../src/trust/keys.ts';
import type { SimulatedNode } from './simulated-node.ts';
import type { VirtualNetwork } from './virtual-network.ts';

/** Since when something is as it is; the other state ended then. */
interface Since {
  holds: boolean;
  sinceMs: number;
  /** When the state before this one began. */
  beforeMs: number;
}

/** How things stood when a node was heard by nobody any more. */
export interface Vanishing {
  readonly atMs: number;
  /** Who had admitted it and heard it then. */
  readonly neighbours: ReadonlySet<PeerId>;
  /** For everybody who ran: who besides the node was alive in its view and no client, itself included. */
  readonly voices: ReadonlyMap<PeerId, ReadonlySet<PeerId>>;
}

export interface WhereaboutsInit {
  readonly nodes: readonly SimulatedNode[];
  readonly network: VirtualNetwork;
  /** Whether a node passes on what it hears. */
  readonly passesOn: (peer: PeerId) => boolean;
  readonly nowMs: () => number;
}

const never = Number.POSITIVE_INFINITY;

export class Whereabouts {
  readonly #init: WhereaboutsInit;
  /** By `from to`: what `from` says can arrive at `to`, whether that runs or not. */
  readonly #audible = new Map<string, Since>();
  readonly #runs = new Map<PeerId, Since>();
  /** By `from to`: bytes pass between the two, whether they run or not. */
  readonly #uncut = new Map<string, Since>();
  readonly #vanished = new Map<PeerId, Vanishing>();
  /** By `one other`, as of the last look: linked both ways, or by way of one more. */
  readonly #linked = new Map<string, Since>();
  readonly #joined = new Map<string, Since>();

  constructor(init: WhereaboutsInit) {
    this.#init = init;
  }

  /** After everything that is done to a node or to the network. */
  update(): void {
    const { nodes, network } = this.#init;
    for (const { peer, process } of nodes) {
      const runs = process !== undefined && !process.isPaused;
      this.#note(this.#runs, peer, runs);
      for (const other of nodes) {
        if (other.peer !== peer) {
          const isOpen = !network.isCut(peer, other.peer);
          this.#note(this.#audible, pair(peer, other.peer), runs && isOpen);
          this.#note(this.#uncut, pair(peer, other.peer), isOpen && !network.isCut(other.peer, peer));
        }
      }
    }
    for (const node of nodes) {
      this.#noteVanished(node);
    }
  }

  /** Links open and close by themselves: they are looked at now and then. */
  look(): void {
    const { nodes } = this.#init;
    const running = nodes.filter(({ process }) => process !== undefined && !process.isPaused);
    const neighbours = new Map(running.map((node) => [node.peer, this.#linkedTo(node, running)] as const));
    const passing = running.map(({ peer }) => peer).filter(this.#init.passesOn);
    for (const one of nodes) {
      const mine = neighbours.get(one.peer) ?? new Set<PeerId>();
      for (const other of nodes) {
        const direct = mine.has(other.peer);
        const theirs = neighbours.get(other.peer) ?? new Set<PeerId>();
        const isJoined = direct || passing.some((peer) => mine.has(peer) && theirs.has(peer));
        this.#note(this.#linked, pair(one.peer, other.peer), direct);
        this.#note(this.#joined, pair(one.peer, other.peer), isJoined);
      }
    }
  }

  /** Since when a node runs without a pause; never: it does not. */
  runsSinceMs(peer: PeerId): number {
    return since(this.#runs.get(peer));
  }

  /** When it ran last before that; it may have begun to run anew since. */
  ranUntilMs(peer: PeerId): number {
    const state = this.#runs.get(peer);
    return state?.holds ? state.beforeMs : (state?.sinceMs ?? 0);
  }

  /** Since when what `from` says can arrive at `to`; never: it cannot. */
  audibleSinceMs(from: PeerId, to: PeerId): number {
    return since(this.#audible.get(pair(from, to)));
  }

  /** Since when it cannot, nor what waited at a cut that has ended; never: it can. */
  inaudibleSinceMs(from: PeerId, to: PeerId): number {
    const state = this.#audible.get(pair(from, to));
    const uncutMs = this.pairUncutSinceMs(from, to);
    return state === undefined || state.holds
      ? never
      : Math.max(state.sinceMs, uncutMs === never ? 0 : uncutMs);
  }

  /** Since when nothing is cut between `peer` and anybody but `besides`; never: something is. */
  uncutSinceMs(peer: PeerId, besides?: PeerId): number {
    const others = this.#init.nodes.filter((node) => node.peer !== peer && node.peer !== besides);
    return Math.max(...others.map((other) => since(this.#uncut.get(pair(peer, other.peer)))));
  }

  /** Since when nothing is cut between two. */
  pairUncutSinceMs(one: PeerId, other: PeerId): number {
    return since(this.#uncut.get(pair(one, other)));
  }

  /** Since when two are linked and both run; never: they are not. */
  linkedSinceMs(one: PeerId, other: PeerId): number {
    return since(this.#linked.get(pair(one, other)));
  }

  /** The same, or linked to one and the same third that passes on what it hears. */
  joinedSinceMs(one: PeerId, other: PeerId): number {
    return since(this.#joined.get(pair(one, other)));
  }

  /** Since when nothing that anybody else says arrives at a node; never: something does. */
  deafSinceMs(peer: PeerId): number {
    const others = this.#init.nodes.filter((node) => node.peer !== peer);
    return Math.max(...others.map((other) => this.inaudibleSinceMs(other.peer, peer)));
  }

  /** How it was when a node was heard by nobody any more; undefined: somebody could hear it. */
  vanished(peer: PeerId): Vanishing | undefined {
    return this.#vanished.get(peer);
  }

  #noteVanished({ peer }: SimulatedNode): void {
    const { nodes, nowMs } = this.#init;
    const running = nodes.filter((node) => node.peer !== peer && since(this.#runs.get(node.peer)) !== never);
    const isHeard = running.some((other) => this.audibleSinceMs(peer, other.peer) !== never);
    if (isHeard || running.length === 0) {
      this.#vanished.delete(peer);
    } else if ((this.#vanished.get(peer)?.atMs ?? -1) < this.#lastUncutMs(peer)) {
      // What waited at a cut is the last word.
      const views = running.flatMap((node) =>
        node.process === undefined ? [] : [{ by: node.peer, view: viewOf(node.process) }],
      );
      const neighbours = views.filter(({ view }) =>
        view.some(({ record, isUp }) => record.peerId === peer && isUp),
      );
      const voices = views.map(({ by, view }) => [by, voicesOf(view, peer)] as const);
      this.#vanished.set(peer, {
        atMs: nowMs(),
        neighbours: new Set(neighbours.map(({ by }) => by)),
        voices: new Map(voices),
      });
    }
  }

  #lastUncutMs(peer: PeerId): number {
    const times = this.#init.nodes.map((node) => this.pairUncutSinceMs(peer, node.peer));
    return Math.max(0, ...times.filter((time) => time !== never));
  }

  #linkedTo({ peer }: SimulatedNode, running: readonly SimulatedNode[]): Set<PeerId> {
    const { network } = this.#init;
    const linked = running.filter(
      (other) =>
        other.peer !== peer && network.reaches(peer, other.peer) && network.reaches(other.peer, peer),
    );
    return new Set(linked.map((other) => other.peer));
  }

  #note<Key>(states: Map<Key, Since>, key: Key, holds: boolean): void {
    const state = states.get(key);
    if (state === undefined) {
      states.set(key, { holds, sinceMs: this.#init.nowMs(), beforeMs: 0 });
    } else if (state.holds !== holds) {
      state.holds = holds;
      state.beforeMs = state.sinceMs;
      state.sinceMs = this.#init.nowMs();
    }
  }
}

function viewOf({ membership, clock }: NonNullable<SimulatedNode['process']>): MemberView[] {
  return membership.view(clock.now());
}

/** Who of a view may speak of `besides`. */
export function voicesOf(view: readonly MemberView[], besides: PeerId): Set<PeerId> {
  const voices = view.filter(
    ({ record, status }) => status === 'alive' && record.role !== 'client' && record.peerId !== besides,
  );
  return new Set(voices.map(({ record }) => record.peerId));
}

function since(state: Since | undefined): number {
  return state?.holds ? state.sinceMs : never;
}

function pair(one: PeerId, other: PeerId): string {
  return `${one} ${other}`;
}
