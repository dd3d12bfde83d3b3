// Ed25519 keys and the names made of them. Pure: no file, no clock, no randomness.
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { publicKeyFromRaw } from '@libp2p/crypto/keys';
import { peerIdFromPublicKey, peerIdFromString } from '@libp2p/peer-id';
import { assertInvariant } from '../util/errors.ts';

/** A peer's name: libp2p's text form of its Ed25519 public key (`12D3KooW...`), from which the key can be read. */
export type PeerId = string;

/** A mesh's name: its public key, 64 lower-case hex digits. */
export type MeshId = string;

/** Whether `signature` (64 bytes) over `message` was made with the private half of `publicKey` (32 bytes). Never throws. */
export type SignatureCheck = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean;

export const keyBytes = 32;
export const signatureBytes = 64;

/** What stands before the raw bytes of an Ed25519 key in PKCS #8 and in SubjectPublicKeyInfo (RFC 8410). */
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex');
const publicPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/** A private key with its public half. */
export class KeyPair {
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly #privateKey: KeyObject;

  private constructor(seed: Uint8Array) {
    this.seed = seed;
    this.#privateKey = createPrivateKey({
      key: Buffer.concat([privatePrefix, seed]),
      format: 'der',
      type: 'pkcs8',
    });
    const encoded = createPublicKey(this.#privateKey).export({ format: 'der', type: 'spki' });
    this.publicKey = new Uint8Array(encoded.subarray(publicPrefix.length));
  }

  /** The key that grows from 32 bytes of secret randomness. */
  static fromSeed(seed: Uint8Array): KeyPair {
    assertInvariant(seed.length === keyBytes, 'a seed has 32 bytes');
    return new KeyPair(new Uint8Array(seed));
  }

  get peerId(): PeerId {
    return peerIdOf(this.publicKey);
  }

  /** 64 bytes; the same for the same message. */
  sign(message: Uint8Array): Uint8Array {
    return new Uint8Array(sign(null, message, this.#privateKey));
  }
}

export const checkSignature: SignatureCheck = (publicKey, message, signature) => {
  try {
    const key = createPublicKey({
      key: Buffer.concat([publicPrefix, publicKey]),
      format: 'der',
      type: 'spki',
    });
    return verify(null, message, key, signature);
  } catch {
    return false; // Not a point of the curve, or not 32 bytes.
  }
};

/** The name of the peer with this public key. */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return peerIdFromPublicKey(publicKeyFromRaw(publicKey)).toString();
}

/** The public key inside a peer's name, or undefined if the text names no Ed25519 key. */
export function publicKeyOf(peerId: string): Uint8Array | undefined {
  try {
    const peer = peerIdFromString(peerId);
    return peer.type === 'Ed25519' ? peer.publicKey.raw : undefined;
  } catch {
    return undefined;
  }
}

/** Lower-case hex: the text form of keys other than peers', and what maps are keyed by. */
export function keyText(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('hex');
}
