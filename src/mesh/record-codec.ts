// Records as the bytes that are signed, and back, and what in them contradicts itself. The signature, the
// certificate and the clock are the caller's; what is relayed is the bytes as received, never these written anew.
import type { PeerId } from '../trust/keys.ts';
import { type Role, roles } from '../trust/roles.ts';
import { MeshnodeError } from '../util/errors.ts';
import { recordLimits as limits } from '../util/limits/mesh.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { NodeRole, PeerAnnouncement, type PeerAnnouncementMessage } from '../wire/mesh-messages.ts';
import { factsOfMessage, recordFields as fields, keyOf, messageOfFacts } from './fact-codec.ts';
import { type LocalFacts, noFacts, type PeerRecord } from './record.ts';

const roleNumbers: Readonly<Record<Role, number>> = {
  client: NodeRole.NODE_ROLE_CLIENT,
  serve: NodeRole.NODE_ROLE_SERVE,
  admin: NodeRole.NODE_ROLE_ADMIN,
};

/** What a node says as long as it has not left. */
const allFacts = Object.keys(noFacts) as (keyof LocalFacts)[];
/** What only a node that serves can say. */
const servingFacts = ['models', 'served', 'rpcBuild'] as const;

/**
 * The payload of a record's envelope. Throws `record_invalid`, as readRecord, for a record that other nodes would
 * refuse. Numbers of requests and round trips keep the precision of a float32.
 */
export function encodeRecord(record: PeerRecord): Uint8Array {
  const payload = PeerAnnouncement.encode(messageOfRecord(record)).finish();
  readRecord(payload, keyOf('peerId', record.peerId));
  return payload;
}

/**
 * The record in a payload signed by `signer` (32 bytes). Shares no memory with the payload. Throws `record_invalid`,
 * `data.field` naming what is at fault. A later version's record stays valid: unknown fields, model states and kinds
 * of addresses are left out. A role is not: what it allows cannot be guessed.
 */
export function readRecord(payload: Uint8Array, signer: Uint8Array): PeerRecord {
  if (payload.length > limits.payloadBytes) {
    throw fields.fault('payload', `is longer than ${limits.payloadBytes} bytes`);
  }
  const record = recordOfMessage(decodePayload(payload), fields.peerId('signer', signer));
  checkLife(record);
  if (record.left) {
    checkNothingSaid(record, allFacts, 'has left');
  }
  if (record.role === 'client') {
    checkNothingSaid(record, servingFacts, 'is a client');
  }
  return record;
}

function decodePayload(payload: Uint8Array): PeerAnnouncementMessage {
  try {
    return PeerAnnouncement.decode(payload);
  } catch (cause) {
    throw new MeshnodeError('record_invalid', 'A record is refused: its payload is no protobuf message.', {
      cause,
      data: { field: 'payload' },
    });
  }
}

function checkLife({ issuedMs, expiresMs }: PeerRecord): void {
  if (expiresMs <= issuedMs || expiresMs - issuedMs > limits.lifeMs) {
    throw fields.fault('expiresMs', `is not within ${limits.lifeMs} ms after issuedMs`);
  }
}

/** Refuses a record of a node that `is` what leaves it nothing to say of `facts`. */
function checkNothingSaid(record: PeerRecord, facts: readonly (keyof LocalFacts)[], is: string): void {
  const said = facts.find((fact) => (record[fact]?.length ?? 0) > 0);
  if (said !== undefined) {
    throw fields.fault(said, `is said by a node that ${is}`);
  }
}

function messageOfRecord(record: PeerRecord): PeerAnnouncementMessage {
  return {
    ...messageOfFacts(record),
    epoch: record.epoch,
    sequence: record.sequence,
    issuedMs: record.issuedMs,
    expiresMs: record.expiresMs,
    certificate: record.certificate,
    left: record.left,
    role: roleNumbers[record.role],
  };
}

function recordOfMessage(message: PeerAnnouncementMessage, peerId: PeerId): PeerRecord {
  return {
    ...factsOfMessage(message),
    peerId,
    epoch: fields.count('epoch', message.epoch, 1),
    sequence: fields.count('sequence', message.sequence),
    issuedMs: fields.count('issuedMs', message.issuedMs),
    expiresMs: fields.count('expiresMs', message.expiresMs),
    // A copy: the record is kept for long, the message it came in is not.
    certificate: new Uint8Array(
      fields.blob('certificate', message.certificate, trustLimits.certificateBytes),
    ),
    left: message.left ?? false,
    role: roleOf(message.role ?? 0),
  };
}

function roleOf(number: number): Role {
  const role = roles.find((name) => roleNumbers[name] === number);
  if (role === undefined) {
    throw fields.fault('role', 'is none that this version knows');
  }
  return role;
}
