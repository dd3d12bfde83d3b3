// Signed statements. What is signed names its kind and its mesh, so that it stands for nothing else and
// nowhere else; the bytes of a statement are kept and relayed as they came, never encoded again.
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { Envelope as Message } from '../wire/trust-messages.ts';
import { decodeFields, sha256 } from './fields.ts';
import { type KeyPair, keyBytes, keyText, type MeshId, type SignatureCheck, signatureBytes } from './keys.ts';

export const envelopeKinds = [
  'grant',
  'acceptance',
  'issue',
  'use',
  'revocation',
  'record',
  'death',
] as const;

export type EnvelopeKind = (typeof envelopeKinds)[number];

export interface Envelope {
  readonly kind: EnvelopeKind;
  readonly meshId: MeshId;
  readonly payload: Uint8Array;
  /** Public key. */
  readonly signer: Uint8Array;
  readonly signature: Uint8Array;
  /** The whole of it as received: what is hashed, kept and passed on. */
  readonly bytes: Uint8Array;
}

/** Signs a statement. */
export function seal(kind: EnvelopeKind, meshId: MeshId, payload: Uint8Array, signer: KeyPair): Envelope {
  const fields = { kind, meshId, payload: new Uint8Array(payload), signer: signer.publicKey };
  const signature = signer.sign(signedBytes(fields));
  return { ...fields, signature, bytes: encode({ ...fields, signature }) };
}

/**
 * The statement in `bytes`, which are copied. Throws `envelope_invalid` for anything that is not exactly one
 * statement, `kind_unknown` for one of a later version, `mesh_mismatch` for another mesh. The signature is not looked at.
 */
export function readEnvelope(bytes: Uint8Array, meshId: MeshId): Envelope {
  const envelope = readAnyEnvelope(bytes);
  if (envelope.meshId !== meshId) {
    throw new MeshnodeError('mesh_mismatch', `This ${envelope.kind} is signed for another mesh.`);
  }
  return envelope;
}

/** As readEnvelope, whatever its mesh: for those who learn the mesh from it. */
export function readAnyEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length > trustLimits.envelopeBytes) {
    throw new MeshnodeError(
      'envelope_invalid',
      `An envelope of ${bytes.length} bytes is longer than ${trustLimits.envelopeBytes}.`,
    );
  }
  const copy = new Uint8Array(bytes);
  const { kind, mesh, payload, signer, signature } = decodeFields(Message, copy, 'an envelope');
  const known = envelopeKinds.find((name) => name === kind);
  if (known === undefined) {
    throw new MeshnodeError('kind_unknown', 'An envelope is of a kind that this version does not know.');
  }
  if (
    mesh.length !== keyBytes ||
    signer.length !== keyBytes ||
    signature.length !== signatureBytes ||
    payload.length === 0
  ) {
    throw new MeshnodeError('envelope_invalid', `A field of this ${known} has the wrong size.`);
  }
  const envelope = { kind: known, meshId: keyText(mesh), payload, signer, signature, bytes: copy };
  // One statement has one form: bytes around the signed ones would give it as many hashes as anybody likes.
  if (!Buffer.from(encode(envelope)).equals(copy)) {
    throw new MeshnodeError('envelope_invalid', `This ${known} holds more than what is signed.`);
  }
  return envelope;
}

/** Throws `envelope_invalid` unless the signer signed it. */
export function checkEnvelope(envelope: Envelope, check: SignatureCheck): void {
  if (!check(envelope.signer, signedBytes(envelope), envelope.signature)) {
    throw new MeshnodeError(
      'envelope_invalid',
      `The signature of this ${envelope.kind} is not its signer's.`,
    );
  }
}

/** What it is called by: SHA-256 of its bytes. */
export function envelopeHash(envelope: Envelope): Uint8Array {
  return sha256(envelope.bytes);
}

type Fields = Omit<Envelope, 'bytes'>;

function signedBytes({ kind, meshId, payload }: Omit<Fields, 'signature'>): Uint8Array {
  return Buffer.concat([Buffer.from(`meshnode/${kind}/1`), Buffer.from(meshId, 'hex'), payload]);
}

function encode({ kind, meshId, payload, signer, signature }: Fields): Uint8Array {
  const mesh = Buffer.from(meshId, 'hex');
  return new Uint8Array(Message.encode({ kind, mesh, payload, signer, signature }).finish());
}
