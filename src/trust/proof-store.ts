// The uses and revocations that a node holds, within bounds, and the ruling over them. What comes in was
// verified before.
import { trustLimits } from '../util/limits/trust.ts';
import type { Envelope } from './envelope.ts';
import { meshKeyRank, type Revocation, type Use, useEndMs } from './proofs.ts';
import { earlierUse, Ruling, weightOf } from './ruling.ts';

export class ProofStore {
  /** By the hash of their envelope. */
  readonly #uses = new Map<string, Use>();
  readonly #revocations = new Map<string, Revocation>();
  /** Hashes of uses by grant: each grant has its own bound. */
  readonly #usesOf = new Map<string, Set<string>>();
  #version = 0;
  /** Of the present version; undefined until it is asked for. */
  #ruling: Ruling | undefined;

  /** Rises with every change. */
  get version(): number {
    return this.#version;
  }

  get ruling(): Ruling {
    this.#ruling ??= Ruling.over(this.#uses.values(), [...this.#revocations.values()]);
    return this.#ruling;
  }

  /** The ruling as it would be with another revocation. */
  rulingWith(revocation: Revocation): Ruling {
    return Ruling.over(this.#uses.values(), [...this.#revocations.values(), revocation]);
  }

  get size(): number {
    return this.#uses.size + this.#revocations.size;
  }

  get envelopes(): Envelope[] {
    return [...this.#uses.values(), ...this.#revocations.values()].map((proof) => proof.envelope);
  }

  has(hash: string): boolean {
    return this.#uses.has(hash) || this.#revocations.has(hash);
  }

  /** Takes a use in; false if others are held instead. */
  addUse(use: Use): boolean {
    const last = this.#lastUse(this.#fullGroup(use));
    if (last !== undefined) {
      if (this.#goesBefore(last, use)) {
        return false;
      }
      this.#removeUse(last);
    }
    const { grant } = use.certificate.invite;
    this.#uses.set(use.hash, use);
    this.#usesOf.set(grant, (this.#usesOf.get(grant) ?? new Set()).add(use.hash));
    this.#changed();
    return true;
  }

  /** Takes a revocation in; false if others are held instead. */
  addRevocation(revocation: Revocation): boolean {
    if (this.#revocations.size >= trustLimits.revocations) {
      const last = this.#lastRevocation([revocation, ...this.#revocations.values()]);
      if (last === revocation) {
        return false;
      }
      this.#revocations.delete(last.hash);
    }
    this.#revocations.set(revocation.hash, revocation);
    this.#changed();
    return true;
  }

  /** Forgets what has ended. Nothing that it bore on is in date any more, so no judgement changes. */
  prune(nowMs: number): void {
    const uses = [...this.#uses.values()].filter((use) => hasEnded(useEndMs(use), nowMs));
    const revocations = [...this.#revocations.values()].filter((revocation) =>
      hasEnded(revocation.untilMs, nowMs),
    );
    if (uses.length + revocations.length > 0) {
      for (const use of uses) {
        this.#removeUse(use);
      }
      for (const { hash } of revocations) {
        this.#revocations.delete(hash);
      }
      this.#changed();
    }
  }

  /** The uses among which room must be made for another: of its own invite or, if all is full, of the fullest. */
  #fullGroup({ certificate }: Use): Use[] {
    const { grant, maxUses } = certificate.invite;
    const own = this.#usesOf.get(grant);
    // Members of each rank below the mesh key may have seen the same peer.
    if (own !== undefined && own.size >= meshKeyRank * maxUses + trustLimits.spareUses) {
      return this.#held(own);
    }
    return this.#uses.size < trustLimits.uses
      ? []
      : this.#held([...this.#usesOf.values()].reduce((a, b) => (b.size > a.size ? b : a)));
  }

  #held(hashes: Iterable<string>): Use[] {
    return [...hashes].flatMap((hash) => this.#uses.get(hash) ?? []);
  }

  /** The one to do without. */
  #lastUse(uses: readonly Use[]): Use | undefined {
    return uses.reduce<Use | undefined>(
      (last, use) => (last === undefined || this.#goesBefore(last, use) ? use : last),
      undefined,
    );
  }

  /**
   * Whether `held` is kept rather than `other`: first those that count, so that nobody who merely has a token
   * can crowd out the uses of members; then those that weigh more, so that no member can crowd out those of
   * admins; then, of one invite, the earlier.
   */
  #goesBefore(held: Use, other: Use): boolean {
    const counts = (use: Use): number => Number(this.ruling.counts(use));
    const sameInvite = held.certificate.invite.grant === other.certificate.invite.grant;
    const difference = counts(other) - counts(held) || weightOf(other) - weightOf(held);
    return (difference || (sameInvite ? earlierUse(held, other) : 0)) < 0;
  }

  /** The one to do without: first what is not in force, then by rank of the signer, then the oldest. */
  #lastRevocation(revocations: readonly [Revocation, ...Revocation[]]): Revocation {
    const { ruling } = this;
    const value = (revocation: Revocation): number[] => [
      Number(ruling.isInForce(revocation)),
      revocation.rank,
      revocation.atMs,
    ];
    return revocations.reduce((a, b) => (compare(value(a), value(b)) < 0 ? a : b));
  }

  #removeUse(use: Use): void {
    const { grant } = use.certificate.invite;
    const ofGrant = this.#usesOf.get(grant);
    this.#uses.delete(use.hash);
    ofGrant?.delete(use.hash);
    if (ofGrant?.size === 0) {
      this.#usesOf.delete(grant);
    }
  }

  #changed(): void {
    this.#version++;
    this.#ruling = undefined;
  }
}

/** Whether a proof with this end is to be forgotten, or not to be taken in. */
export function hasEnded(endMs: number, nowMs: number): boolean {
  return nowMs > endMs + trustLimits.clockToleranceMs;
}

/** Lexicographic, of lists of one length. */
function compare(a: readonly number[], b: readonly number[]): number {
  return a.map((value, index) => value - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0;
}
