// Records and certificates that no honest node would sign: every check of who writes them is left out.

import { messageOfFacts } from '../../src/mesh/fact-codec.ts';
import { noFacts, type PeerRecord } from '../../src/mesh/record.ts';
import type { Certificate } from '../../src/trust/certificate.ts';
import { seal } from '../../src/trust/envelope.ts';
import type { KeyPair } from '../../src/trust/keys.ts';
import type { Role } from '../../src/trust/roles.ts';
import { NodeRole, PeerAnnouncement } from '../../src/wire/mesh-messages.ts';
import {
  Acceptance,
  Grant,
  Issue,
  Certificate as Message,
  Role as WireRole,
} from '../../src/wire/trust-messages.ts';
import { freshKey } from './mesh-process.ts';

const roleNumbers: Readonly<Record<Role, number>> = {
  client: NodeRole.NODE_ROLE_CLIENT,
  serve: NodeRole.NODE_ROLE_SERVE,
  admin: NodeRole.NODE_ROLE_ADMIN,
};

/** What a node with this certificate could honestly say now, but for what `said` changes. */
export function recordOf(certificate: Certificate, said: Partial<PeerRecord> = {}): PeerRecord {
  const nowMs = Date.now();
  return {
    ...noFacts,
    name: 'mallory',
    version: '1.0.0',
    peerId: certificate.peerId,
    epoch: 1,
    sequence: 0,
    issuedMs: nowMs,
    expiresMs: nowMs + 120_000,
    certificate: certificate.bytes,
    left: false,
    role: certificate.role,
    ...said,
  };
}

/** The payload of a record, however wrong. */
export function payloadOf(record: PeerRecord): Uint8Array {
  const { epoch, sequence, issuedMs, expiresMs, certificate, left, role } = record;
  return PeerAnnouncement.encode({
    ...messageOfFacts(record),
    ...{ epoch, sequence, issuedMs, expiresMs, certificate, left },
    role: roleNumbers[role],
  }).finish();
}

/** A record signed by `key`, whoever it speaks of. */
export function sealRecord(record: PeerRecord, meshId: string, key: KeyPair): Uint8Array {
  return seal('record', meshId, payloadOf(record), key).bytes;
}

/** Who signs, and what is shown as their standing; undefined: they pass for the mesh key. */
export interface Forger {
  readonly meshId: string;
  readonly key: KeyPair;
  readonly certificate?: Certificate;
}

const lifeMs = 24 * 3_600_000;

/** A certificate for `peerKey`, issued by whoever. */
export function forgeCertificate({ meshId, key, certificate }: Forger, peerKey: Uint8Array): Uint8Array {
  const issuedMs = Date.now();
  const fields = { peerKey, role: WireRole.ROLE_SERVE, issuedMs, expiresMs: issuedMs + lifeMs };
  const issue = seal('issue', meshId, Issue.encode(fields).finish(), key).bytes;
  return encoded({ issue, issuer: certificate?.bytes ?? null });
}

/** A grant by whoever, and the secret of its invite. */
export function forgeGrant({ meshId, key }: Forger): { grant: Uint8Array; inviteKey: KeyPair } {
  const inviteKey = freshKey();
  const issuedMs = Date.now();
  const payload = Grant.encode({
    inviteKey: inviteKey.publicKey,
    role: WireRole.ROLE_ADMIN,
    ...{ issuedMs, expiresMs: issuedMs + lifeMs },
    ...{ maxUses: 1_000, strict: false },
  }).finish();
  return { grant: seal('grant', meshId, payload, key).bytes, inviteKey };
}

/** A certificate for `peerKey` that came by an invite of whoever. */
export function forgeRedemption(forger: Forger, peerKey: Uint8Array): Uint8Array {
  const { grant, inviteKey } = forgeGrant(forger);
  const fields = { peerKey, role: WireRole.ROLE_SERVE, atMs: Date.now() };
  const acceptance = seal('acceptance', forger.meshId, Acceptance.encode(fields).finish(), inviteKey).bytes;
  return encoded({ grant, acceptance, issuer: forger.certificate?.bytes ?? null });
}

function encoded(parts: Parameters<typeof Message.encode>[0]): Uint8Array {
  return new Uint8Array(Message.encode(parts).finish());
}
