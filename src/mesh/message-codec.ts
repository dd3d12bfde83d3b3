// The messages of `/meshnode/join/1`, `/meshnode/gossip/1` and `/meshnode/heartbeat/1`: the one writer and the one reader
// of their bytes, without the length before them, which is the stream's.
import { publicKeyOf } from '../trust/keys.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { meshMessageLimits as limits } from '../util/limits/mesh.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { decodeMessage } from '../wire/framing.ts';
import {
  type AdmittedMessage,
  type DigestMessage,
  type EntriesMessage,
  type EntryMessage,
  type HelloMessage,
  Message,
  type MessageMessage,
  type PeerAddressMessage,
  type RefusedMessage,
  type WantMessage,
} from '../wire/mesh-messages.ts';
import {
  beatOfMessage,
  messageOfBeat,
  messageOfProbe,
  probeAnswerOfMessage,
  probeOfMessage,
} from './beat-codec.ts';
import { bitmapBytes, bucketCount, hashBytes, type ItemVersion, itemKeyBytes } from './digest.ts';
import { FieldReader } from './field-reader.ts';
import type {
  Admitted,
  Digest,
  Entries,
  Hello,
  Items,
  MeshMessage,
  PeerAddresses,
  Refused,
  Want,
} from './message.ts';
import { showableText } from './shown-text.ts';

const fields = new FieldReader('frame_invalid', 'A mesh message');

/**
 * The bytes of a message. Throws `internal` above meshMessageLimits.messageBytes, and for a type that is unknown:
 * its writer should have kept the bounds.
 */
export function encodeMessage(message: MeshMessage): Uint8Array {
  const writer = Message.encode(messageOf(message));
  assertInvariant(
    writer.len <= limits.messageBytes,
    `a message of type ${message.type} is too large to be sent`,
  );
  return writer.finish();
}

/**
 * The message in `bytes`. Throws `frame_invalid`, `data.field` naming what is at fault. Byte arrays within may share
 * memory with `bytes`: copy what is kept for long.
 */
export function readMessage(bytes: Uint8Array): MeshMessage {
  if (bytes.length > limits.messageBytes) {
    throw fields.fault('message', `is longer than ${limits.messageBytes} bytes`);
  }
  const message = decodeMessage(Message, bytes);
  switch (message.message) {
    case 'hello':
      return helloOfMessage(message.hello ?? {});
    case 'admitted':
      return admittedOfMessage(message.admitted ?? {});
    case 'refused':
      return refusedOfMessage(message.refused ?? {});
    case 'digest':
      return digestOfMessage(message.digest ?? {});
    case 'buckets':
      return { type: 'buckets', hashes: fields.bytes('hashes', message.buckets?.hashes, bucketsBytes) };
    case 'entries':
      return entriesOfMessage(message.entries ?? {});
    case 'want':
      return wantOfMessage(message.want ?? {});
    case 'items':
      return { type: 'items', envelopes: envelopesOf(message.items?.envelopes) };
    case 'renewal':
      return {
        type: 'renewal',
        certificate: fields.blob('certificate', message.renewal?.certificate, trustLimits.certificateBytes),
      };
    case 'beat':
      return beatOfMessage('beat', message.beat ?? {});
    case 'beatAnswer':
      return beatOfMessage('beat-answer', message.beatAnswer ?? {});
    case 'probe':
      return probeOfMessage(message.probe ?? {});
    case 'probeAnswer':
      return probeAnswerOfMessage(message.probeAnswer ?? {});
    default:
      return { type: 'unknown' };
  }
}

/**
 * Envelopes in as few messages as hold them in this order, each message at most meshMessageLimits.items envelopes and
 * `mostBytes` encoded, which must be enough for the largest single one.
 */
export function splitItems(
  envelopes: readonly Uint8Array[],
  mostBytes: number = limits.messageBytes,
): Items[] {
  const messages: Uint8Array[][] = [];
  let room = 0;
  for (const envelope of envelopes) {
    const size = envelope.length + elementOverheadBytes;
    assertInvariant(size + elementOverheadBytes <= mostBytes, 'an envelope fits into a message');
    const last = messages.at(-1);
    if (last === undefined || size > room || last.length === limits.items) {
      messages.push([envelope]);
      room = mostBytes - elementOverheadBytes - size;
    } else {
      last.push(envelope);
      room -= size;
    }
  }
  return messages.map((packed) => ({ type: 'items', envelopes: packed }));
}

/** Bytes of all bucket hashes. */
const bucketsBytes = bucketCount * hashBytes;

/** Most that protobuf puts before an element below 2^28 bytes: its field's number and its length. */
const elementOverheadBytes = 5;

function messageOf(message: MeshMessage): MessageMessage {
  switch (message.type) {
    case 'hello':
      return { hello: messageOfHello(message) };
    case 'admitted':
      return { admitted: messageOfAdmitted(message) };
    case 'refused':
      return {
        refused: {
          code: message.code,
          message: showableText(message.message, limits.textBytes),
          proofs: [...message.proofs],
        },
      };
    case 'digest':
      return { digest: { root: message.root, items: message.items } };
    case 'buckets':
      return { buckets: { hashes: message.hashes } };
    case 'entries':
      return { entries: { buckets: message.buckets, entries: [...message.entries] } };
    case 'want':
      return { want: { keys: Buffer.concat(message.keys) } };
    case 'items':
      return { items: { envelopes: [...message.envelopes] } };
    case 'renewal':
      return { renewal: { certificate: message.certificate } };
    case 'beat':
      return { beat: messageOfBeat(message) };
    case 'beat-answer':
      return { beatAnswer: messageOfBeat(message) };
    case 'probe':
      return { probe: messageOfProbe(message) };
    case 'probe-answer':
      return { probeAnswer: { nonce: message.nonce } };
    case 'unknown':
      throw new MeshnodeError('internal', 'A message of unknown type cannot be sent.');
  }
}

function messageOfHello(hello: Hello): HelloMessage {
  const { protocol, meshId, certificate, clockMs, proofs, heard } = hello;
  return {
    protocol,
    mesh: Buffer.from(meshId, 'hex'),
    certificate,
    clockMs,
    proofs: [...proofs],
    heard: heard || null,
  };
}

function helloOfMessage(message: HelloMessage): Hello {
  return {
    type: 'hello',
    protocol: fields.count('protocol', message.protocol),
    meshId: fields.hash('meshId', message.mesh),
    certificate: fields.blob('certificate', message.certificate, trustLimits.certificateBytes),
    clockMs: fields.count('clockMs', message.clockMs),
    proofs: proofsOf(message.proofs),
    heard: message.heard === true,
  };
}

function messageOfAdmitted({ proofs, yourRecord, peers, clockMs }: Admitted): AdmittedMessage {
  return {
    proofs: [...proofs],
    yourRecord: yourRecord ?? null,
    peers: peers.map(messageOfPeer),
    clockMs,
  };
}

function admittedOfMessage(message: AdmittedMessage): Admitted {
  const { yourRecord } = message;
  const peers = fields.list('peers', message.peers, limits.peers, peerOfMessage);
  return {
    type: 'admitted',
    proofs: proofsOf(message.proofs),
    ...(yourRecord?.length
      ? { yourRecord: fields.blob('yourRecord', yourRecord, trustLimits.envelopeBytes) }
      : {}),
    peers: fields.distinct('peers', peers, ({ peerId }) => peerId),
    clockMs: fields.count('clockMs', message.clockMs),
  };
}

function messageOfPeer({ peerId, addresses }: PeerAddresses): PeerAddressMessage {
  const peerKey = publicKeyOf(peerId);
  assertInvariant(peerKey !== undefined, 'a peer that is told has a key');
  return { peerKey, addresses: [...addresses] };
}

function peerOfMessage({ peerKey, addresses }: PeerAddressMessage, path: string): PeerAddresses {
  return {
    peerId: fields.peerId(`${path}.peerId`, peerKey),
    addresses: fields.addresses(`${path}.addresses`, addresses),
  };
}

function refusedOfMessage({ code, message, proofs }: RefusedMessage): Refused {
  if (!/^[a-z_]{1,40}$/.test(code ?? '')) {
    throw fields.fault('code', 'is not the form of an error code');
  }
  return {
    type: 'refused',
    code: code ?? '',
    message: fields.text('message', message, limits.textBytes),
    proofs: proofsOf(proofs),
  };
}

function digestOfMessage({ root, items }: DigestMessage): Digest {
  return { type: 'digest', root: fields.bytes('root', root, hashBytes), items: fields.count('items', items) };
}

function entriesOfMessage({ buckets, entries }: EntriesMessage): Entries {
  const listed = fields.list('entries', entries, limits.entries, entryOfMessage);
  return { type: 'entries', buckets: fields.bytes('buckets', buckets, bitmapBytes), entries: listed };
}

function entryOfMessage({ key, epoch, sequence }: EntryMessage, path: string): ItemVersion {
  return {
    key: fields.bytes(`${path}.key`, key, itemKeyBytes),
    epoch: fields.count(`${path}.epoch`, epoch),
    sequence: fields.count(`${path}.sequence`, sequence),
  };
}

function wantOfMessage({ keys: joined }: WantMessage): Want {
  const bytes = joined ?? new Uint8Array();
  const count = bytes.length / itemKeyBytes;
  if (!Number.isInteger(count) || count > limits.want) {
    throw fields.fault('keys', `is not 0 to ${limits.want} keys of ${itemKeyBytes} bytes`);
  }
  const keys = Array.from({ length: count }, (_, index) =>
    bytes.subarray(index * itemKeyBytes, (index + 1) * itemKeyBytes),
  );
  return { type: 'want', keys };
}

type SentList = readonly Uint8Array[] | null | undefined;

function proofsOf(sent: SentList): Uint8Array[] {
  return fields.list('proofs', sent, trustLimits.proofs, (proof, path) =>
    fields.blob(path, proof, trustLimits.proofBytes),
  );
}

function envelopesOf(sent: SentList): Uint8Array[] {
  return fields.list('envelopes', sent, limits.items, (envelope, path) =>
    fields.blob(path, envelope, trustLimits.envelopeBytes),
  );
}
