import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkEnvelope,
  type Envelope,
  envelopeHash,
  envelopeKinds,
  readEnvelope,
  seal,
} from '../../../src/trust/envelope.ts';
import { checkSignature, keyText } from '../../../src/trust/keys.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { Envelope as Message } from '../../../src/wire/trust-messages.ts';
import { keyNamed } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const meshId = keyText(keyNamed('mesh').publicKey);
const otherMeshId = keyText(keyNamed('other mesh').publicKey);
const signer = keyNamed('signer');
const payload = Buffer.from('what is said');
const sealed = seal('record', meshId, payload, signer);

const accept = (bytes: Uint8Array): Envelope => {
  const envelope = readEnvelope(bytes, meshId);
  checkEnvelope(envelope, checkSignature);
  return envelope;
};

/** The fields of `sealed` on the wire, some replaced. */
const withFields = (fields: object): Uint8Array =>
  Message.encode({ ...Message.decode(sealed.bytes), ...fields }).finish();

describe('an envelope', () => {
  it.each(envelopeKinds)('of kind %s comes back as it was sealed', (kind) => {
    const envelope = seal(kind, meshId, payload, signer);
    expect(accept(envelope.bytes)).toEqual(envelope);
  });

  it('keeps its payload when the buffer it was read from is used again', () => {
    const received = Buffer.from(sealed.bytes);
    const envelope = readEnvelope(received, meshId);
    received.fill(0);
    expect(envelope).toEqual(sealed);
    checkEnvelope(envelope, checkSignature);
  });

  it('passes on a payload of a newer version as it came', () => {
    const newer = Buffer.concat([payload, Buffer.from([0xfa, 0x06, 1, 7])]);
    expect(accept(seal('record', meshId, newer, signer).bytes).payload).toEqual(new Uint8Array(newer));
  });

  it.each(envelopeKinds.filter((kind) => kind !== 'record'))('is not taken for one of kind %s', (kind) => {
    expect(thrownBy(() => accept(withFields({ kind }))).code).toBe('envelope_invalid');
  });

  it.each(['', 'Record', 'record/1', 'toString'])('of the unknown kind "%s" is refused', (kind) => {
    expect(thrownBy(() => accept(withFields({ kind }))).code).toBe('kind_unknown');
  });

  it('of one mesh is refused in another, also with that one written over it', () => {
    expect(thrownBy(() => readEnvelope(sealed.bytes, otherMeshId)).code).toBe('mesh_mismatch');
    const moved = readEnvelope(withFields({ mesh: Buffer.from(otherMeshId, 'hex') }), otherMeshId);
    expect(thrownBy(() => checkEnvelope(moved, checkSignature)).code).toBe('envelope_invalid');
  });

  it('is refused with any single bit of it turned, and cut at any length', () => {
    for (let index = 0; index < sealed.bytes.length; index++) {
      for (const bit of [0x01, 0x08, 0x80]) {
        const flipped = Buffer.from(sealed.bytes);
        flipped[index] = (flipped[index] ?? 0) ^ bit;
        expect(['envelope_invalid', 'kind_unknown', 'mesh_mismatch']).toContain(
          thrownBy(() => accept(flipped)).code,
        );
      }
      expect(thrownBy(() => accept(sealed.bytes.subarray(0, index))).code).toMatch(
        /^(envelope_invalid|kind_unknown)$/,
      );
    }
  });

  it('has one form only: anything beside the five fields is refused', () => {
    const forms = [
      Buffer.concat([sealed.bytes, Buffer.from([0x30, 1])]),
      Buffer.concat([sealed.bytes, sealed.bytes]),
      Buffer.concat([sealed.bytes.subarray(8), sealed.bytes.subarray(0, 8)]),
    ];
    for (const form of forms) {
      expect(thrownBy(() => accept(form)).code).toBe('envelope_invalid');
    }
  });

  it.each([
    ['mesh', 31],
    ['signer', 33],
    ['signature', 63],
    ['payload', 0],
  ])('with a %s of %i bytes is refused', (field, length) => {
    expect(thrownBy(() => accept(withFields({ [field]: new Uint8Array(length) }))).code).toBe(
      'envelope_invalid',
    );
  });

  it('is measured before it is decoded', () => {
    const long = seal('record', meshId, new Uint8Array(trustLimits.envelopeBytes), signer);
    expect(thrownBy(() => accept(long.bytes)).message).toContain('longer than');
  });

  it('is named by the hash of its bytes', () => {
    const hash = envelopeHash(sealed);
    expect(hash).toHaveLength(32);
    expect(envelopeHash(accept(sealed.bytes))).toEqual(hash);
    expect(envelopeHash(seal('death', meshId, payload, signer))).not.toEqual(hash);
  });

  it('of random bytes is refused with one of our errors', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(thrownBy(() => accept(bytes))).toBeInstanceOf(MeshnodeError);
      }),
      { numRuns: 500 },
    );
  });
});
