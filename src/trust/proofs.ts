// The two statements that certificates are judged by: a use (a member saw an invite redeemed) and a
// revocation (a peer or an invite is out). What can be verified of one by itself is verified here.
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { Revocation as RevocationMessage, Use as UseMessage } from '../wire/trust-messages.ts';
import { type Certificate, coversTime, type InviteTerms, type Issuer } from './certificate.ts';
import { type Envelope, envelopeHash, seal } from './envelope.ts';
import { decodeFields, readKey, readTime } from './fields.ts';
import { type KeyPair, keyText } from './keys.ts';

/** A certificate that came by an invite. */
export type Redemption = Certificate & { readonly invite: InviteTerms };

export interface Use {
  readonly envelope: Envelope;
  /** SHA-256 of the envelope, hex. */
  readonly hash: string;
  readonly certificate: Redemption;
  readonly atMs: number;
  readonly admitter: Certificate;
}

/** A member that signs for what it saw. */
export interface Admitter {
  readonly key: KeyPair;
  readonly certificate: Certificate;
}

/** Who is out: a peer's public key or an invite's, hex. */
export type RevocationTarget = { readonly peer: string } | { readonly invite: string };

export interface Revocation {
  readonly envelope: Envelope;
  readonly hash: string;
  readonly target: RevocationTarget;
  readonly atMs: number;
  /** Nothing it bears on is in date after this. */
  readonly untilMs: number;
  /** Hashes of the revocations that stay in force although their signer is out. */
  readonly keep: ReadonlySet<string>;
  /** The signer's; undefined: the mesh key. */
  readonly signer: Certificate | undefined;
  /** Only what ranks lower is touched. */
  readonly rank: number;
}

/** The longest time from the making of an invite to the end of a certificate that came by it. */
const generationMs = trustLimits.inviteLifeMs + trustLimits.certificateLifeMs;

/** The rank of the mesh key; of members see rankOf. */
export const meshKeyRank = 3;

/** Who may put whom out: only the higher. Other members have 0, an admin of depth 2 has 1, of depth 1 has 2. */
export function rankOf({ role, depth }: Certificate): number {
  return role === 'admin' ? meshKeyRank - depth : 0;
}

export function isRedemption(certificate: Certificate): certificate is Redemption {
  return certificate.invite !== undefined;
}

/** Whether uses of this certificate count if `admitter` signs them, going by who they are. */
export function mayAdmit(admitter: Certificate, { invite, peerKey }: Redemption): boolean {
  if (admitter.role === 'client' || keyText(admitter.peerKey) === keyText(peerKey)) {
    return false;
  }
  if (!invite.strict) {
    return true;
  }
  // The mesh key itself opens no connection: whoever it gave standing directly admits for it.
  const byMeshKey = keyText(invite.inviterKey) === admitter.meshId;
  return byMeshKey
    ? admitter.role === 'admin' && admitter.depth === 1 && admitter.invite === undefined
    : keyText(admitter.peerKey) === keyText(invite.inviterKey);
}

/** Signs that `certificate` was admitted at `atMs`. */
export function sealUse(certificate: Redemption, atMs: number, admitter: Admitter): Envelope {
  const payload = UseMessage.encode({
    certificate: certificate.bytes,
    atMs,
    admitter: admitter.certificate.bytes,
  }).finish();
  return seal('use', certificate.meshId, payload, admitter.key);
}

/** Reads a use, its signature checked before. Throws `envelope_invalid`, `certificate_invalid`. */
export function readUse(envelope: Envelope, readCertificate: (bytes: Uint8Array) => Certificate): Use {
  const fields = decodeFields(UseMessage, envelope.payload, 'a use');
  const atMs = readTime(fields.atMs, 'use');
  const certificate = readCertificate(fields.certificate);
  const admitter = readCertificate(fields.admitter);
  ensure(isRedemption(certificate), 'A use is of a certificate that came by no invite.');
  ensure(keyText(envelope.signer) === keyText(admitter.peerKey), 'A use is not signed by its admitter.');
  ensure(mayAdmit(admitter, certificate), 'A use is signed by who may not admit by this invite.');
  ensure(coversTime(admitter, atMs), 'A use was signed outside of the time of its admitter.');
  ensure(withinGrant(certificate.invite, atMs), 'A use is dated outside of the time of its invite.');
  return { envelope, hash: keyText(envelopeHash(envelope)), certificate, atMs, admitter };
}

/**
 * When a use can be forgotten: the certificates of its invite have ended by then, and so have those that one of
 * them, as the admitter, helped to stand.
 */
export function useEndMs({ certificate }: Use): number {
  return certificate.invite.grantExpiresMs + trustLimits.certificateLifeMs + generationMs;
}

/**
 * Whether a revocation, if it is in force, puts this one certificate out; its issuers are not looked at. What counts
 * is the date of the invite or issue that made the peer a member: one made after the revocation lets it in again, an
 * old one does not, nor does a renewal by an admin who has not heard. Who signs that date is not the peer.
 */
export function revokes(
  { target, atMs, rank }: Pick<Revocation, 'target' | 'atMs' | 'rank'>,
  certificate: Certificate,
): boolean {
  return (
    'peer' in target &&
    target.peer === keyText(certificate.peerKey) &&
    certificate.sinceMs <= atMs &&
    rank > rankOf(certificate)
  );
}

/** Signs that a peer or an invite is out. */
export function sealRevocation(
  fields: Pick<Revocation, 'target' | 'atMs' | 'keep'>,
  issuer: Issuer,
): Envelope {
  const { target, atMs, keep } = fields;
  const payload = RevocationMessage.encode({
    peerKey: 'peer' in target ? Buffer.from(target.peer, 'hex') : null,
    inviteKey: 'invite' in target ? Buffer.from(target.invite, 'hex') : null,
    atMs,
    untilMs: atMs + lifeMs(signerRank(issuer.certificate)),
    keep: [...keep].map((hash) => Buffer.from(hash, 'hex')),
    issuer: issuer.certificate?.bytes ?? null,
  }).finish();
  return seal('revocation', issuer.meshId, payload, issuer.key);
}

/**
 * Reads a revocation, its signature checked before. Throws `envelope_invalid`, `certificate_invalid`, and
 * `role_forbidden` if its signer may revoke nobody.
 */
export function readRevocation(
  envelope: Envelope,
  readCertificate: (bytes: Uint8Array) => Certificate,
): Revocation {
  const fields = decodeFields(RevocationMessage, envelope.payload, 'a revocation');
  const atMs = readTime(fields.atMs, 'revocation');
  const untilMs = readTime(fields.untilMs, 'revocation');
  const signer = fields.issuer.length === 0 ? undefined : readCertificate(fields.issuer);
  const rank = signerRank(signer);
  checkSigner(envelope, signer, rank, atMs);
  ensure(untilMs > atMs && untilMs - atMs <= lifeMs(rank), 'A revocation ends when it cannot.');
  ensure(fields.keep.length <= trustLimits.keptRevocations, 'A revocation keeps too many others.');
  return {
    envelope,
    hash: keyText(envelopeHash(envelope)),
    target: readTarget(fields.peerKey, fields.inviteKey),
    atMs,
    untilMs,
    keep: new Set(fields.keep.map((hash) => keyText(readKey(hash, 'revocation')))),
    signer,
    rank,
  };
}

function checkSigner(envelope: Envelope, signer: Certificate | undefined, rank: number, atMs: number): void {
  const key = keyText(envelope.signer);
  if (signer === undefined) {
    ensure(key === envelope.meshId, 'A revocation is signed neither by the mesh key nor by an admin.');
    return;
  }
  ensure(key === keyText(signer.peerKey), 'A revocation is signed by another key than its issuer has.');
  ensure(coversTime(signer, atMs), 'A revocation was signed outside of the time of its issuer.');
  if (rank === 0) {
    throw new MeshnodeError('role_forbidden', 'Only the mesh key and admins can revoke.');
  }
}

function readTarget(peerKey: Uint8Array, inviteKey: Uint8Array): RevocationTarget {
  ensure(peerKey.length === 0 || inviteKey.length === 0, 'A revocation names two targets.');
  return inviteKey.length === 0
    ? { peer: keyText(readKey(peerKey, 'revocation')) }
    : { invite: keyText(readKey(inviteKey, 'revocation')) };
}

/** The rank of who signs with this certificate; without one it is the mesh key. */
export function signerRank(signer: Certificate | undefined): number {
  return signer === undefined ? meshKeyRank : rankOf(signer);
}

/**
 * How long a revocation is kept. What its target holds ends within `generationMs`, the uses that it signs until
 * then within two more: a revocation must outlive them, or they would come back to life. The same goes for
 * revocations that its target signs, which rank lower: each rank adds a generation.
 */
function lifeMs(rank: number): number {
  return (rank + 2) * generationMs;
}

/** Whether a use of an invite can be dated so. */
export function withinGrant({ grantIssuedMs, grantExpiresMs }: InviteTerms, atMs: number): boolean {
  const toleranceMs = trustLimits.clockToleranceMs;
  return atMs >= grantIssuedMs - toleranceMs && atMs <= grantExpiresMs + toleranceMs;
}

function ensure(condition: boolean, otherwise: string): asserts condition {
  if (!condition) {
    throw new MeshnodeError('envelope_invalid', otherwise);
  }
}
