// Why a peer is a member: a chain of statements from the mesh key to its own. Whether a chain holds in
// itself is decided here; whether it stands today (dates, uses, revocations) is for MeshTrust.
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import {
  Acceptance,
  type CertificateMessage,
  Grant,
  Issue,
  Certificate as Message,
} from '../wire/trust-messages.ts';
import { checkEnvelope, type Envelope, type EnvelopeKind, readEnvelope, seal } from './envelope.ts';
import { decodeFields, readKey, readRole, readTime, refuseAs, sha256, wireRole } from './fields.ts';
import {
  checkSignature,
  type KeyPair,
  keyText,
  type MeshId,
  type PeerId,
  peerIdOf,
  type SignatureCheck,
} from './keys.ts';
import { includesRole, type Role } from './roles.ts';

/** The invite that a certificate was redeemed from. */
export interface InviteTerms {
  /** Public half of the invite key, hex. */
  readonly key: string;
  /** SHA-256 of the grant, hex: two grants of one key are two invites. */
  readonly grant: string;
  readonly grantIssuedMs: number;
  readonly grantExpiresMs: number;
  readonly maxUses: number;
  /** Only the inviter may admit by it. */
  readonly strict: boolean;
  /** Who signed the grant. */
  readonly inviterKey: Uint8Array;
}

/** A chain that holds in itself. Times are Unix ms. */
export interface Certificate {
  readonly bytes: Uint8Array;
  /** SHA-256 of the bytes, hex. */
  readonly hash: string;
  readonly meshId: MeshId;
  readonly peerId: PeerId;
  readonly peerKey: Uint8Array;
  readonly role: Role;
  /** Signatures between it and the mesh key: 1 if the mesh key signed it itself. */
  readonly depth: 1 | 2;
  readonly issuedMs: number;
  /** When what first made the peer a member was signed. Renewals keep it: they undo no revocation made since. */
  readonly sinceMs: number;
  /** The end of its life, or of its issuer's if that comes first. */
  readonly expiresMs: number;
  /** The admin who signed it; undefined: the mesh key did. */
  readonly issuer: Certificate | undefined;
  /** Present if it was redeemed from an invite, absent if it was issued. */
  readonly invite?: InviteTerms;
}

/** Who signs grants, issues and revocations. */
export interface Issuer {
  readonly meshId: MeshId;
  readonly key: KeyPair;
  /** Absent: `key` is the mesh key. */
  readonly certificate?: Certificate;
}

/** What an issue or a grant with its acceptance says, before the issuer is looked at. */
type Standing = Pick<Certificate, 'peerKey' | 'role' | 'issuedMs' | 'sinceMs' | 'expiresMs' | 'invite'> & {
  /** Who signed it, and when. */
  readonly signer: Uint8Array;
  readonly signedMs: number;
};

/**
 * The certificate in `bytes`, with every signature, role, date and size of its chain verified; of revocations
 * and of the present it says nothing. Throws `certificate_invalid`, or `mesh_mismatch`.
 */
export function readCertificate(bytes: Uint8Array, meshId: MeshId, check: SignatureCheck): Certificate {
  return read(bytes, meshId, check, (issuer) => readCertificate(issuer, meshId, check));
}

/** Remembers certificates that were verified: the same ones arrive with every record. */
export class CertificateCache {
  readonly #meshId: MeshId;
  readonly #check: SignatureCheck;
  /** By hash; the one used last is the last. */
  readonly #read = new Map<string, Certificate>();

  constructor(meshId: MeshId, check: SignatureCheck) {
    this.#meshId = meshId;
    this.#check = check;
  }

  /** As readCertificate. */
  read(bytes: Uint8Array): Certificate {
    checkSize(bytes);
    const hash = keyText(sha256(bytes));
    const certificate =
      this.#read.get(hash) ?? read(bytes, this.#meshId, this.#check, (issuer) => this.read(issuer));
    this.#read.delete(hash);
    this.#read.set(hash, certificate);
    for (const oldest of this.#read.keys()) {
      if (this.#read.size <= trustLimits.cachedCertificates) {
        break;
      }
      this.#read.delete(oldest);
    }
    return certificate;
  }
}

/** Gives a peer standing directly. Throws `role_forbidden` unless the issuer may. */
export function issueCertificate(options: {
  readonly issuer: Issuer;
  readonly peerKey: Uint8Array;
  readonly role: Role;
  readonly nowMs: number;
  /** Of the certificate that this one renews. */
  readonly sinceMs?: number;
}): Certificate {
  const { issuer, peerKey, role, nowMs, sinceMs = nowMs } = options;
  requireIssuer(issuer);
  const payload = Issue.encode({
    peerKey,
    role: wireRole(role),
    issuedMs: nowMs,
    expiresMs: nowMs + trustLimits.certificateLifeMs,
    sinceMs,
  }).finish();
  const issue = seal('issue', issuer.meshId, payload, issuer.key).bytes;
  return makeCertificate({ issue, issuer: issuer.certificate?.bytes ?? null }, issuer.meshId);
}

/** The certificate of these parts, verified as others will. */
export function makeCertificate(parts: CertificateMessage, meshId: MeshId): Certificate {
  return readCertificate(encode(parts), meshId, checkSignature);
}

/** Throws `role_forbidden` unless this is the mesh key or an admin right below it. */
export function requireIssuer({ certificate }: Issuer): void {
  if (certificate !== undefined && !maySign(certificate)) {
    throw new MeshnodeError(
      'role_forbidden',
      'Only the mesh key, and an admin whose standing comes from it directly, can make members.',
    );
  }
}

/** Whether it is time for a new one: from day 30 of a full life. */
export function renewalDue(certificate: Certificate, nowMs: number): boolean {
  return certificate.expiresMs - nowMs <= trustLimits.renewalLeftMs;
}

/** Whether its owner should be warned that nobody has renewed it. */
export function expiryWarning(certificate: Certificate, nowMs: number): boolean {
  return certificate.expiresMs - nowMs <= trustLimits.warningLeftMs;
}

/** Whether a statement dated `atMs` lies within a certificate's life; clocks may differ at its beginning. */
export function coversTime(certificate: Certificate, atMs: number): boolean {
  return atMs >= certificate.issuedMs - trustLimits.clockToleranceMs && atMs <= certificate.expiresMs;
}

/** The certificate and the issuers above it. */
export function chainOf(certificate: Certificate): Certificate[] {
  return certificate.issuer === undefined ? [certificate] : [certificate, ...chainOf(certificate.issuer)];
}

function maySign(certificate: Certificate): boolean {
  return certificate.role === 'admin' && certificate.depth === 1;
}

function read(
  bytes: Uint8Array,
  meshId: MeshId,
  check: SignatureCheck,
  readIssuer: (bytes: Uint8Array) => Certificate,
): Certificate {
  checkSize(bytes);
  return refuseAs('certificate_invalid', [], () => {
    const copy = new Uint8Array(bytes);
    const parts = decodeFields(Message, copy, 'a certificate');
    // One certificate has one form, so that its hash names it.
    ensure(Buffer.from(encode(parts)).equals(copy), 'A certificate holds more than what is signed.');
    const { signer, signedMs, ...standing } = readStanding(parts, (kind, part) => {
      const envelope = readEnvelope(part, meshId);
      ensure(envelope.kind === kind, `A certificate has a ${envelope.kind} in the place of its ${kind}.`);
      checkEnvelope(envelope, check);
      return envelope;
    });
    const issuer = parts.issuer.length === 0 ? undefined : readIssuer(parts.issuer);
    checkIssuer(issuer, signer, signedMs, meshId);
    return {
      ...standing,
      expiresMs: Math.min(standing.expiresMs, issuer?.expiresMs ?? Number.MAX_SAFE_INTEGER),
      bytes: copy,
      hash: keyText(sha256(copy)),
      meshId,
      peerId: peerIdOf(standing.peerKey),
      depth: issuer === undefined ? 1 : 2,
      issuer,
    };
  });
}

type OpenPart = (kind: EnvelopeKind, part: Uint8Array) => Envelope;

function readStanding(parts: InstanceType<typeof Message>, open: OpenPart): Standing {
  const redeemed = parts.grant.length > 0 && parts.acceptance.length > 0 && parts.issue.length === 0;
  const issued = parts.grant.length === 0 && parts.acceptance.length === 0 && parts.issue.length > 0;
  ensure(redeemed || issued, 'A certificate is neither an issue nor a grant with its acceptance.');
  return issued
    ? readIssue(open('issue', parts.issue))
    : readRedemption(open('grant', parts.grant), open('acceptance', parts.acceptance));
}

function readIssue(envelope: Envelope): Standing {
  const fields = decodeFields(Issue, envelope.payload, 'an issue');
  const issuedMs = readTime(fields.issuedMs, 'issue');
  const expiresMs = readTime(fields.expiresMs, 'issue');
  const sinceMs = readTime(fields.sinceMs, 'issue');
  ensure(sinceMs <= issuedMs, 'A certificate is older than it was when it was issued.');
  ensure(
    expiresMs > issuedMs && expiresMs - issuedMs <= trustLimits.certificateLifeMs,
    'A certificate is issued for longer than certificates live.',
  );
  return {
    peerKey: readKey(fields.peerKey, 'issue'),
    role: readRole(fields.role, 'issue'),
    issuedMs,
    sinceMs,
    expiresMs,
    signer: envelope.signer,
    signedMs: issuedMs,
  };
}

function readRedemption(grantEnvelope: Envelope, acceptanceEnvelope: Envelope): Standing {
  const grant = readGrant(grantEnvelope);
  const fields = decodeFields(Acceptance, acceptanceEnvelope.payload, 'an acceptance');
  const role = readRole(fields.role, 'acceptance');
  const issuedMs = readTime(fields.atMs, 'acceptance');
  ensure(keyText(acceptanceEnvelope.signer) === grant.key, 'An invite was accepted without its key.');
  ensure(includesRole(grant.role, role), `An invite for the role ${grant.role} was accepted as ${role}.`);
  ensure(
    issuedMs >= grant.grantIssuedMs - trustLimits.clockToleranceMs && issuedMs <= grant.grantExpiresMs,
    'An invite was accepted outside of its time.',
  );
  const { role: _granted, ...invite } = grant;
  return {
    peerKey: readKey(fields.peerKey, 'acceptance'),
    role,
    issuedMs,
    sinceMs: grant.grantIssuedMs,
    expiresMs: issuedMs + trustLimits.certificateLifeMs,
    invite,
    signer: grant.inviterKey,
    signedMs: grant.grantIssuedMs,
  };
}

/** The terms of an invite. Throws `envelope_invalid`, or `certificate_invalid` for terms that cannot be. */
export function readGrant(envelope: Envelope): InviteTerms & { readonly role: Role } {
  const fields = decodeFields(Grant, envelope.payload, 'a grant');
  const grantIssuedMs = readTime(fields.issuedMs, 'grant');
  const grantExpiresMs = readTime(fields.expiresMs, 'grant');
  const { maxUses, strict } = fields;
  ensure(
    grantExpiresMs > grantIssuedMs && grantExpiresMs - grantIssuedMs <= trustLimits.inviteLifeMs,
    'An invite is granted for longer than invites live.',
  );
  ensure(maxUses >= 1 && maxUses <= trustLimits.inviteUses, 'An invite has an impossible number of uses.');
  return {
    key: keyText(readKey(fields.inviteKey, 'grant')),
    grant: keyText(sha256(envelope.bytes)),
    role: readRole(fields.role, 'grant'),
    grantIssuedMs,
    grantExpiresMs,
    maxUses,
    strict,
    inviterKey: envelope.signer,
  };
}

/** Throws `certificate_invalid` unless `signer`, with the certificate `issuer` or as the mesh key, could sign then. */
export function checkIssuer(
  issuer: Certificate | undefined,
  signer: Uint8Array,
  signedMs: number,
  meshId: MeshId,
): void {
  const name = keyText(signer);
  if (issuer === undefined) {
    ensure(name === meshId, 'It is signed neither by the mesh key nor by an admin.');
    return;
  }
  ensure(name === keyText(issuer.peerKey), 'It is signed by another key than its issuer has.');
  ensure(maySign(issuer), 'Its issuer is no admin right below the mesh key.');
  ensure(coversTime(issuer, signedMs), 'It was signed outside of the time of its issuer.');
}

function encode({ grant, acceptance, issue, issuer }: CertificateMessage): Uint8Array {
  const parts = { grant: grant ?? null, acceptance: acceptance ?? null, issue: issue ?? null };
  return new Uint8Array(Message.encode({ ...parts, issuer: issuer ?? null }).finish());
}

function checkSize(bytes: Uint8Array): void {
  ensure(
    bytes.length <= trustLimits.certificateBytes,
    `A certificate of ${bytes.length} bytes is longer than ${trustLimits.certificateBytes}.`,
  );
}

function ensure(condition: boolean, otherwise: string): asserts condition {
  if (!condition) {
    throw new MeshnodeError('certificate_invalid', otherwise);
  }
}
