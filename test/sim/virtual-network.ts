// Links between processes under a virtual clock: dialling by address, bytes in order, and everything that can
// go wrong with them. Knows nothing of what the bytes mean.
import type { PeerId } from '../../src/trust/keys.ts';
import type { ErrorCode } from '../../src/util/errors.ts';
import type { Random } from '../../src/util/random.ts';
import { between, chance } from './random-streams.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** One process on the network, and what it is told. */
export interface NetworkProcess {
  readonly peer: PeerId;
  /** Where it listens; undefined: nobody can dial it. */
  readonly address: string | undefined;
  /** There is a link to `peer`, and there was none before. */
  linked(peer: PeerId): void;
  /** The last link to `peer` is gone, as far as this side knows. */
  unlinked(peer: PeerId): void;
  dialFailed(peer: PeerId, code: ErrorCode): void;
  received(peer: PeerId, bytes: Uint8Array): void;
}

/** How the network behaves while nothing is cut. Probabilities are per message. */
export interface NetworkConditions {
  /** One way: the least, and the most that comes on top. */
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly loss: number;
  readonly duplication: number;
  readonly reordering: number;
  /** After how much silence a side gives a link up, each side for itself: the least and the most. */
  readonly noticeMs: readonly [least: number, most: number];
  /** How long a dial into nowhere takes. */
  readonly dialTimeoutMs: number;
}

export const calmNetwork: NetworkConditions = {
  delayMs: 5,
  jitterMs: 20,
  loss: 0,
  duplication: 0,
  reordering: 0,
  noticeMs: [1_000, 8_000],
  dialTimeoutMs: 5_000,
};

/** What stops bytes on their way from some peers to others. What is stopped waits, and arrives after the cut. */
export interface Cut {
  readonly from: ReadonlySet<PeerId>;
  readonly to: ReadonlySet<PeerId>;
  /** Whether the sides of a link give it up after a while; without, it is a clog. */
  readonly noticed: boolean;
}

/** One side of one link, with what it has sent and the other side has not got. */
interface Side {
  readonly process: NetworkProcess;
  /** Set right after both sides are made. */
  other: Side | undefined;
  open: boolean;
  readonly underway: { readonly bytes: Uint8Array | 'end'; readonly atMs: number }[];
  lastArrivalMs: number;
}

export interface Traffic {
  messages: number;
  bytes: number;
}

export class VirtualNetwork {
  conditions: NetworkConditions;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #processes = new Map<PeerId, NetworkProcess>();
  readonly #listeners = new Map<string, NetworkProcess>();
  /** Addresses whose machine runs, though perhaps nobody listens there: it refuses dials at once. */
  readonly #machines = new Set<string>();
  readonly #sides = new Map<NetworkProcess, Map<PeerId, Side[]>>();
  readonly #cuts = new Set<Cut>();
  readonly #sent = new Map<PeerId, Traffic>();

  constructor(clock: VirtualClock, random: Random, conditions: NetworkConditions) {
    this.#clock = clock;
    this.#random = random;
    this.conditions = conditions;
  }

  /** A process begins: it can dial, and be dialled if it listens. */
  attach(process: NetworkProcess): void {
    this.#processes.set(process.peer, process);
    this.#sides.set(process, new Map());
    if (process.address !== undefined) {
      this.#listeners.set(process.address, process);
      this.#machines.add(process.address);
    }
  }

  /**
   * A process ends without a word. If only the process died its machine closes the links; if the whole machine
   * did, the others find out by silence.
   */
  detach(process: NetworkProcess, died: 'process' | 'machine'): void {
    const sides = [...(this.#sides.get(process)?.values() ?? [])].flat();
    this.#sides.delete(process);
    if (this.#processes.get(process.peer) === process) {
      this.#processes.delete(process.peer);
    }
    if (process.address !== undefined && this.#listeners.get(process.address) === process) {
      this.#listeners.delete(process.address);
    }
    if (process.address !== undefined && died === 'machine') {
      this.#machines.delete(process.address);
    }
    for (const side of sides) {
      side.open = false;
      if (died === 'process') {
        this.#enqueue(side, 'end');
      } else {
        this.#clock.after(this.#noticeMs(), () => this.#close(side.other));
      }
    }
  }

  /**
   * Tries to link `from` to `peer`; ends with `linked` or `dialFailed`, or with nothing if it is linked already. A machine
   * that runs without a listener says so at once, nobody answers for any other.
   */
  dial(from: NetworkProcess, peer: PeerId, addresses: readonly string[]): void {
    if (this.isLinked(from, peer)) {
      return;
    }
    const roundTripMs = this.delayMs() + this.delayMs();
    this.#clock.after(roundTripMs, () => {
      const answering = addresses.map((address) => this.#listeners.get(address));
      const target = answering.find((process) => process?.peer === peer);
      if (!this.#sides.has(from)) {
        return;
      }
      if (
        target !== undefined &&
        target !== from &&
        !this.isCut(from.peer, peer) &&
        !this.isCut(peer, from.peer)
      ) {
        this.#link(from, target);
        return;
      }
      const stranger = target === undefined && answering.some((process) => process !== undefined);
      const isAnswered = !this.isCut(from.peer, peer) && !this.isCut(peer, from.peer);
      const isRefused = isAnswered && !stranger && addresses.some((address) => this.#machines.has(address));
      this.#clock.after(isRefused ? 0 : this.conditions.dialTimeoutMs, () => {
        if (this.#sides.has(from)) {
          from.dialFailed(peer, stranger ? 'peer_key_mismatch' : 'peer_unreachable');
        }
      });
    });
  }

  /** Sends over the newest link there is; without one the bytes are lost. */
  send(from: NetworkProcess, to: PeerId, bytes: Uint8Array): void {
    const side = this.#openSides(from, to).at(-1);
    if (side === undefined) {
      return;
    }
    const traffic = this.sent(from.peer);
    traffic.messages += 1;
    traffic.bytes += bytes.length;
    if (chance(this.#random, this.conditions.loss)) {
      return;
    }
    this.#enqueue(side, bytes);
    if (chance(this.#random, this.conditions.duplication)) {
      this.#enqueue(side, bytes);
    }
    if (chance(this.#random, this.conditions.reordering)) {
      swapLastTwo(side.underway);
    }
  }

  /** Closes all links of `from` to `to`; what was sent before still arrives. */
  disconnect(from: NetworkProcess, to: PeerId): void {
    for (const side of this.#openSides(from, to)) {
      this.#clock.after(0, () => this.#close(side));
    }
  }

  cut(cut: Cut): void {
    this.#cuts.add(cut);
    if (!cut.noticed) {
      return;
    }
    for (const side of this.#sidesAcross(cut)) {
      this.#clock.after(this.#noticeMs(), () => {
        if (this.#cuts.has(cut)) {
          this.#close(side);
        }
      });
    }
  }

  heal(cut: Cut): void {
    this.#cuts.delete(cut);
    for (const side of this.#sidesAcross(cut)) {
      this.#clock.after(this.delayMs(), () => this.#deliver(side));
    }
  }

  healAll(): void {
    for (const cut of this.#cuts) {
      this.heal(cut);
    }
  }

  isLinked(from: NetworkProcess, to: PeerId): boolean {
    return this.#openSides(from, to).length > 0;
  }

  /** The peers that `from` has a link to, known to both sides. */
  linkedPeers(from: NetworkProcess): PeerId[] {
    const peers = [...(this.#sides.get(from)?.keys() ?? [])];
    return peers.filter((peer) => this.#openSides(from, peer).some((side) => side.other?.open));
  }

  /** Whether bytes from `from` reach `to` now. */
  reaches(from: PeerId, to: PeerId): boolean {
    const [process, other] = [this.#processes.get(from), this.#processes.get(to)];
    return (
      process !== undefined &&
      other !== undefined &&
      !this.isCut(from, to) &&
      this.#openSides(process, to).some((side) => side.other?.open && side.other.process === other)
    );
  }

  /** Whether something stops bytes on their way from `from` to `to`. */
  isCut(from: PeerId, to: PeerId): boolean {
    for (const cut of this.#cuts) {
      if (isAcross(cut, from, to)) {
        return true;
      }
    }
    return false;
  }

  /** One way, drawn anew each time. */
  delayMs(): number {
    return this.conditions.delayMs + this.#random.float() * this.conditions.jitterMs;
  }

  /** What `peer` has sent over links so far. */
  sent(peer: PeerId): Traffic {
    let traffic = this.#sent.get(peer);
    if (traffic === undefined) {
      traffic = { messages: 0, bytes: 0 };
      this.#sent.set(peer, traffic);
    }
    return traffic;
  }

  #link(dialler: NetworkProcess, listener: NetworkProcess): void {
    const near: Side = { process: dialler, other: undefined, open: true, underway: [], lastArrivalMs: 0 };
    const far: Side = { process: listener, other: near, open: true, underway: [], lastArrivalMs: 0 };
    near.other = far;
    this.#open(far, dialler.peer);
    this.#open(near, listener.peer);
  }

  #open(side: Side, peer: PeerId): void {
    const known = this.#openSides(side.process, peer);
    this.#sides.get(side.process)?.set(peer, [...known, side]);
    if (known.length === 0) {
      side.process.linked(peer);
    }
  }

  /** This side gives the link up; the other is told behind all that was sent. */
  #close(side: Side | undefined): void {
    if (side?.other === undefined || !side.open) {
      return;
    }
    side.open = false;
    this.#enqueue(side, 'end');
    const peer = side.other.process.peer;
    const remaining = this.#openSides(side.process, peer);
    this.#sides.get(side.process)?.set(peer, remaining);
    if (remaining.length === 0) {
      side.process.unlinked(peer);
    }
  }

  #enqueue(side: Side, bytes: Uint8Array | 'end'): void {
    const atMs = Math.max(this.#clock.nowMs + this.delayMs(), side.lastArrivalMs);
    side.lastArrivalMs = atMs;
    side.underway.push({ bytes, atMs });
    this.#clock.at(atMs, () => this.#deliver(side));
  }

  /** Hands over what is due, in order, unless the way is cut. */
  #deliver(side: Side): void {
    const { other } = side;
    while (other !== undefined && !this.isCut(side.process.peer, other.process.peer)) {
      const next = side.underway[0];
      if (next === undefined || next.atMs > this.#clock.nowMs) {
        return;
      }
      side.underway.shift();
      if (next.bytes === 'end') {
        this.#close(other);
      } else if (other.open) {
        other.process.received(side.process.peer, next.bytes);
      }
    }
  }

  #openSides(from: NetworkProcess, to: PeerId): Side[] {
    return (this.#sides.get(from)?.get(to) ?? []).filter((side) => side.open);
  }

  /** Both sides of every link whose bytes the cut stops in either direction. */
  #sidesAcross(cut: Cut): Set<Side> {
    const across = new Set<Side>();
    for (const side of [...this.#sides.values()].flatMap((byPeer) => [...byPeer.values()].flat())) {
      const { process, other } = side;
      if (
        other !== undefined &&
        (isAcross(cut, process.peer, other.process.peer) || isAcross(cut, other.process.peer, process.peer))
      ) {
        // Also the side that has given the link up: its last word may still be on the way.
        across.add(side).add(other);
      }
    }
    return across;
  }

  #noticeMs(): number {
    return between(this.#random, ...this.conditions.noticeMs);
  }
}

function isAcross(cut: Cut, from: PeerId, to: PeerId): boolean {
  return cut.from.has(from) && cut.to.has(to);
}

function swapLastTwo<T extends { readonly bytes: unknown; readonly atMs: number }>(queue: T[]): void {
  const [before, last] = [queue.at(-2), queue.at(-1)];
  if (before !== undefined && last !== undefined && before.bytes !== 'end' && last.bytes !== 'end') {
    queue.splice(-2, 2, { ...last, atMs: before.atMs }, { ...before, atMs: last.atMs });
  }
}
