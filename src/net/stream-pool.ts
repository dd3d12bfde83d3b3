// Keeps streams to peers negotiated and unused, so that a request costs one round trip instead of two. A
// stream that was taken never comes back: each request has its own, and an end is said on it.
//
// The serving side sees a spare stream as one whose first frame has not come. It waits for that frame up to
// `poolLimits.firstFrameMs` and then aborts; the pool throws a spare away after `poolLimits.spareMs`, which is
// sooner. A stream that breaks before its first byte was a spare nobody needed: no error, nothing to log. Spares
// count against the serving side's `streamsPerPeer`.
import type { ProtocolId } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import { raceSignal } from '../util/async.ts';
import type { Clock, Timer } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { poolLimits } from '../util/limits/net.ts';
import type { Logger } from '../util/logging.ts';
import type { PeerStream } from './network.ts';
import { type PoolLimits, SpareTarget } from './spare-target.ts';

export interface StreamPoolComponents {
  /** Opens and negotiates a stream; gives up when the signal aborts. */
  readonly open: (
    peer: PeerId,
    protocol: ProtocolId,
    options: { readonly signal: AbortSignal },
  ) => Promise<PeerStream>;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Spare {
  readonly stream: PeerStream;
  readonly openedMs: number;
}

/** What there is for one protocol to one peer. Kept only while it holds a spare, an opening or a waiter. */
interface Shelf {
  readonly peer: PeerId;
  readonly protocol: ProtocolId;
  readonly target: SpareTarget;
  /** Oldest first. */
  spares: readonly Spare[];
  /** Streams being opened; aborting one gives it up. Never fewer than `waiting`. */
  readonly openings: Set<AbortController>;
  /** Requests that get the next streams that arrive, in order. */
  readonly waiting: Set<PromiseWithResolvers<PeerStream>>;
}

export class StreamPool {
  readonly #open: StreamPoolComponents['open'];
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #limits: PoolLimits;
  readonly #shelves = new Map<string, Shelf>();
  /** Throws the oldest spare away; undefined while there is none. */
  #expiry: Timer | undefined;
  #closed = false;

  constructor({ open, clock, log }: StreamPoolComponents, limits: PoolLimits = poolLimits) {
    this.#open = open;
    this.#clock = clock;
    this.#log = log;
    this.#limits = limits;
  }

  /**
   * A stream of its own for one request: a spare one at once, else a fresh one. Rejects as `open` does, with the
   * signal's reason, `peer_unreachable` if the peer is dropped meanwhile, `queue_full`, or `shutting_down`.
   */
  async take(
    peer: PeerId,
    protocol: ProtocolId,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<PeerStream> {
    signal?.throwIfAborted();
    if (this.#closed) {
      throw new MeshnodeError('shutting_down', 'The node opens no more streams.');
    }
    const shelf = this.#shelf(peer, protocol);
    shelf.target.record(this.#clock.monotonicMs());
    const [spare, ...others] = shelf.spares;
    if (spare === undefined) {
      return await this.#wait(shelf, signal);
    }
    shelf.spares = others;
    this.#tend(shelf);
    return spare.stream;
  }

  /** Opens spare streams until there are `count`, within bounds: the peer is about to be asked. */
  warm(peer: PeerId, protocol: ProtocolId, count: number): void {
    if (!this.#closed) {
      const shelf = this.#shelf(peer, protocol);
      shelf.target.raise(count, this.#clock.monotonicMs());
      this.#tend(shelf);
    }
  }

  /** The peer is gone: gives up its spare streams and what is being opened. Taken ones are their takers'. */
  drop(peer: PeerId): void {
    const gone = new MeshnodeError('peer_unreachable', `The connection to ${peer} was lost.`);
    this.#discard((shelf) => shelf.peer === peer, gone);
  }

  /** Gives everything up; nothing is opened afterwards and no timer is left. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#discard(() => true, new MeshnodeError('shutting_down', 'The node is stopping.'));
  }

  #shelf(peer: PeerId, protocol: ProtocolId): Shelf {
    const key = shelfKey(peer, protocol);
    const known = this.#shelves.get(key);
    if (known !== undefined) {
      return known;
    }
    const shelf: Shelf = {
      peer,
      protocol,
      target: new SpareTarget(this.#limits),
      spares: [],
      openings: new Set(),
      waiting: new Set(),
    };
    this.#shelves.set(key, shelf);
    return shelf;
  }

  /** Opens a stream for a request. It gets whichever arrives first; what it leaves behind serves the next one. */
  async #wait(shelf: Shelf, signal: AbortSignal | undefined): Promise<PeerStream> {
    if (shelf.waiting.size >= this.#limits.waiting) {
      throw new MeshnodeError('queue_full', `Too many requests wait for a stream to ${shelf.peer}.`);
    }
    const waiter = Promise.withResolvers<PeerStream>();
    shelf.waiting.add(waiter);
    void this.#fetch(shelf);
    try {
      return await raceSignal(waiter.promise, signal);
    } catch (cause) {
      shelf.waiting.delete(waiter);
      // A stream that came at the very moment of the abort is not lost.
      waiter.promise.then(
        (stream) => this.#place(shelf, stream),
        () => {},
      );
      throw cause;
    }
  }

  /** Opens one stream and gives it to a waiter or to the shelf. Never rejects. */
  async #fetch(shelf: Shelf): Promise<void> {
    const opening = new AbortController();
    const timer = this.#clock.after(this.#limits.openMs, () =>
      opening.abort(
        new MeshnodeError('peer_unreachable', `No stream to ${shelf.peer} could be opened in time.`),
      ),
    );
    shelf.openings.add(opening);
    const opened = this.#open(shelf.peer, shelf.protocol, { signal: opening.signal });
    try {
      const stream = await raceSignal(opened, opening.signal);
      shelf.openings.delete(opening);
      this.#place(shelf, stream);
    } catch (cause) {
      shelf.openings.delete(opening);
      this.#failed(shelf, cause);
      opened.then(abandon, () => {});
    } finally {
      timer.cancel();
    }
  }

  #place(shelf: Shelf, stream: PeerStream): void {
    const [waiter] = shelf.waiting;
    if (waiter !== undefined) {
      shelf.waiting.delete(waiter);
      waiter.resolve(stream);
      this.#tend(shelf);
      return;
    }
    if (this.#isKept(shelf) && this.#room(shelf) > 0) {
      this.#keep(shelf, stream);
    } else {
      abandon(stream);
    }
    this.#tidy(shelf);
  }

  #keep(shelf: Shelf, stream: PeerStream): void {
    const spare = { stream, openedMs: this.#clock.monotonicMs() };
    shelf.spares = [...shelf.spares, spare];
    void stream.closed.then(() => {
      shelf.spares = shelf.spares.filter((other) => other !== spare);
      this.#tidy(shelf);
    });
  }

  /** One opening has failed. It is a request's failure only if no other stream is on its way to it. */
  #failed(shelf: Shelf, cause: unknown): void {
    const [waiter] = shelf.waiting;
    if (waiter !== undefined && shelf.waiting.size > shelf.openings.size) {
      shelf.waiting.delete(waiter);
      waiter.reject(cause);
    } else {
      this.#log.debug({ err: cause, peer: shelf.peer, protocol: shelf.protocol }, 'no spare stream');
    }
    this.#tidy(shelf);
  }

  /** Opens what spares are missing. Only after a take or as time passes, or a peer that resets each would see no end. */
  #tend(shelf: Shelf): void {
    if (this.#isKept(shelf)) {
      for (let missing = this.#room(shelf); missing > 0; missing--) {
        void this.#fetch(shelf);
      }
    }
    this.#tidy(shelf);
  }

  /** Spare streams that may be added to those there are and those on their way. */
  #room(shelf: Shelf): number {
    let ofPeer = 0;
    let inAll = 0;
    for (const other of this.#shelves.values()) {
      inAll += expectedSpares(other);
      ofPeer += other.peer === shelf.peer ? expectedSpares(other) : 0;
    }
    return Math.min(
      shelf.target.at(this.#clock.monotonicMs()) - expectedSpares(shelf),
      this.#limits.sparesPerPeer - ofPeer,
      this.#limits.sparesInAll - inAll,
    );
  }

  /** Whether the shelf is still in use: not dropped, not forgotten. */
  #isKept(shelf: Shelf): boolean {
    return this.#shelves.get(shelfKey(shelf.peer, shelf.protocol)) === shelf;
  }

  /** Forgets a shelf that holds nothing, and sees to the timer. */
  #tidy(shelf: Shelf): void {
    const isEmpty = shelf.spares.length + shelf.openings.size + shelf.waiting.size === 0;
    if (isEmpty && this.#isKept(shelf)) {
      this.#shelves.delete(shelfKey(shelf.peer, shelf.protocol));
    }
    this.#setExpiry();
  }

  /** Has the timer run while there are spares. It may fire for one that is gone; then it is set anew. */
  #setExpiry(): void {
    const opened = [...this.#shelves.values()].flatMap(({ spares: [oldest] }) => oldest?.openedMs ?? []);
    if (opened.length === 0) {
      this.#expiry?.cancel();
      this.#expiry = undefined;
    } else if (this.#expiry === undefined) {
      const dueMs = Math.min(...opened) + this.#limits.spareMs - this.#clock.monotonicMs();
      this.#expiry = this.#clock.after(dueMs, () => this.#expire(), { keepAlive: false });
    }
  }

  /** Throws away what is too old, and opens anew what is still wanted. */
  #expire(): void {
    this.#expiry = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const shelf of [...this.#shelves.values()]) {
      const tooOld = shelf.spares.filter(({ openedMs }) => nowMs - openedMs >= this.#limits.spareMs);
      shelf.spares = shelf.spares.slice(tooOld.length);
      for (const { stream } of tooOld) {
        abandon(stream);
      }
      this.#tend(shelf);
    }
    this.#setExpiry();
  }

  #discard(isDiscarded: (shelf: Shelf) => boolean, reason: MeshnodeError): void {
    for (const [key, shelf] of this.#shelves) {
      if (isDiscarded(shelf)) {
        this.#shelves.delete(key);
        for (const { stream } of shelf.spares) {
          abandon(stream);
        }
        for (const opening of shelf.openings) {
          opening.abort(reason);
        }
      }
    }
    this.#setExpiry();
  }
}

function shelfKey(peer: PeerId, protocol: ProtocolId): string {
  return `${peer} ${protocol}`;
}

/** Spares there will be once every opening has succeeded and every waiter has its stream. */
function expectedSpares({ spares, openings, waiting }: Shelf): number {
  return spares.length + openings.size - waiting.size;
}

/** Gives up a stream on which nothing was said. */
function abandon(stream: PeerStream): void {
  stream.abort(new MeshnodeError('cancelled', 'The stream was opened in advance and not needed.'));
}
