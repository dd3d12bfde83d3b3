// Who stands, by a given set of uses and revocations: pure, so that everybody who holds the same set comes to
// the same result in whatever order it arrived. Holds no state of its own and takes nothing in.
import type { ErrorCode } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { type Certificate, chainOf, type InviteTerms } from './certificate.ts';
import { keyText, type PeerId } from './keys.ts';
import {
  isRedemption,
  meshKeyRank,
  type Redemption,
  type Revocation,
  rankOf,
  revokes,
  type Use,
} from './proofs.ts';

export type Judgement =
  | { readonly standing: true }
  | { readonly standing: false; readonly code: ErrorCode; readonly message: string };

const standing: Judgement = { standing: true };

/** The revocations in force, by whom they concern. */
class Forces {
  readonly #ofPeer = new Map<string, Revocation[]>();
  readonly #ofInvite = new Map<string, Revocation[]>();
  readonly all = new Set<Revocation>();

  add(revocation: Revocation): void {
    const { target } = revocation;
    const [index, key] = 'peer' in target ? [this.#ofPeer, target.peer] : [this.#ofInvite, target.invite];
    const known = index.get(key);
    if (known === undefined) {
      index.set(key, [revocation]);
    } else {
      known.push(revocation);
    }
    this.all.add(revocation);
  }

  /** What puts a certificate out, or one of those above it. */
  against(certificate: Certificate): Revocation[] {
    if (this.#ofPeer.size === 0) {
      return []; // As good as always, and everybody is judged every few seconds.
    }
    return chainOf(certificate).flatMap((link) => this.of(link));
  }

  /** What puts its own peer out. */
  of(certificate: Certificate): Revocation[] {
    const concerning = this.#ofPeer.get(keyText(certificate.peerKey)) ?? [];
    return concerning.filter((revocation) => revokes(revocation, certificate));
  }

  /** What ends the invite of a certificate. */
  againstInvite(certificate: Redemption): Revocation[] {
    const revocations = this.#ofInvite.get(certificate.invite.key) ?? [];
    return revocations.filter((revocation) => revocation.rank > rankOf(certificate));
  }
}

/** A counting use for each seat that is taken. */
type Seats = ReadonlyMap<string, Use>;

/** Which seats are taken, and which of them stand. */
class Seating {
  /** The earliest of each seat: from then on its peer sees others. */
  readonly earliest: Seats;
  /** The weightiest of each seat: it decides whether the seat stands. */
  readonly deciding: Seats;
  /** Per grant the seats that stand; those beyond the uses of the invite are not among them. */
  readonly #standing: ReadonlyMap<string, ReadonlySet<string>>;

  constructor(sorted: readonly Use[], forces: Forces) {
    this.earliest = earliestUses(sorted, forces);
    this.deciding = weightiestUses(sorted.filter((use) => counts(use, forces, this.earliest)));
    this.#standing = settle(this.deciding);
  }

  isTaken(certificate: Redemption): boolean {
    return this.deciding.has(seatOf(certificate));
  }

  /** The use that decides for a seat, and the earliest; they may be one. */
  usesOf(certificate: Redemption): Set<Use> {
    const seat = seatOf(certificate);
    return new Set([this.deciding, this.earliest].flatMap((seats) => seats.get(seat) ?? []));
  }

  stands(certificate: Redemption): boolean {
    return this.#standing.get(certificate.invite.grant)?.has(seatOf(certificate)) ?? false;
  }

  isFull({ grant, maxUses }: InviteTerms): boolean {
    return (this.#standing.get(grant)?.size ?? 0) >= maxUses;
  }

  /** The uses that fill an invite. */
  standingUsesOf({ grant }: InviteTerms): Use[] {
    const standing = this.#standing.get(grant) ?? new Set();
    return [...standing].flatMap((seat) => this.deciding.get(seat) ?? []);
  }
}

export class Ruling {
  readonly #forces: Forces;
  readonly #seating: Seating;

  private constructor(forces: Forces, seating: Seating) {
    this.#forces = forces;
    this.#seating = seating;
  }

  /**
   * Rules over everything held. The mesh key is heard first, then admins by rank, each rank by what those above
   * it left standing: so two revocations, or a revocation and the use that its signer joined by, can never
   * undo each other in a circle.
   */
  static over(uses: Iterable<Use>, revocations: readonly Revocation[]): Ruling {
    const sorted = [...uses].sort(earlierUse);
    const forces = new Forces();
    for (let rank = meshKeyRank; rank > 0; rank--) {
      const ofRank = revocations.filter((revocation) => revocation.rank === rank);
      if (ofRank.length > 0) {
        const seating = new Seating(rank === meshKeyRank ? [] : sorted, forces);
        for (const revocation of ofRank.filter((candidate) => isHeard(candidate, forces, seating))) {
          forces.add(revocation);
        }
      }
    }
    return new Ruling(forces, new Seating(sorted, forces));
  }

  /** Whether a certificate stands at `nowMs`. With `atInviter`, as its inviter sees it who admits it now. */
  judge(certificate: Certificate, nowMs: number, { atInviter = false } = {}): Judgement {
    if (this.isOut(certificate)) {
      return refusal('certificate_revoked', 'The peer, or who made it a member, was revoked.');
    }
    const refused = (link: Certificate): Judgement | undefined =>
      judgeDates(link, nowMs) ??
      (isRedemption(link) ? this.#judgeInvite(link, nowMs, atInviter && link === certificate) : undefined);
    return (
      chainOf(certificate)
        .map(refused)
        .find((judgement) => judgement !== undefined) ?? standing
    );
  }

  /** Whether a use counts, held or not. */
  counts(use: Use): boolean {
    return counts(use, this.#forces, this.#seating.earliest);
  }

  /** Whether a revocation is in force, held or not. */
  isInForce(revocation: Revocation): boolean {
    return this.#forces.all.has(revocation) || isHeard(revocation, this.#forces, this.#seating);
  }

  get inForce(): readonly Revocation[] {
    return [...this.#forces.all];
  }

  /** Of every seat that stands the uses it stands on: that which decides, and the earliest. */
  get standingUses(): readonly Use[] {
    return [...this.#seating.deciding.values()]
      .filter(({ certificate }) => this.#seating.stands(certificate))
      .flatMap(({ certificate }) => this.usesOf(certificate));
  }

  /** The use that decides for a certificate, if it was redeemed and seen. */
  decidingUse(certificate: Certificate): Use | undefined {
    return isRedemption(certificate) ? this.#seating.deciding.get(seatOf(certificate)) : undefined;
  }

  /** The uses that a certificate, and what its peer signed, lean on: that which decides, and the earliest. */
  usesOf(certificate: Certificate): Use[] {
    return isRedemption(certificate) ? [...this.#seating.usesOf(certificate)] : [];
  }

  /** The uses that leave no seat to a certificate; none if it has one, or could have. */
  usesBefore(certificate: Certificate): Use[] {
    const isLeftOver =
      isRedemption(certificate) &&
      !this.#seating.stands(certificate) &&
      this.#seating.isFull(certificate.invite);
    return isLeftOver ? this.#seating.standingUsesOf(certificate.invite) : [];
  }

  /** Whether a revocation in force puts the certificate or one above it out. */
  isOut(certificate: Certificate): boolean {
    return this.#forces.against(certificate).length > 0;
  }

  /** Whether one puts it out that concerns its own peer. */
  isOutItself(certificate: Certificate): boolean {
    return this.#forces.of(certificate).length > 0;
  }

  /** The revocations in force that bear on one certificate or its invite. */
  against(certificate: Certificate): Revocation[] {
    const ofInvite = isRedemption(certificate) ? this.#forces.againstInvite(certificate) : [];
    return [...this.#forces.against(certificate), ...ofInvite];
  }

  /** The earliest time that a use signed with this certificate may bear. */
  usesFromMs(admitter: Certificate): number {
    const seen = seatsUnder(admitter).map((seat) => this.#seating.earliest.get(seat)?.atMs ?? 0);
    return Math.max(0, ...seen);
  }

  #judgeInvite(certificate: Redemption, nowMs: number, atInviter: boolean): Judgement | undefined {
    const { grantExpiresMs, strict } = certificate.invite;
    if (this.#seating.isTaken(certificate)) {
      return this.#seating.stands(certificate)
        ? undefined
        : refusal('token_used_up', 'The invite had admitted all that it could before this peer.');
    }
    if (this.#forces.againstInvite(certificate).length > 0) {
      return refusal('certificate_revoked', 'The invite was revoked before any member saw this peer.');
    }
    if (nowMs > grantExpiresMs + trustLimits.clockToleranceMs) {
      // Whoever finds an old token can date an acceptance back; nobody could have seen it then.
      return refusal('token_expired', 'The invite expired before any member saw this peer.');
    }
    if (this.#seating.isFull(certificate.invite)) {
      return refusal('token_used_up', 'The invite has admitted all that it could.');
    }
    // Provisionally: the use may not have come here yet. Such a peer vouches for nobody.
    return strict && !atInviter
      ? refusal('role_forbidden', 'By this invite only the inviter itself can admit.')
      : undefined;
  }
}

function judgeDates({ issuedMs, expiresMs }: Certificate, nowMs: number): Judgement | undefined {
  if (nowMs > expiresMs) {
    return refusal('certificate_expired', 'The certificate has expired.');
  }
  return issuedMs > nowMs + trustLimits.clockToleranceMs
    ? refusal('clock_skewed', 'By the clock of this machine the certificate is not made yet.')
    : undefined;
}

/**
 * The seats that are taken, each with its earliest use: the least set that follows from what the mesh key and its
 * admins issued. A use counts only if its admitter is already in the set, so keys made from one leaked token cannot
 * vouch for each other. Weight does not matter here: more uses make a seat earlier, never later, so that no use can
 * undo another. Who overspent an invite still sees others: taking that back could undo what made it overspent, and
 * since a use is dated after its admitter was seen, its newcomer could have joined at any other member then.
 */
function earliestUses(sorted: readonly Use[], forces: Forces): Seats {
  const seats = new Map<string, Use>();
  const leaning = Map.groupBy(
    sorted.flatMap((use) => seatsUnder(use.admitter).map((seat) => ({ seat, use }))),
    ({ seat }) => seat,
  );
  const waiting = [...sorted];
  for (const use of waiting) {
    const seat = seatOf(use.certificate);
    const known = seats.get(seat);
    if ((known === undefined || earlierUse(use, known) < 0) && counts(use, forces, seats)) {
      seats.set(seat, use);
      waiting.push(...(leaning.get(seat) ?? []).map((other) => other.use));
    }
  }
  return seats;
}

function counts({ certificate, atMs, admitter }: Use, forces: Forces, seats: Seats): boolean {
  // An admitter speaks of the time since it was seen itself: later than an old token that it may hold.
  const seenBefore = seatsUnder(admitter).every((seat) => (seats.get(seat)?.atMs ?? Infinity) <= atMs);
  return (
    seenBefore &&
    forces.against(admitter).length === 0 &&
    forces.againstInvite(certificate).every((revocation) => atMs <= revocation.atMs)
  );
}

/** Of each seat the use that decides. */
function weightiestUses(counting: readonly Use[]): Seats {
  const seats = new Map<string, Use>();
  for (const use of counting) {
    const seat = seatOf(use.certificate);
    const known = seats.get(seat);
    if (known === undefined || weightierUse(use, known) < 0) {
      seats.set(seat, use);
    }
  }
  return seats;
}

/** Whether a revocation takes effect, by what those of higher rank left standing. */
function isHeard(revocation: Revocation, forces: Forces, seating: Seating): boolean {
  const { signer, hash } = revocation;
  return (
    signer === undefined ||
    (chainOf(signer).every((link) => !isRedemption(link) || seating.stands(link)) &&
      forces.against(signer).every((higher) => higher.keep.has(hash)))
  );
}

/** Of each grant the first so many seats, by the uses that decide for them. */
function settle(seats: Seats): Map<string, ReadonlySet<string>> {
  const byGrant = Map.groupBy(seats.values(), (use) => use.certificate.invite.grant);
  return new Map(
    [...byGrant].map(([grant, uses]) => {
      const most = uses[0]?.certificate.invite.maxUses ?? 0;
      const first = uses.sort(weightierUse).slice(0, most);
      return [grant, new Set(first.map((use) => seatOf(use.certificate)))];
    }),
  );
}

/** The seats that a certificate and those above it stand on; none if all were issued. */
function seatsUnder(certificate: Certificate): string[] {
  return chainOf(certificate).filter(isRedemption).map(seatOf);
}

/** An invite admits each peer once, whatever roles it accepted it in. */
function seatOf({ invite, peerId }: Redemption): string {
  return `${invite.grant} ${peerId}`;
}

function peerOf(use: Use): PeerId {
  return use.certificate.peerId;
}

/**
 * What a use weighs: by its admitter's rank, of one rank more if the mesh key or an admin issued the admitter's
 * certificate. Dates cannot be checked: any member with the token can make peers and date them before all others.
 * (Barring those who joined by the same token would not stop that, for whoever joined by another can do it too, and
 * would leave nobody to admit while the inviter is away.) So who has less weight takes only what seats are left over.
 */
export function weightOf({ admitter }: Use): number {
  return 2 * rankOf(admitter) + Number(seatsUnder(admitter).length === 0);
}

/** The order in which uses decide and seats are taken. */
function weightierUse(a: Use, b: Use): number {
  return weightOf(b) - weightOf(a) || earlierUse(a, b);
}

/** By time, the newcomer, the admitter. */
export function earlierUse(a: Use, b: Use): number {
  return (
    a.atMs - b.atMs ||
    order(peerOf(a), peerOf(b)) ||
    order(a.admitter.peerId, b.admitter.peerId) ||
    order(a.hash, b.hash)
  );
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function refusal(code: ErrorCode, message: string): Judgement {
  return { standing: false, code, message };
}
