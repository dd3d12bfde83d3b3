// Whom to dial, and when again: the members of the table, peers remembered from earlier, and those that an
// invite or a member names. Bounded and backed off per peer. A member is given up only when it has left or is put
// out: a mesh that was cut in two finds together again however long that lasted.
import type { PeerId } from '../trust/keys.ts';
import { beatLimits, meshLimits } from '../util/limits/mesh.ts';
import type { PeerAddresses } from './message.ts';
import { pairScore } from './rendezvous.ts';

interface Candidate {
  addresses: readonly string[];
  /** A record vouches for it; else it is hearsay and soon forgotten. */
  isMember: boolean;
  failures: number;
  nextMs: number;
  /** Monotonic time of the last dial. */
  dialledMs: number;
  /** Order among all candidates in a mesh too large to be linked to everybody. */
  readonly score: string;
}

export interface DialPlanState {
  readonly self: PeerId;
  isLinked(peer: PeerId): boolean;
  /** Everybody that is linked. */
  linked(): Iterable<PeerId>;
  /** Whether this node, too, can be dialled from its own machine only. */
  keepsToItsMachine(): boolean;
}

export class DialPlan {
  readonly #state: DialPlanState;
  readonly #candidates = new Map<PeerId, Candidate>();
  readonly #dialling = new Set<PeerId>();
  /** Members that this node has use for, and until when. */
  readonly #used = new Map<PeerId, number>();
  /** Those this node keeps links to; undefined after the candidates changed. */
  #chosen: readonly NamedCandidate[] | undefined;
  /** Asked for after every event; undefined after anything changed. */
  #next: { readonly ms: number | undefined } | undefined;

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

  /** Members and where to dial them, those that answer first. */
  known(): PeerAddresses[] {
    return [...this.#candidates]
      .filter(([, { isMember }]) => isMember)
      .sort(([, a], [, b]) => a.failures - b.failures)
      .map(([peerId, { addresses }]) => ({ peerId, addresses }));
  }

  /**
   * A member announces where it is; whether that is news. A newcomer dials everybody itself, so it gets the time to.
   * Nobody makes this node knock at its own machine's doors, or at many doors in a short time.
   */
  member(peer: PeerId, announced: readonly string[], monotonicMs: number): boolean {
    const known = this.#candidates.get(peer);
    const mayBeLocal = this.#state.keepsToItsMachine();
    const addresses = announced
      .filter((address) => mayBeLocal || !localAddress.test(address))
      .slice(0, meshLimits.dialledAddresses);
    if (peer === this.#state.self || addresses.length === 0) {
      return false;
    }
    if (known === undefined) {
      this.#add(peer, addresses, { isMember: true, nextMs: monotonicMs + meshLimits.dialCourtesyMs });
      return true;
    }
    const isNews = known.addresses.join() !== addresses.join();
    if (isNews) {
      const soonestMs = Math.max(monotonicMs, known.dialledMs + meshLimits.redialMs);
      known.nextMs = Math.min(known.nextMs, soonestMs);
      this.#next = undefined;
    }
    known.addresses = addresses;
    known.isMember = true;
    return isNews;
  }

  forget(peer: PeerId): void {
    this.#candidates.delete(peer);
    this.#dialling.delete(peer);
    this.#chooseAnew();
  }

  /** The peer may be no member any more: a few dials will tell, unless its record does. */
  doubt(peer: PeerId): void {
    const known = this.#candidates.get(peer);
    if (known !== undefined) {
      known.isMember = false;
      known.failures = 0;
      this.#chooseAnew();
    }
  }

  linked(peer: PeerId): void {
    this.#dialling.delete(peer);
    this.#next = undefined;
  }

  /** The last link to a peer is gone; whether it is dialled again `lost` and `failed` say. */
  unlinked(): void {
    this.#next = undefined;
  }

  /** The peer turned out to be a member that can be talked to. */
  up(peer: PeerId): void {
    const known = this.#candidates.get(peer);
    if (known !== undefined) {
      known.failures = 0;
      this.#chooseAnew();
    }
  }

  /** The link to a member is lost: dialled again at once. */
  lost(peer: PeerId, monotonicMs: number): void {
    const known = this.#candidates.get(peer);
    if (known !== undefined) {
      known.nextMs = monotonicMs;
      this.#next = undefined;
    }
  }

  /** This node has use for a member: it is dialled now if it is not linked, and kept linked for a while. */
  use(peer: PeerId, monotonicMs: number): void {
    const known = this.#candidates.get(peer);
    for (const [other, untilMs] of this.#used) {
      if (untilMs <= monotonicMs) {
        this.#used.delete(other);
      }
    }
    this.#used.set(peer, monotonicMs + beatLimits.routedMs);
    if (known !== undefined && !this.#state.isLinked(peer)) {
      known.nextMs = Math.min(known.nextMs, monotonicMs);
    }
    this.#chooseAnew();
  }

  /** A dial was not even tried: it says nothing of the peer. */
  postponed(peer: PeerId, monotonicMs: number): void {
    const known = this.#candidates.get(peer);
    this.#dialling.delete(peer);
    if (known !== undefined) {
      known.nextMs = monotonicMs + meshLimits.postponedDialMs;
      this.#next = undefined;
    }
  }

  /** Takes a dial or a link that came to nothing; how many there were in a row. */
  failed(peer: PeerId, monotonicMs: number): number {
    const known = this.#candidates.get(peer);
    if (known === undefined) {
      return 0;
    }
    this.#dialling.delete(peer);
    known.failures++;
    this.#chooseAnew();
    const waitMs = Math.min(meshLimits.dialRetryMs * 2 ** (known.failures - 1), meshLimits.dialRetryMaxMs);
    known.nextMs = monotonicMs + waitMs;
    if (!known.isMember && known.failures >= meshLimits.hearsayDials) {
      this.forget(peer);
    }
    return known.failures;
  }

  /** The dials that are due now; each is taken as begun. */
  due(monotonicMs: number): PeerAddresses[] {
    if ((this.nextMs() ?? Number.POSITIVE_INFINITY) > monotonicMs) {
      return [];
    }
    const wanted = this.#wanted().filter(([, { nextMs }]) => nextMs <= monotonicMs);
    this.#next = undefined;
    return wanted.slice(0, this.#freeDials()).map(([peerId, known]) => {
      this.#dialling.add(peerId);
      known.dialledMs = monotonicMs;
      return { peerId, addresses: known.addresses };
    });
  }

  /** Monotonic time of the next dial, or undefined if nobody is to be dialled before another dial has ended. */
  nextMs(): number | undefined {
    this.#next ??= { ms: this.#nextDialMs() };
    return this.#next.ms;
  }

  #nextDialMs(): number | undefined {
    if (this.#freeDials() <= 0) {
      return undefined;
    }
    const times = this.#wanted().map(([, { nextMs }]) => nextMs);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  #chooseAnew(): void {
    this.#chosen = undefined;
    this.#next = undefined;
  }

  #add(peer: PeerId, addresses: readonly string[], state: Pick<Candidate, 'isMember' | 'nextMs'>): void {
    const score = pairScore(this.#state.self, peer);
    const dialledMs = Number.NEGATIVE_INFINITY;
    const candidate = { addresses, ...state, dialledMs, failures: 0, score };
    this.#candidates.set(peer, candidate);
    // In a large mesh hardly any newcomer is among the chosen.
    const last = this.#chosen?.at(-1);
    if (last === undefined || !isLarge(this.#candidates.size - 1) || preference(last[1], candidate) > 0) {
      this.#chooseAnew();
    } else if (this.#next?.ms !== undefined && this.#isAlone()) {
      this.#next = { ms: Math.min(this.#next.ms, candidate.nextMs) };
    } else {
      this.#next = undefined;
    }
    this.#dropWorst();
  }

  /** Members come and go over the years: who has not answered for longest makes room. */
  #dropWorst(): void {
    if (this.#candidates.size > meshLimits.records) {
      const worst = [...this.#candidates].reduce((a, b) => (b[1].failures > a[1].failures ? b : a));
      this.forget(worst[0]);
    }
  }

  #freeDials(): number {
    return meshLimits.dials - this.#dialling.size;
  }

  /** Candidates without a link that this node wants one to. */
  #wanted(): NamedCandidate[] {
    this.#chosen ??= chosenOf([...this.#candidates], this.#used);
    return (this.#isAlone() ? [...this.#candidates] : this.#chosen).filter(
      ([peer]) => !this.#dialling.has(peer) && !this.#state.isLinked(peer),
    );
  }

  #isAlone(): boolean {
    for (const peer of this.#state.linked()) {
      if (this.#candidates.has(peer)) {
        return false;
      }
    }
    return true;
  }
}

/** What no other machine can mean. */
const localAddress = /^\/(?:ip4\/(?:127\.|169\.254\.|0\.)|ip6\/(?:::1?\/|fe80:)|dns[46]?\/localhost\/)/i;

type NamedCandidate = readonly [PeerId, Candidate];

/** Everybody, or in a large mesh those in use and those with the lowest scores that have not failed again and again. */
function chosenOf(
  all: readonly NamedCandidate[],
  used: ReadonlyMap<PeerId, number>,
): readonly NamedCandidate[] {
  if (!isLarge(all.length)) {
    return all;
  }
  const inOrder = [...all].sort(([, a], [, b]) => preference(a, b));
  return inOrder.filter(([peer], index) => index < meshLimits.chosenNeighbours || used.has(peer));
}

function isLarge(candidates: number): boolean {
  return candidates > meshLimits.neighbours;
}

/** Negative if `a` is rather kept linked than `b`. */
function preference(a: Candidate, b: Candidate): number {
  const hasFailed = ({ failures }: Candidate): boolean => failures >= meshLimits.doubtfulDials;
  return Number(hasFailed(a)) - Number(hasFailed(b)) || (a.score < b.score ? -1 : 1);
}
