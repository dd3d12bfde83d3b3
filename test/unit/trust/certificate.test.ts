import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CertificateCache,
  expiryWarning,
  issueCertificate,
  readCertificate,
  renewalDue,
} from '../../../src/trust/certificate.ts';
import { seal } from '../../../src/trust/envelope.ts';
import { checkSignature, type KeyPair, type SignatureCheck } from '../../../src/trust/keys.ts';
import type { Role } from '../../../src/trust/roles.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import {
  Acceptance,
  Grant,
  Issue,
  Certificate as Message,
  Role as WireRole,
} from '../../../src/wire/trust-messages.ts';
import { dayMs, keyNamed, madeMs, minuteMs, type TestMember, TestMesh } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const mesh = new TestMesh();
const { founder } = mesh;
const admin = mesh.redeem(mesh.invite({ role: 'admin' }), 'admin');
const server = mesh.redeem(mesh.invite({ by: admin, atMs: madeMs + 2 * minuteMs }), 'server', {
  atMs: madeMs + 3 * minuteMs,
});

const read = (bytes: Uint8Array) => readCertificate(bytes, mesh.meshId, mesh.check);
const refusal = (bytes: Uint8Array) => thrownBy(() => read(bytes)).code;

const wireRoles = { client: WireRole.ROLE_CLIENT, serve: WireRole.ROLE_SERVE, admin: WireRole.ROLE_ADMIN };
const inviteKey = keyNamed('invite');

/** A grant with its acceptance, right in every way except for what is given. */
function redemption(
  change: {
    signer?: KeyPair;
    issuer?: TestMember;
    accepter?: KeyPair;
    grant?: object;
    acceptance?: object;
    role?: Role;
    acceptedAs?: Role;
  } = {},
): Uint8Array {
  const terms = {
    inviteKey: inviteKey.publicKey,
    role: wireRoles[change.role ?? 'serve'],
    issuedMs: madeMs,
    expiresMs: madeMs + dayMs,
    maxUses: 1,
    ...change.grant,
  };
  const acceptance = {
    peerKey: keyNamed('newcomer').publicKey,
    role: wireRoles[change.acceptedAs ?? 'serve'],
    atMs: madeMs + minuteMs,
    ...change.acceptance,
  };
  const signer = change.signer ?? change.issuer?.key ?? mesh.key;
  return Message.encode({
    grant: seal('grant', mesh.meshId, Grant.encode(terms).finish(), signer).bytes,
    acceptance: seal(
      'acceptance',
      mesh.meshId,
      Acceptance.encode(acceptance).finish(),
      change.accepter ?? inviteKey,
    ).bytes,
    issuer: change.issuer?.certificate.bytes ?? null,
  }).finish();
}

/** An issue for the newcomer, signed by `signer` under `issuer`. */
function issue(fields: object, signer: KeyPair = mesh.key, issuer?: TestMember): Uint8Array {
  const peerKey = keyNamed('newcomer').publicKey;
  const dates = { issuedMs: madeMs, sinceMs: madeMs, expiresMs: madeMs + 90 * dayMs };
  const payload = Issue.encode({ peerKey, role: WireRole.ROLE_SERVE, ...dates, ...fields }).finish();
  return Message.encode({
    issue: seal('issue', mesh.meshId, payload, signer).bytes,
    issuer: issuer?.certificate.bytes ?? null,
  }).finish();
}

describe('a certificate', () => {
  it('issued by the mesh key names its peer, role and dates', () => {
    expect(read(founder.certificate.bytes)).toMatchObject({
      peerId: founder.key.peerId,
      peerKey: founder.key.publicKey,
      role: 'admin',
      depth: 1,
      issuedMs: madeMs,
      expiresMs: madeMs + 90 * dayMs,
      issuer: undefined,
    });
    expect(founder.certificate).not.toHaveProperty('invite');
  });

  it('of an invite by an admin carries the chain and the terms', () => {
    expect(read(server.certificate.bytes)).toMatchObject({
      peerId: server.key.peerId,
      role: 'serve',
      depth: 2,
      issuer: { peerId: admin.key.peerId, depth: 1 },
      invite: {
        grantIssuedMs: madeMs + 2 * minuteMs,
        maxUses: 1,
        strict: false,
        inviterKey: admin.key.publicKey,
      },
    });
  });

  it('lives 90 days from its acceptance, and never longer than its issuer', () => {
    expect(admin.certificate.expiresMs).toBe(madeMs + minuteMs + 90 * dayMs);
    expect(server.certificate.expiresMs).toBe(admin.certificate.expiresMs);
  });

  it('fits its bound, also the longest one', () => {
    expect(server.certificate.bytes.length).toBeLessThan(trustLimits.certificateBytes / 2);
  });

  it('is refused with any single byte of it changed, and cut at any length', () => {
    const { bytes } = server.certificate;
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ (1 << (index % 8));
      expect(['certificate_invalid', 'mesh_mismatch']).toContain(refusal(changed));
      expect(refusal(bytes.subarray(0, index))).toBe('certificate_invalid');
    }
  });

  it('has one form only', () => {
    const { bytes } = founder.certificate;
    expect(refusal(Buffer.concat([bytes, Buffer.from([0x28, 1])]))).toBe('certificate_invalid');
    expect(refusal(Buffer.concat([bytes, bytes]))).toBe('certificate_invalid');
    const both = { ...Message.decode(redemption()), issue: Message.decode(bytes).issue };
    expect(refusal(Message.encode(both).finish())).toBe('certificate_invalid');
    const half = { ...Message.decode(redemption()), acceptance: null };
    expect(refusal(Message.encode(half).finish())).toBe('certificate_invalid');
    expect(refusal(new Uint8Array(trustLimits.certificateBytes + 1))).toBe('certificate_invalid');
  });

  it('of another mesh is refused as that', () => {
    expect(refusal(new TestMesh('other').founder.certificate.bytes)).toBe('mesh_mismatch');
  });

  it('is read if nothing is wrong with it', () => {
    expect(read(redemption()).role).toBe('serve');
    expect(read(redemption({ issuer: founder })).depth).toBe(2);
    expect(read(issue({})).role).toBe('serve');
    expect(read(issue({}, founder.key, founder)).depth).toBe(2);
  });

  const client = mesh.issue('client', 'client');
  const server1 = mesh.issue('server 1', 'serve');
  const deepAdmin = mesh.issue('deep admin', 'admin', { by: founder });
  const lateAdmin = mesh.issue('late admin', 'admin', { atMs: madeMs + dayMs });
  const stranger = keyNamed('stranger');

  it.each<[string, Uint8Array]>([
    ['signed by a stranger', issue({}, stranger)],
    ['signed by a stranger in the name of an admin', issue({}, stranger, founder)],
    ['issued by a client', issue({}, client.key, client)],
    ['issued by a server', issue({}, server1.key, server1)],
    ['issued by an admin two below the mesh key', issue({}, deepAdmin.key, deepAdmin)],
    ['signed by the mesh key with a certificate of another', issue({}, mesh.key, founder)],
    ['signed by an admin who hides the certificate', issue({}, founder.key)],
    ['signed before its issuer was one', issue({}, lateAdmin.key, lateAdmin)],
    [
      'signed after its issuer ended',
      issue({ issuedMs: madeMs + 91 * dayMs, expiresMs: madeMs + 92 * dayMs }, founder.key, founder),
    ],
    ['issued for more than 90 days', issue({ expiresMs: madeMs + 90 * dayMs + 1 })],
    ['that ends before it begins', issue({ expiresMs: madeMs - 1 })],
    ['without dates', issue({ issuedMs: 0 })],
    ['with a date beyond all numbers', issue({ issuedMs: 2 ** 60, expiresMs: 2 ** 60 + 1 })],
    ['of no role', issue({ role: 0 })],
    ['of an unknown role', issue({ role: 9 })],
    ['of a short key', issue({ peerKey: new Uint8Array(31) })],
    ['granted by a stranger', redemption({ signer: stranger })],
    ['granted by a client', redemption({ issuer: client })],
    ['granted by an admin two below the mesh key', redemption({ issuer: deepAdmin })],
    ['granted before its issuer was one', redemption({ issuer: lateAdmin })],
    ['accepted without the key of the invite', redemption({ accepter: stranger })],
    ['accepted as more than it grants', redemption({ role: 'client' })],
    ['accepted after the invite', redemption({ acceptance: { atMs: madeMs + dayMs + 1 } })],
    ['accepted long before the invite', redemption({ acceptance: { atMs: madeMs - 5 * minuteMs - 1 } })],
    ['of an invite for too long', redemption({ grant: { expiresMs: madeMs + 91 * dayMs } })],
    ['of an invite that ends before it begins', redemption({ grant: { expiresMs: madeMs } })],
    ['of an invite for nobody', redemption({ grant: { maxUses: 0 } })],
    ['of an invite for everybody', redemption({ grant: { maxUses: 1_001 } })],
  ])('%s is refused', (_what, bytes) => {
    expect(refusal(bytes)).toBe('certificate_invalid');
  });

  it('may be accepted by a clock that is a little behind', () => {
    const atMs = madeMs - 5 * minuteMs;
    expect(read(redemption({ acceptance: { atMs } })).issuedMs).toBe(atMs);
    expect(read(redemption({ acceptedAs: 'client' })).role).toBe('client');
  });

  it('with a grant in the place of its acceptance is refused', () => {
    const { grant } = Message.decode(redemption());
    const bytes = Message.encode({ grant, acceptance: grant }).finish();
    expect(refusal(bytes)).toBe('certificate_invalid');
  });

  it('is issued by nobody but the mesh key and its direct admins', () => {
    for (const issuer of [client, server1, deepAdmin]) {
      const attempt = () =>
        issueCertificate({
          issuer: mesh.issuerOf(issuer),
          peerKey: stranger.publicKey,
          role: 'client',
          nowMs: madeMs,
        });
      expect(thrownBy(attempt).code).toBe('role_forbidden');
    }
  });

  it('is due for renewal from day 30, and warns from 14 days before its end', () => {
    const { certificate } = founder;
    expect(renewalDue(certificate, madeMs + 30 * dayMs - 1)).toBe(false);
    expect(renewalDue(certificate, madeMs + 30 * dayMs)).toBe(true);
    expect(expiryWarning(certificate, madeMs + 76 * dayMs - 1)).toBe(false);
    expect(expiryWarning(certificate, madeMs + 76 * dayMs)).toBe(true);
  });

  it('of random bytes is refused with one of our errors', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(thrownBy(() => read(bytes))).toBeInstanceOf(MeshnodeError);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the cache of certificates', () => {
  function counted(): { check: SignatureCheck; asked: () => number } {
    let asked = 0;
    const check: SignatureCheck = (...question) => {
      asked++;
      return checkSignature(...question);
    };
    return { check, asked: () => asked };
  }

  it('verifies a chain once, and an issuer once for all under it', () => {
    const { check, asked } = counted();
    const cache = new CertificateCache(mesh.meshId, check);
    const first = cache.read(server.certificate.bytes);
    expect(asked()).toBe(4);
    expect(cache.read(new Uint8Array(server.certificate.bytes))).toBe(first);
    expect(cache.read(admin.certificate.bytes)).toBe(first.issuer);
    expect(asked()).toBe(4);
  });

  it('remembers no failure and forgets the one not used for longest', () => {
    let honest = false;
    const cache = new CertificateCache(mesh.meshId, () => honest);
    expect(thrownBy(() => cache.read(founder.certificate.bytes)).code).toBe('certificate_invalid');
    honest = true;
    const first = cache.read(founder.certificate.bytes);
    for (let index = 0; index < trustLimits.cachedCertificates; index++) {
      cache.read(issue({ issuedMs: madeMs + index, expiresMs: madeMs + index + 1 }));
    }
    expect(cache.read(founder.certificate.bytes)).not.toBe(first);
  });
});
