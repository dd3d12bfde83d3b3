// What an admin signs to put a peer or an invite out: the revocation itself, and in place of the uses that
// the peer signed its own, so that those who joined through it stay.
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { type Certificate, chainOf, coversTime, type Issuer, issueCertificate } from './certificate.ts';
import type { Envelope } from './envelope.ts';
import { keyText } from './keys.ts';
import {
  type Admitter,
  mayAdmit,
  type Revocation,
  type RevocationTarget,
  rankOf,
  revokes,
  sealRevocation,
  sealUse,
  signerRank,
  type Use,
  withinGrant,
} from './proofs.ts';
import type { Ruling } from './ruling.ts';

/** Signs a revocation that keeps those of its target in force. Throws `role_forbidden` if it would touch nothing. */
export function sealRevocationBy(options: {
  readonly target: RevocationTarget;
  readonly issuer: Issuer;
  /** Certificates of the present members. */
  readonly members: readonly Certificate[];
  readonly inForce: readonly Revocation[];
  readonly nowMs: number;
}): Envelope {
  const { target, issuer, members, inForce, nowMs } = options;
  const rank = signerRank(issuer.certificate);
  if (rank === 0) {
    throw new MeshnodeError('role_forbidden', 'Only the mesh key and admins can revoke.');
  }
  const known = members.filter((member) => isTarget(target, member));
  // A renewal may bear the date of a clock ahead of ours; it must not escape.
  const lastMs = Math.max(nowMs, ...known.map(({ sinceMs }) => sinceMs));
  const atMs = 'peer' in target ? Math.min(lastMs, nowMs + trustLimits.clockToleranceMs) : nowMs;
  const fields = { target, atMs, rank };
  if (known.length > 0 && known.every((member) => rankOf(member) >= rank)) {
    throw new MeshnodeError(
      'role_forbidden',
      'An admin is revoked by one nearer to the mesh key, or by the mesh key.',
    );
  }
  const kept = inForce
    .filter(({ signer }) => signer !== undefined && chainOf(signer).some((link) => revokes(fields, link)))
    .sort((a, b) => b.atMs - a.atMs)
    .slice(0, trustLimits.keptRevocations)
    .map((revocation) => revocation.hash);
  return sealRevocation({ target, atMs, keep: new Set(kept) }, issuer);
}

function isTarget(target: RevocationTarget, { peerKey, invite }: Certificate): boolean {
  return 'peer' in target ? keyText(peerKey) === target.peer : invite?.key === target.invite;
}

/**
 * Signs the uses that `members` stand on and that lost their admitter between two rulings, with the time they had.
 * Who had no seat gets none: it would come before others now. Left out are also those that an admin cannot sign,
 * because its own certificate is younger: their members need a renewal.
 */
export function reSignedUses(options: {
  readonly before: Ruling;
  readonly after: Ruling;
  readonly issuer: Issuer;
  readonly members: readonly Certificate[];
}): Envelope[] {
  const { before, after, issuer, members } = options;
  const peers = new Set(members.map((member) => member.peerId));
  return before.standingUses
    .filter(
      ({ certificate, admitter }) =>
        after.isOut(admitter) && peers.has(certificate.peerId) && !after.isOut(certificate),
    )
    .flatMap((use) => reSign(use, issuer, after) ?? []);
}

function reSign({ certificate, atMs }: Use, issuer: Issuer, ruling: Ruling): Envelope | undefined {
  const admitter = admitterAt(issuer, atMs);
  const signedMs = Math.max(atMs, ruling.usesFromMs(admitter.certificate));
  const can =
    mayAdmit(admitter.certificate, certificate) &&
    withinGrant(certificate.invite, signedMs) &&
    coversTime(admitter.certificate, signedMs);
  return can ? sealUse(certificate, signedMs, admitter) : undefined;
}

/** The issuer as a member. The mesh key is none, but can make itself one of any date. */
function admitterAt({ meshId, key, certificate }: Issuer, atMs: number): Admitter {
  return {
    key,
    certificate:
      certificate ??
      issueCertificate({ issuer: { meshId, key }, peerKey: key.publicKey, role: 'admin', nowMs: atMs }),
  };
}
