// Tells what became of peers as `peer` events, each change once and in order, with how far away the peer is. Nobody
// has beaten a peer that has just come: it is measured first, unless something else becomes of it meanwhile.
import type { PeerId } from '../trust/keys.ts';
import type { NodeFact } from './events.ts';
import type { PeerChange } from './peer-watch.ts';

export interface PeerEventsInit {
  /** The last figure there is, milliseconds. */
  readonly rttMs: (peer: PeerId) => number | undefined;
  /** One round trip; undefined if the peer is slow to answer. Never rejects. */
  readonly measure: (peer: PeerId) => Promise<number | undefined>;
  readonly emit: (fact: Extract<NodeFact, { event: 'peer' }>) => void;
}

export class PeerEvents {
  readonly #init: PeerEventsInit;
  /** Changes that wait for a figure. */
  readonly #waiting = new Map<PeerId, PeerChange>();

  constructor(init: PeerEventsInit) {
    this.#init = init;
  }

  tell(change: PeerChange): void {
    const { peerId, isUp } = change;
    this.#tellWaiting(peerId);
    const rttMs = this.#init.rttMs(peerId);
    if (rttMs !== undefined || !isUp) {
      this.#emit(change, rttMs);
      return;
    }
    this.#waiting.set(peerId, change);
    void this.#init.measure(peerId).then((measured) => {
      if (this.#waiting.get(peerId) === change) {
        this.#tellWaiting(peerId, measured);
      }
    });
  }

  #tellWaiting(peerId: PeerId, rttMs?: number): void {
    const change = this.#waiting.get(peerId);
    if (change !== undefined) {
      this.#waiting.delete(peerId);
      this.#emit(change, rttMs);
    }
  }

  #emit({ peerId, name, state }: PeerChange, rttMs: number | undefined): void {
    this.#init.emit({
      event: 'peer',
      peerId,
      ...(name === undefined ? {} : { name }),
      state,
      ...(rttMs === undefined ? {} : { rttMs: roundedMs(rttMs) }),
    });
  }
}

/** Milliseconds as they are shown. */
export function roundedMs(ms: number): number {
  return Math.round(ms * 100) / 100;
}
