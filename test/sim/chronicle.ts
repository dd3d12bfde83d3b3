// What has truly happened in a simulation: who was invited by whom, who left, who was thrown out, what each node
// has said of itself. Written by the simulation, which did it all; members' views are held against it.
import type { RecordVersion } from '../../src/mesh/version.ts';
import type { PeerId } from '../../src/trust/keys.ts';
import type { Role } from '../../src/trust/roles.ts';

export interface InviteFacts {
  readonly invite: number;
  /** Who made it. */
  readonly by: PeerId;
  readonly role: Role;
  readonly maxUses: number;
  /** Whether everybody who takes it can come in: enough uses and time, and no need of the inviter. */
  readonly isGenerous: boolean;
  /** Whom its token names. */
  readonly contacts: readonly PeerId[];
}

interface PeerFacts {
  /** Undefined: the founder. */
  readonly invite: InviteFacts | undefined;
  /** Who signed the certificates that it could be a member by; undefined: the mesh key did. */
  givers: readonly (PeerId | undefined)[];
  leftMs: number | undefined;
  revokedMs: number | undefined;
  readonly announced: Set<string>;
  highestEpoch: number;
}

export class Chronicle {
  readonly #peers = new Map<PeerId, PeerFacts>();
  readonly #revokers = new Set<PeerId>();

  /** `peer` holds a token's certificate from now on, or is the founder. Whether it is let in is another matter. */
  accepted(peer: PeerId, invite: InviteFacts | undefined): void {
    this.#peers.set(peer, {
      invite,
      givers: [invite?.by],
      leftMs: undefined,
      revokedMs: undefined,
      announced: new Set(),
      highestEpoch: 0,
    });
  }

  /** Its certificates are by these now: it may have been renewed. */
  isGivenBy(peer: PeerId, givers: readonly (PeerId | undefined)[]): void {
    const facts = this.#peers.get(peer);
    if (facts !== undefined) {
      facts.givers = givers;
    }
  }

  left(peer: PeerId, atMs: number): void {
    const facts = this.#peers.get(peer);
    if (facts !== undefined) {
      facts.leftMs ??= atMs;
    }
  }

  revoked(peer: PeerId, by: PeerId, atMs: number): void {
    this.#revokers.add(by);
    const facts = this.#peers.get(peer);
    if (facts !== undefined) {
      facts.revokedMs ??= atMs;
    }
  }

  /** Whether it ever revoked anybody, which nobody else may know yet. */
  hasRevoked(peer: PeerId): boolean {
    return this.#revokers.has(peer);
  }

  announced(peer: PeerId, version: RecordVersion): void {
    const facts = this.#peers.get(peer);
    if (facts !== undefined) {
      facts.announced.add(versionText(version));
      facts.highestEpoch = Math.max(facts.highestEpoch, version.epoch);
    }
  }

  hasAnnounced(peer: PeerId, version: RecordVersion): boolean {
    return this.#peers.get(peer)?.announced.has(versionText(version)) ?? false;
  }

  /** The highest epoch that it has ever announced. */
  highestEpoch(peer: PeerId): number {
    return this.#peers.get(peer)?.highestEpoch ?? 0;
  }

  /** Whether anybody of the mesh ever asked it in. */
  wasInvited(peer: PeerId): boolean {
    return this.#peers.has(peer);
  }

  inviteOf(peer: PeerId): InviteFacts | undefined {
    return this.#peers.get(peer)?.invite;
  }

  hasLeft(peer: PeerId): boolean {
    return this.#peers.get(peer)?.leftMs !== undefined;
  }

  /** When it said that it leaves; undefined: it has not. */
  leftMs(peer: PeerId): number | undefined {
    return this.#peers.get(peer)?.leftMs;
  }

  /** When it lost its place: by its own revocation, or by that of the last who invited or renewed it; undefined: it did not. */
  outSinceMs(peer: PeerId): number | undefined {
    const { revokedMs, givers = [] } = this.#peers.get(peer) ?? {};
    const above = givers.map((giver) => (giver === undefined ? undefined : this.outSinceMs(giver)));
    const lost = above.filter((time) => time !== undefined);
    const lostMs = above.length > 0 && lost.length === above.length ? [Math.max(...lost)] : [];
    const times = [...lostMs, ...(revokedMs === undefined ? [] : [revokedMs])];
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Whether members should take it for one of them, uses of its invite aside. */
  isStanding(peer: PeerId): boolean {
    return this.wasInvited(peer) && !this.hasLeft(peer) && this.outSinceMs(peer) === undefined;
  }
}

/** `epoch.sequence`. */
export function versionText({ epoch, sequence }: RecordVersion): string {
  return `${epoch}.${sequence}`;
}
