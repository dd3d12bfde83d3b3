// Whom to dial, and when again: the members of the table, peers remembered from earlier, and those that an
// invite or a member names. Bounded and backed off per peer; knows nothing of links but their number.
import { createHash } from 'node:crypto';
import type { PeerId } from '../trust/keys.ts';
import { meshLimits } from '../util/limits.ts';
import type { PeerAddresses } from './message.ts';

interface Candidate {
  addresses: readonly string[];
  /** A record vouches for it; else it is hearsay and soon forgotten. */
  isMember: boolean;
  failures: number;
  nextMs: number;
  isDialling: boolean;
  /** Order among all candidates in a mesh too large to be linked to everybody. */
  readonly score: string;
}

export interface DialPlanState {
  readonly self: PeerId;
  isLinked(peer: PeerId): boolean;
}

export class DialPlan {
  readonly #state: DialPlanState;
  readonly #candidates = new Map<PeerId, Candidate>();
  /** Those this node keeps links to; undefined after the candidates changed. */
  #chosen: readonly (readonly [PeerId, Candidate])[] | undefined;

  constructor(state: DialPlanState) {
    this.#state = state;
  }

  /** Peers that a member names, best first. */
  suggest(peers: readonly PeerAddresses[], monotonicMs: number): void {
    for (const { peerId, addresses } of peers) {
      const known = this.#candidates.get(peerId);
      const hearsay = [...this.#candidates.values()].filter(({ isMember }) => !isMember).length;
      if (peerId === this.#state.self || addresses.length === 0 || known?.isMember) {
        continue;
      }
      if (known !== undefined) {
        known.addresses = addresses;
      } else if (hearsay < meshLimits.hearsayPeers) {
        this.#add(peerId, addresses, { isMember: false, nextMs: monotonicMs });
      }
    }
  }

  /** Members of an earlier run and those of the invite: dialled at once, and never given up. */
  trust(peers: readonly PeerAddresses[], monotonicMs: number): void {
    for (const { peerId, addresses } of peers) {
      if (peerId !== this.#state.self && addresses.length > 0 && !this.#candidates.has(peerId)) {
        this.#add(peerId, addresses, { isMember: true, nextMs: monotonicMs });
      }
    }
  }

  /** Members and where to dial them. */
  known(): PeerAddresses[] {
    return [...this.#candidates]
      .filter(([, { isMember }]) => isMember)
      .map(([peerId, { addresses }]) => ({ peerId, addresses }));
  }

  /** A member announces where it is. A newcomer dials everybody itself, so it gets the time to. */
  member(peer: PeerId, addresses: readonly string[], monotonicMs: number): void {
    const known = this.#candidates.get(peer);
    if (peer === this.#state.self || addresses.length === 0) {
      return;
    }
    if (known === undefined) {
      this.#add(peer, addresses, { isMember: true, nextMs: monotonicMs + meshLimits.dialCourtesyMs });
      return;
    }
    if (known.addresses.join() !== addresses.join()) {
      known.nextMs = Math.min(known.nextMs, monotonicMs);
    }
    known.addresses = addresses;
    known.isMember = true;
  }

  forget(peer: PeerId): void {
    this.#candidates.delete(peer);
    this.#chosen = undefined;
  }

  linked(peer: PeerId): void {
    const known = this.#candidates.get(peer);
    if (known !== undefined) {
      known.isDialling = false;
    }
  }

  /** The peer turned out to be a member that can be talked to. */
  up(peer: PeerId): void {
    const known = this.#candidates.get(peer);
    if (known !== undefined) {
      known.failures = 0;
    }
  }

  /** The link to a member is lost: dialled again at once. */
  lost(peer: PeerId, monotonicMs: number): void {
    const known = this.#candidates.get(peer);
    if (known !== undefined) {
      known.nextMs = monotonicMs;
    }
  }

  /** Takes a dial or a link that came to nothing; how many there were in a row. */
  failed(peer: PeerId, monotonicMs: number): number {
    const known = this.#candidates.get(peer);
    if (known === undefined) {
      return 0;
    }
    known.isDialling = false;
    known.failures++;
    const waitMs = Math.min(meshLimits.dialRetryMs * 2 ** (known.failures - 1), meshLimits.dialRetryMaxMs);
    known.nextMs = monotonicMs + waitMs;
    if (!known.isMember && known.failures >= meshLimits.hearsayDials) {
      this.forget(peer);
    }
    return known.failures;
  }

  /** The dials that are due now; each is taken as begun. */
  due(monotonicMs: number): PeerAddresses[] {
    const dialling = [...this.#candidates.values()].filter(({ isDialling }) => isDialling).length;
    const wanted = this.#wanted().filter(([, { nextMs }]) => nextMs <= monotonicMs);
    return wanted.slice(0, Math.max(0, meshLimits.dials - dialling)).map(([peerId, known]) => {
      known.isDialling = true;
      return { peerId, addresses: known.addresses };
    });
  }

  /** Monotonic time of the next dial, or undefined if nobody is to be dialled. */
  nextMs(): number | undefined {
    const times = this.#wanted().map(([, { nextMs }]) => nextMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  #add(peer: PeerId, addresses: readonly string[], state: Pick<Candidate, 'isMember' | 'nextMs'>): void {
    const score = pairScore(this.#state.self, peer);
    this.#candidates.set(peer, { addresses, ...state, failures: 0, isDialling: false, score });
    this.#chosen = undefined;
  }

  /** Candidates without a link that this node wants one to. */
  #wanted(): (readonly [PeerId, Candidate])[] {
    this.#chosen ??= chosenOf([...this.#candidates]);
    return this.#chosen.filter(([peer, { isDialling }]) => !isDialling && !this.#state.isLinked(peer));
  }
}

/** Everybody, or in a large mesh those with the lowest scores. */
function chosenOf(all: readonly (readonly [PeerId, Candidate])[]): readonly (readonly [PeerId, Candidate])[] {
  if (all.length <= meshLimits.neighbours) {
    return all;
  }
  const byScore = [...all].sort(([, a], [, b]) => (a.score < b.score ? -1 : 1));
  return byScore.slice(0, meshLimits.chosenNeighbours);
}

/** The same for both ends of a pair, and evenly spread: rendezvous hashing. */
function pairScore(a: PeerId, b: PeerId): string {
  return createHash('sha256').update([a, b].sort().join()).digest('hex').slice(0, 16);
}
