import { describe, expect, it } from 'vitest';
import { acceptRenewal } from '../../../src/mesh/renewal.ts';
import { type Issuer, issueCertificate } from '../../../src/trust/certificate.ts';
import { dayMs, madeMs, type TestMember, TestMesh } from '../../support/test-mesh.ts';

const mesh = new TestMesh();
const wallMs = madeMs + 40 * dayMs;
const now = { wallMs, monotonicMs: 0 };
const equal = mesh.issue('equal', 'admin', { atMs: madeMs + 20 * dayMs });

/** What `member` makes of a certificate that `issuer` has signed for it. */
function taken(
  member: TestMember,
  issuer: Issuer,
  { role = member.certificate.role, own }: { role?: TestMember['certificate']['role']; own?: Issuer } = {},
): boolean {
  const { key, certificate } = member;
  const { bytes } = issueCertificate({ issuer, peerKey: key.publicKey, role, nowMs: wallMs });
  const node = { peer: key.peerId, certificate, issuer: own };
  return acceptRenewal({ type: 'renewal', certificate: bytes }, node, mesh.trust(), now) !== undefined;
}

describe('a renewal', () => {
  const server = mesh.issue('server', 'serve');
  const admin = mesh.issue('admin', 'admin');

  it('is taken from an admin by who is no admin, and from the mesh key by everybody', () => {
    expect(taken(server, mesh.issuerOf(equal))).toBe(true);
    expect(taken(server, mesh.issuer)).toBe(true);
    expect(taken(admin, mesh.issuer)).toBe(true);
  });

  it('by an equal is not taken by an admin, which it would put below the equal', () => {
    expect(taken(admin, mesh.issuerOf(equal), { own: mesh.issuerOf(admin) })).toBe(false);
    const below = mesh.issue('below', 'admin', { by: mesh.founder });
    expect(taken(below, mesh.issuerOf(equal))).toBe(true);
  });

  it('is not taken by who holds the mesh key and makes its own', () => {
    expect(taken(admin, mesh.issuer, { own: mesh.issuer })).toBe(false);
  });

  it('is not taken before it is due, for another role, or if it was made for another', () => {
    const fresh = mesh.issue('fresh', 'serve', { atMs: wallMs - dayMs });
    expect(taken(fresh, mesh.issuer)).toBe(false);
    expect(taken(server, mesh.issuer, { role: 'client' })).toBe(false);
    expect(taken({ ...server, certificate: admin.certificate }, mesh.issuer, { role: 'serve' })).toBe(false);
  });

  it('is not taken from who does not stand', () => {
    const { key, certificate } = server;
    const { bytes } = issueCertificate({
      issuer: mesh.issuerOf(equal),
      peerKey: key.publicKey,
      role: 'serve',
      nowMs: wallMs,
    });
    const revoked = mesh.trust([mesh.revocation(equal, { atMs: wallMs - dayMs })], wallMs);
    const node = { peer: key.peerId, certificate, issuer: undefined };
    expect(acceptRenewal({ type: 'renewal', certificate: bytes }, node, revoked, now)).toBeUndefined();
  });
});
