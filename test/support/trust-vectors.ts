// The vectors of everything signed: keys from fixed seeds, the statements they sign, what is made of them, and how
// it is judged. All of one small mesh.
import { readFileSync } from 'node:fs';
import type { Certificate } from '../../src/trust/certificate.ts';
import type { EnvelopeKind } from '../../src/trust/envelope.ts';
import type { MeshId, PeerId } from '../../src/trust/keys.ts';
import type { Role } from '../../src/trust/roles.ts';

export interface KeyVector {
  readonly name: string;
  readonly seed: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly peerId: PeerId;
}

export interface EnvelopeVector {
  readonly name: string;
  readonly kind: EnvelopeKind;
  /** Name of a key. */
  readonly signer: string;
  /** Of the payload, by their names in proto/; those that are zero or empty are left out. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly payload: Uint8Array;
  /** What the signature covers. */
  readonly signed: Uint8Array;
  readonly bytes: Uint8Array;
  readonly sha256: Uint8Array;
}

export interface CertificateVector {
  readonly name: string;
  /** Names of envelopes, and of the issuer's certificate. */
  readonly parts: {
    readonly grant?: string;
    readonly acceptance?: string;
    readonly issue?: string;
    readonly issuer?: string;
  };
  readonly values: Pick<Certificate, 'peerId' | 'role' | 'depth' | 'issuedMs' | 'sinceMs' | 'expiresMs'>;
  readonly bytes: Uint8Array;
  readonly sha256: Uint8Array;
}

export interface TokenVector {
  readonly name: string;
  /** Names of a key, of an envelope, and of a certificate; without one the mesh key made it. */
  readonly inviteKey: string;
  readonly grant: string;
  readonly issuer?: string;
  readonly values: {
    readonly role: Role;
    readonly issuedMs: number;
    readonly expiresMs: number;
    readonly maxUses: number;
    readonly strict: boolean;
    readonly addresses: readonly string[];
  };
  readonly text: string;
}

export interface RulingVector {
  readonly name: string;
  /** Names of envelopes. */
  readonly held: readonly string[];
  readonly atMs: number;
  /** By the name of a certificate: `standing`, or the code of the refusal. */
  readonly verdicts: Readonly<Record<string, string>>;
}

export interface TrustVectors {
  readonly keys: readonly KeyVector[];
  readonly meshId: MeshId;
  readonly envelopes: readonly EnvelopeVector[];
  readonly certificates: readonly CertificateVector[];
  readonly tokens: readonly TokenVector[];
  readonly rulings: readonly RulingVector[];
}

/** test/fixtures/trust.json. Bytes are there as `{ "hex": "00ff" }`. */
export function trustVectors(): TrustVectors {
  const json = readFileSync('test/fixtures/trust.json', 'utf8');
  return JSON.parse(json, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && 'hex' in value
      ? Uint8Array.from(Buffer.from(String(value.hex), 'hex'))
      : value,
  ) as TrustVectors;
}

/** The vector of that name. */
export function vectorNamed<Vector extends { readonly name: string }>(
  vectors: readonly Vector[],
  name: string,
): Vector {
  const found = vectors.find((vector) => vector.name === name);
  if (found === undefined) {
    throw new Error(`There is no vector "${name}".`);
  }
  return found;
}
