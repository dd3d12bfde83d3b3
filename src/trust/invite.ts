// Invites: the text that an admin hands to a newcomer, and what the newcomer makes of it. The private half
// of the invite key is in the text alone and is never sent: to join is to sign with it.
import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { Random } from '../util/random.ts';
import { Acceptance, Grant, Token as Message } from '../wire/trust-messages.ts';
import {
  type Certificate,
  checkIssuer,
  type InviteTerms,
  type Issuer,
  makeCertificate,
  readCertificate,
  readGrant,
  requireIssuer,
} from './certificate.ts';
import { checkEnvelope, readAnyEnvelope, seal } from './envelope.ts';
import { decodeFields, readKey, refuseAs, sha256, wireRole } from './fields.ts';
import { checkSignature, KeyPair, keyBytes, keyText, type MeshId, type PeerId, publicKeyOf } from './keys.ts';
import { includesRole, type Role } from './roles.ts';

/** What a token begins with, so that a person and a program see what it is. */
const prefix = 'mesh1';

/** Bytes of SHA-256 over the rest, in front: a slip of the hand is told apart from a forgery. */
const checksumBytes = 4;

/** Where a node of the mesh can be dialled; `address` is the whole multiaddr, its peer id included. */
export interface BootstrapAddress {
  readonly peerId: PeerId;
  readonly address: string;
}

/** What a token says. It holds a secret: never log it. */
export interface Token extends InviteTerms {
  readonly meshId: MeshId;
  readonly role: Role;
  readonly issuedMs: number;
  readonly expiresMs: number;
  /** Public half of the invite key, hex. */
  readonly inviteKey: string;
  readonly addresses: readonly BootstrapAddress[];
  readonly inviteSeed: Uint8Array;
  /** Envelope of the grant, and the certificate of who signed it if that is not the mesh key. */
  readonly grantBytes: Uint8Array;
  readonly issuer: Certificate | undefined;
}

export interface Invite {
  readonly token: string;
  /** Public half of the invite key, hex: what the invite is listed and revoked by. */
  readonly inviteKey: string;
  readonly role: Role;
  readonly expiresMs: number;
  readonly maxUses: number;
}

export interface InviteOptions {
  readonly issuer: Issuer;
  readonly role: Role;
  readonly ttlMs: number;
  readonly maxUses: number;
  readonly strict: boolean;
  /** 1 to 8 multiaddrs, each ending in `/p2p/<peer id>`. */
  readonly addresses: readonly string[];
}

/** Makes an invite. Throws `role_forbidden` unless the issuer may, `invalid_request` for terms out of bounds. */
export function createInvite(
  options: InviteOptions,
  { random, nowMs }: { readonly random: Random; readonly nowMs: number },
): Invite {
  const { issuer, role, maxUses, strict, ttlMs } = options;
  requireIssuer(issuer);
  checkTerms(options);
  const inviteKey = KeyPair.fromSeed(random.bytes(keyBytes));
  const expiresMs = nowMs + ttlMs;
  const terms = { role: wireRole(role), issuedMs: nowMs, expiresMs, maxUses, strict };
  const payload = Grant.encode({ ...terms, inviteKey: inviteKey.publicKey }).finish();
  const body = Message.encode({
    grant: seal('grant', issuer.meshId, payload, issuer.key).bytes,
    issuer: issuer.certificate?.bytes ?? null,
    inviteSeed: inviteKey.seed,
    addresses: [...options.addresses],
  }).finish();
  const token = prefix + Buffer.concat([checksumOf(body), body]).toString('base64url');
  return { token, inviteKey: keyText(inviteKey.publicKey), role, expiresMs, maxUses };
}

/** Reads a token and verifies all that can be without the mesh. Throws `token_invalid` with the reason. */
export function parseToken(text: string): Token {
  const body = bodyOf(text);
  return refuseAs('token_invalid', ['certificate_invalid', 'mesh_mismatch'], () => {
    const fields = decodeFields(Message, body, 'this token');
    const addresses = readAddresses(fields.addresses);
    const grant = readAnyEnvelope(fields.grant);
    ensure(grant.kind === 'grant', 'This token holds no invite.');
    checkEnvelope(grant, checkSignature);
    const { meshId } = grant;
    const issuer =
      fields.issuer.length === 0 ? undefined : readCertificate(fields.issuer, meshId, checkSignature);
    const terms = readGrant(grant);
    checkIssuer(issuer, grant.signer, terms.grantIssuedMs, meshId);
    const inviteSeed = readKey(fields.inviteSeed, 'token');
    const inviteKey = keyText(KeyPair.fromSeed(inviteSeed).publicKey);
    ensure(inviteKey === terms.key, 'The secret in this token belongs to another invite.');
    return {
      ...terms,
      meshId,
      issuedMs: terms.grantIssuedMs,
      expiresMs: terms.grantExpiresMs,
      inviteKey,
      addresses,
      inviteSeed,
      grantBytes: grant.bytes,
      issuer,
    };
  });
}

/**
 * The certificate that this node joins with: the grant, and its own acceptance signed with the invite key.
 * Throws `token_expired`, `clock_skewed` for an invite of the future, `role_forbidden` for more than it grants.
 */
export function redeem(
  token: Token,
  node: KeyPair,
  { nowMs, role = token.role }: { readonly nowMs: number; readonly role?: Role },
): Certificate {
  if (!includesRole(token.role, role)) {
    throw new MeshnodeError('role_forbidden', `This invite is for the role ${token.role}, not ${role}.`);
  }
  if (nowMs > token.expiresMs + trustLimits.clockToleranceMs) {
    throw new MeshnodeError('token_expired', 'This invite has expired.');
  }
  if (nowMs < token.issuedMs - trustLimits.clockToleranceMs) {
    throw new MeshnodeError('clock_skewed', 'By the clock of this machine the invite is not made yet.');
  }
  // The clock may be a little past the end; the acceptance may not.
  const atMs = Math.min(nowMs, token.expiresMs);
  const payload = Acceptance.encode({ peerKey: node.publicKey, role: wireRole(role), atMs }).finish();
  const acceptance = seal('acceptance', token.meshId, payload, KeyPair.fromSeed(token.inviteSeed)).bytes;
  const parts = { grant: token.grantBytes, acceptance, issuer: token.issuer?.bytes ?? null };
  return makeCertificate(parts, token.meshId);
}

function checkTerms({ ttlMs, maxUses, addresses }: InviteOptions): void {
  const refuse = (message: string): never => {
    throw new MeshnodeError('invalid_request', message);
  };
  if (!(Number.isSafeInteger(ttlMs) && ttlMs > 0 && ttlMs <= trustLimits.inviteLifeMs)) {
    refuse('An invite lives for at least a moment and at most 90 days.');
  }
  if (!(Number.isSafeInteger(maxUses) && maxUses >= 1 && maxUses <= trustLimits.inviteUses)) {
    refuse(`An invite has 1 to ${trustLimits.inviteUses} uses.`);
  }
  refuseAs('invalid_request', ['token_invalid'], () => readAddresses(addresses));
}

/** The bytes behind the checksum. */
function bodyOf(text: string): Uint8Array {
  const trimmed = text.trim();
  ensure(trimmed.startsWith(prefix), `This is no token: one begins with ${prefix}.`);
  const encoded = trimmed.slice(prefix.length);
  // Four characters for three bytes.
  ensure(encoded.length <= Math.ceil((trustLimits.tokenBytes * 4) / 3), 'This token is too long.');
  const bytes = Buffer.from(encoded, 'base64url');
  const body = bytes.subarray(checksumBytes);
  const whole =
    bytes.toString('base64url') === encoded &&
    body.length > 0 &&
    checksumOf(body).equals(bytes.subarray(0, checksumBytes));
  ensure(whole, 'This token is not whole: a part of it is missing or mistyped.');
  return new Uint8Array(body);
}

function checksumOf(body: Uint8Array): Buffer {
  return Buffer.from(sha256(body).subarray(0, checksumBytes));
}

function readAddresses(addresses: readonly string[]): BootstrapAddress[] {
  ensure(addresses.length > 0, 'This token names no node to join.');
  const most = trustLimits.tokenAddresses;
  ensure(addresses.length <= most, `This token names ${addresses.length} addresses; ${most} are allowed.`);
  return addresses.map(readAddress);
}

function readAddress(address: string): BootstrapAddress {
  const named = address.length <= trustLimits.addressLength ? peerAt(address) : undefined;
  ensure(named !== undefined, 'An address in this token is none that ends in /p2p/<peer id>.');
  return { peerId: named, address };
}

/** The peer that a multiaddr ends with, or undefined if it is none. */
function peerAt(address: string): PeerId | undefined {
  try {
    const components = multiaddr(address).getComponents();
    const last = components.at(-1);
    const named = components.length > 1 && last?.name === 'p2p' ? (last.value ?? '') : '';
    return publicKeyOf(named) === undefined ? undefined : peerIdFromString(named).toString();
  } catch {
    return undefined;
  }
}

function ensure(condition: boolean, otherwise: string): asserts condition {
  if (!condition) {
    throw new MeshnodeError('token_invalid', otherwise);
  }
}
