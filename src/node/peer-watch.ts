// Follows the other members and tells when one comes, falls silent or goes: what the `peer` events and
// `meshnode peers` say of each.
import type { MemberView } from '../mesh/membership.ts';
import type { MembershipNotice } from '../mesh/membership-events.ts';
import type { PeerId } from '../trust/keys.ts';

/** suspect: this node hears nothing of a neighbour that the mesh does not hold dead yet. */
export type PeerState = 'joined' | 'suspect' | 'dead' | 'left';

export interface PeerChange {
  readonly peerId: PeerId;
  readonly name: string | undefined;
  readonly state: PeerState;
  readonly isUp: boolean;
}

export interface PeerWatchInit {
  readonly self: PeerId;
  readonly members: () => readonly MemberView[];
  readonly tell: (change: PeerChange) => void;
}

export class PeerWatch {
  readonly #init: PeerWatchInit;
  readonly #told = new Map<PeerId, PeerChange>();

  constructor(init: PeerWatchInit) {
    this.#init = init;
  }

  hear(notice: MembershipNotice): void {
    if (notice.type === 'changed') {
      this.#look(notice.peers);
    }
  }

  stateOf({ status, isSilent }: MemberView): PeerState {
    switch (status) {
      case 'alive':
        return isSilent ? 'suspect' : 'joined';
      case 'left':
        return 'left';
      case 'dead':
      case 'expired':
        return 'dead';
    }
  }

  /** What a peer is called; one that left keeps its name, though its last record has none. */
  nameOf({ record }: MemberView): string {
    return record.name || (this.#told.get(record.peerId)?.name ?? '');
  }

  #look(peers: readonly PeerId[]): void {
    const views = new Map(this.#init.members().map((view) => [view.record.peerId, view]));
    for (const peerId of peers) {
      const view = views.get(peerId);
      // Whoever is not in the table any more was put out, or is long forgotten.
      const state = view === undefined ? 'left' : this.stateOf(view);
      const before = this.#told.get(peerId);
      const isNews = before === undefined ? state === 'joined' : before.state !== state;
      if (peerId !== this.#init.self && isNews) {
        const name = view === undefined ? before?.name : this.nameOf(view);
        const change = { peerId, name, state, isUp: view?.isUp ?? false };
        this.#told.set(peerId, change);
        this.#init.tell(change);
      }
      if (view === undefined) {
        this.#told.delete(peerId);
      }
    }
  }
}
