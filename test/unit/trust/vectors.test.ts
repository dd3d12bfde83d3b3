import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readDeath, sealDeath } from '../../../src/mesh/death.ts';
import { encodeRecord, readRecord } from '../../../src/mesh/record-codec.ts';
import {
  issueCertificate,
  type Certificate as ReadCertificate,
  readCertificate,
} from '../../../src/trust/certificate.ts';
import {
  checkEnvelope,
  type Envelope,
  envelopeKinds,
  readEnvelope,
  seal,
} from '../../../src/trust/envelope.ts';
import { createInvite, parseToken, redeem } from '../../../src/trust/invite.ts';
import { checkSignature, KeyPair, peerIdOf, publicKeyOf } from '../../../src/trust/keys.ts';
import { MeshTrust } from '../../../src/trust/mesh-trust.ts';
import { readRevocation, readUse, sealRevocation, sealUse } from '../../../src/trust/proofs.ts';
import { PeerAnnouncement, Death as WireDeath } from '../../../src/wire/mesh-messages.ts';
import { Acceptance, Certificate, Grant, Issue, Revocation, Use } from '../../../src/wire/trust-messages.ts';
import { verdict } from '../../support/test-mesh.ts';
import { type EnvelopeVector, trustVectors, vectorNamed } from '../../support/trust-vectors.ts';

const { keys, meshId, envelopes, certificates, tokens, rulings } = trustVectors();

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const keyOf = (name: string): KeyPair => KeyPair.fromSeed(vectorNamed(keys, name).seed);
const keyWith = (publicKey: Uint8Array): KeyPair => {
  const found = keys.find((key) => hex(key.publicKey) === hex(publicKey));
  return keyOf(found?.name ?? '');
};
const readBytes = (bytes: Uint8Array): ReadCertificate => readCertificate(bytes, meshId, checkSignature);
const certificateOf = (name: string): ReadCertificate => readBytes(vectorNamed(certificates, name).bytes);
const issuerOf = (name: string | undefined) =>
  name === undefined
    ? { meshId, key: keyOf('mesh') }
    : { meshId, key: keyOf(name), certificate: certificateOf(name) };
const bytesOf = (name: string): string => hex(vectorNamed(envelopes, name).bytes);

const codecs = {
  grant: Grant,
  acceptance: Acceptance,
  issue: Issue,
  use: Use,
  revocation: Revocation,
  record: PeerAnnouncement,
  death: WireDeath,
} as const;

/** How the statements that travel alone are read, and what of them is made again from what was read. */
const remade: Partial<Record<EnvelopeVector['kind'], (envelope: Envelope) => Envelope>> = {
  use: (envelope) => {
    const { certificate, atMs, admitter } = readUse(envelope, readBytes);
    return sealUse(certificate, atMs, { key: keyWith(envelope.signer), certificate: admitter });
  },
  revocation: (envelope) => {
    const { signer, ...fields } = readRevocation(envelope, readBytes);
    const issuer = { meshId, key: keyWith(envelope.signer) };
    return sealRevocation(fields, signer === undefined ? issuer : { ...issuer, certificate: signer });
  },
  record: ({ payload, signer }) =>
    seal('record', meshId, encodeRecord(readRecord(payload, signer)), keyWith(signer)),
  death: ({ payload, signer }) => sealDeath(readDeath(payload, signer), meshId, keyWith(signer)),
};

describe('test vectors of keys', () => {
  it.each(keys)('$name: its seed gives its public key, and that its name', ({ seed, publicKey, peerId }) => {
    expect(hex(KeyPair.fromSeed(seed).publicKey)).toBe(hex(publicKey));
    expect(peerIdOf(publicKey)).toBe(peerId);
    expect(publicKeyOf(peerId)).toEqual(publicKey);
  });

  it('the mesh is named by its key', () => {
    expect(meshId).toBe(hex(vectorNamed(keys, 'mesh').publicKey));
  });
});

describe('test vectors of envelopes', () => {
  it.each(envelopes)('$name: is sealed as the vector says', ({ kind, signer, payload, signed, bytes }) => {
    const envelope = seal(kind, meshId, payload, keyOf(signer));
    expect(hex(envelope.bytes)).toBe(hex(bytes));
    expect(hex(keyOf(signer).sign(signed))).toBe(hex(envelope.signature));
    expect(hex(signed)).toBe(hex(Buffer.from(`meshnode/${kind}/1`)) + meshId + hex(payload));
  });

  it.each(envelopes)(
    '$name: is read as the vector says',
    ({ kind, signer, payload, bytes, sha256: hash }) => {
      const envelope = readEnvelope(bytes, meshId);
      checkEnvelope(envelope, checkSignature);
      expect(envelope).toMatchObject({ kind, payload, signer: vectorNamed(keys, signer).publicKey });
      expect(sha256(bytes)).toBe(hex(hash));
    },
  );

  it.each(envelopes)('$name: its payload has the fields of the vector', ({ kind, fields, payload }) => {
    expect(hex(codecs[kind].encode(fields).finish())).toBe(hex(payload));
    expect(codecs[kind].decode(payload)).toMatchObject(fields);
  });

  it.each(
    envelopes.flatMap((vector) => {
      const again = remade[vector.kind];
      return again === undefined ? [] : [{ ...vector, again }];
    }),
  )('$name: is made again from what is read of it', ({ again, bytes }) => {
    expect(hex(again(readEnvelope(bytes, meshId)).bytes)).toBe(hex(bytes));
  });

  it('have every kind', () => {
    expect(new Set(envelopes.map(({ kind }) => kind))).toEqual(new Set(envelopeKinds));
  });
});

describe('test vectors of certificates', () => {
  it.each(certificates)('$name: is read as the vector says', ({ values, bytes, sha256: hash }) => {
    expect(readBytes(bytes)).toMatchObject({ ...values, hash: hex(hash) });
    expect(sha256(bytes)).toBe(hex(hash));
  });

  it.each(certificates)('$name: is made of its parts', ({ parts, values, bytes }) => {
    const { peerId, role, issuedMs, sinceMs } = values;
    const peerKey = publicKeyOf(peerId) ?? new Uint8Array();
    const token = tokens.find(({ grant }) => grant === parts.grant);
    const made =
      token === undefined
        ? issueCertificate({ issuer: issuerOf(parts.issuer), peerKey, role, nowMs: issuedMs, sinceMs })
        : redeem(parseToken(token.text), keyWith(peerKey), { nowMs: issuedMs, role });
    expect(hex(made.bytes)).toBe(hex(bytes));
    const { grant, acceptance, issue } = Certificate.decode(bytes);
    expect([grant, acceptance, issue].map(hex)).toEqual(
      [parts.grant, parts.acceptance, parts.issue].map((name) => (name === undefined ? '' : bytesOf(name))),
    );
  });

  it('have every form: by the mesh key and by an admin, redeemed and issued', () => {
    const forms = certificates.map(({ parts }) => Object.keys(parts).join(' '));
    expect(new Set(forms)).toEqual(
      new Set(['issue', 'issue issuer', 'grant acceptance', 'grant acceptance issuer']),
    );
  });
});

describe('test vectors of tokens', () => {
  it.each(tokens)('$name: is read as the vector says', ({ text, values, grant, inviteKey, issuer }) => {
    const { addresses, ...terms } = values;
    const token = parseToken(text);
    expect(token).toMatchObject({ ...terms, meshId, inviteSeed: vectorNamed(keys, inviteKey).seed });
    expect(token.addresses.map(({ address }) => address)).toEqual(addresses);
    expect(hex(token.grantBytes)).toBe(bytesOf(grant));
    expect(token.issuer?.hash).toBe(issuer === undefined ? undefined : certificateOf(issuer).hash);
  });

  it.each(tokens)('$name: is made as the vector says', ({ text, values, inviteKey, issuer }) => {
    const { issuedMs: nowMs, expiresMs, ...terms } = values;
    const random = { bytes: () => vectorNamed(keys, inviteKey).seed, float: () => 0 };
    const options = { ...terms, issuer: issuerOf(issuer), ttlMs: expiresMs - nowMs };
    expect(createInvite(options, { random, nowMs }).token).toBe(text);
  });
});

describe('test vectors of judgement', () => {
  it.each(rulings)('$name', ({ held, atMs, verdicts }) => {
    const trust = new MeshTrust({ meshId, check: checkSignature });
    for (const name of held) {
      trust.offer(readEnvelope(vectorNamed(envelopes, name).bytes, meshId), atMs);
    }
    const given = Object.keys(verdicts).map((name) => [
      name,
      verdict(trust, { certificate: certificateOf(name) }, atMs),
    ]);
    expect(Object.fromEntries(given)).toEqual(verdicts);
  });
});
