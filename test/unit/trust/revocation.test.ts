import { describe, expect, it } from 'vitest';
import { type Certificate, issueCertificate } from '../../../src/trust/certificate.ts';
import { envelopeHash, readEnvelope } from '../../../src/trust/envelope.ts';
import { keyText } from '../../../src/trust/keys.ts';
import type { MeshTrust } from '../../../src/trust/mesh-trust.ts';
import { dayMs, madeMs, minuteMs, type TestMember, TestMesh, verdict } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const mesh = new TestMesh();
const { founder } = mesh;
const nowMs = madeMs + dayMs;

const certificates = (...members: readonly TestMember[]): Certificate[] =>
  members.map((member) => member.certificate);

describe('a revocation', () => {
  const admin = mesh.issue('admin', 'admin');
  const deepAdmin = mesh.issue('deep admin', 'admin', { by: admin });
  const server = mesh.issue('server', 'serve');

  it('puts a peer out for good, whatever old invites it still has', () => {
    const invite = mesh.invite({ maxUses: 5, ttlMs: 30 * dayMs });
    const first = mesh.redeem(invite, 'member');
    const trust = mesh.trust([mesh.use(first), mesh.revocation(first)]);
    const again = mesh.redeem(invite, 'member', { atMs: nowMs + dayMs });
    expect(verdict(trust, first)).toBe('certificate_revoked');
    expect(verdict(trust, again, nowMs + dayMs)).toBe('certificate_revoked');
  });

  it('does not touch what an invite made later gives', () => {
    const member = mesh.redeem(mesh.invite(), 'member');
    const trust = mesh.trust([mesh.use(member), mesh.revocation(member)]);
    const invite = mesh.invite({ atMs: nowMs + 1 });
    const back = mesh.redeem(invite, 'member', { atMs: nowMs + minuteMs });
    const renewed = mesh.issue('member', 'serve', { atMs: nowMs + 40 * dayMs });
    expect(verdict(trust, back, nowMs + minuteMs)).toBe('standing');
    expect(verdict(trust, renewed, nowMs + 40 * dayMs)).toBe('standing');
    expect(verdict(trust, member, nowMs + minuteMs)).toBe('certificate_revoked');
  });

  it('is not undone by a renewal made after it, but by a new invite', () => {
    const member = mesh.redeem(mesh.invite(), 'member');
    const trust = mesh.trust([mesh.use(member), mesh.revocation(member)]);
    const laterMs = nowMs + 40 * dayMs;
    const { peerKey, role, sinceMs } = member.certificate;
    for (const issuer of [mesh.issuer, mesh.issuerOf(admin)]) {
      const renewed = issueCertificate({ issuer, peerKey, role, sinceMs, nowMs: laterMs });
      expect(verdict(trust, { certificate: renewed }, laterMs)).toBe('certificate_revoked');
    }
    const back = mesh.redeem(mesh.invite({ atMs: laterMs }), 'member', { atMs: laterMs + minuteMs });
    expect(verdict(trust, back, laterMs + minuteMs)).toBe('standing');
  });

  it.each<[string, TestMember | undefined, readonly TestMember[], readonly TestMember[]]>([
    ['the mesh key revokes anybody', undefined, [admin, deepAdmin, server], []],
    ['an admin revokes admins below and all others', admin, [deepAdmin, server], [founder, admin]],
    ['an admin below an admin revokes no admin', deepAdmin, [server], [founder, admin, deepAdmin]],
  ])('%s', (_what, by, out, unmoved) => {
    const options = by === undefined ? {} : { by };
    const trust = mesh.trust([...out, ...unmoved].map((member) => mesh.revocation(member, options)));
    expect(out.map((member) => verdict(trust, member))).toEqual(out.map(() => 'certificate_revoked'));
    expect(unmoved.map((member) => verdict(trust, member))).toEqual(unmoved.map(() => 'standing'));
  });

  it('by who is no admin is refused', () => {
    const client = mesh.issue('client', 'client');
    for (const by of [client, server]) {
      const offered = () => mesh.trust([mesh.revocation(client, { by })]);
      expect(thrownBy(offered).code).toBe('role_forbidden');
    }
  });

  it('of two admins by each other leaves both', () => {
    const other = mesh.issue('other admin', 'admin');
    const trust = mesh.trust([mesh.revocation(admin, { by: other }), mesh.revocation(other, { by: admin })]);
    expect([admin, other].map((member) => verdict(trust, member))).toEqual(['standing', 'standing']);
  });

  it('of an admin takes all that it made, whatever date that bears, but for what another signs again', () => {
    const invite = mesh.invite({ by: admin, maxUses: 2 });
    const member = mesh.redeem(invite, 'member');
    const issued = mesh.issue('issued', 'serve', { by: admin, atMs: nowMs + dayMs });
    const backdated = mesh.redeem(mesh.invite({ by: admin, role: 'admin' }), 'backdated');
    const seen = mesh.redeem(mesh.invite(), 'seen');
    const trust = mesh.trust([
      mesh.use(member),
      mesh.use(backdated),
      mesh.use(seen, admin),
      mesh.revocation(server, { by: admin, atMs: madeMs }),
      mesh.revocation(admin),
    ]);
    const later = nowMs + dayMs;
    for (const under of [member, issued, backdated, deepAdmin]) {
      expect(verdict(trust, under, later)).toBe('certificate_revoked');
    }
    expect(verdict(trust, seen, later)).toBe('token_expired');
    expect(verdict(trust, server, later)).toBe('standing');
    expect(verdict(trust, mesh.issue('member', 'serve', { by: founder, atMs: later }), later)).toBe(
      'standing',
    );
  });

  it('stays in force if whoever revokes its signer keeps it', () => {
    const kept = mesh.revocation(server, { by: admin });
    const dropped = mesh.revocation(mesh.issue('other', 'serve'), { by: admin });
    const keep = [keyText(envelopeHash(kept))];
    const trust = mesh.trust([mesh.revocation(admin, { keep }), kept, dropped]);
    expect(verdict(trust, server)).toBe('certificate_revoked');
    expect(verdict(trust, mesh.issue('other', 'serve'))).toBe('standing');
  });

  it('stays in force when the certificate of its signer has ended', () => {
    const trust = mesh.trust(
      [mesh.revocation(server, { by: admin, atMs: admin.certificate.expiresMs })],
      madeMs + 90 * dayMs,
    );
    expect(verdict(trust, server, server.certificate.expiresMs)).toBe('certificate_revoked');
  });

  it('of the member that saw its signer join does not undo itself', () => {
    const host = mesh.issue('host', 'serve');
    const joined = mesh.redeem(mesh.invite({ role: 'admin' }), 'joined');
    const trust = mesh.trust([mesh.use(joined, host), mesh.revocation(host, { by: joined })]);
    expect(verdict(trust, host)).toBe('certificate_revoked');
    expect(verdict(trust, joined, madeMs + 2 * dayMs)).toBe('token_expired');
  });

  it('by an admin who overspent its invite is not in force', () => {
    const invite = mesh.invite({ role: 'admin' });
    const [first, second] = ['first', 'second'].map((name) => mesh.redeem(invite, name)) as [
      TestMember,
      TestMember,
    ];
    const revocation = mesh.revocation(server, { by: second });
    const uses = [mesh.use(first), mesh.use(second, founder, madeMs + 9 * minuteMs)];
    expect(verdict(mesh.trust([...uses, revocation]), server)).toBe('standing');
    expect(verdict(mesh.trust([...uses.slice(1), revocation]), server)).toBe('certificate_revoked');
  });

  it.each<[string, (trust: MeshTrust) => unknown, string]>([
    [
      'dated ahead of the clock',
      (trust) => trust.offer(mesh.revocation(server, { atMs: nowMs + 6 * minuteMs }), nowMs),
      'clock_skewed',
    ],
    [
      'dated before its signer was an admin',
      (trust) => trust.offer(mesh.revocation(server, { by: admin, atMs: madeMs - dayMs }), nowMs),
      'envelope_invalid',
    ],
    [
      'of another mesh',
      (trust) => trust.offer(new TestMesh('other').revocation(server), nowMs),
      'mesh_mismatch',
    ],
    [
      'that keeps too much',
      (trust) =>
        trust.offer(
          mesh.revocation(server, {
            keep: Array.from({ length: 257 }, (_, n) => n.toString(16).padStart(64, '0')),
          }),
          nowMs,
        ),
      'envelope_invalid',
    ],
    [
      'with a forged signature',
      (trust) => trust.offer({ ...mesh.revocation(server), signature: new Uint8Array(64) }, nowMs),
      'envelope_invalid',
    ],
  ])('%s is refused', (_what, offer, code) => {
    expect(thrownBy(() => offer(mesh.trust())).code).toBe(code);
  });

  it('with any single byte changed is refused', () => {
    const { bytes } = mesh.revocation(server, { by: admin });
    for (let index = 0; index < bytes.length; index++) {
      const changed = Buffer.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ (1 << (index % 8));
      const offered = () => mesh.trust().offer(readEnvelope(changed, mesh.meshId), nowMs);
      expect(['envelope_invalid', 'kind_unknown', 'mesh_mismatch']).toContain(thrownBy(offered).code);
    }
  });
});

describe('revoking', () => {
  it('by an admin puts a member out and signs for those that the member admitted', () => {
    const admin = mesh.issue('admin', 'admin');
    const host = mesh.redeem(mesh.invite(), 'host');
    const guest = mesh.redeem(mesh.invite(), 'guest');
    const second = mesh.redeem(mesh.invite(), 'second guest');
    const uses = [
      mesh.use(host),
      mesh.use(guest, host, madeMs + 2 * minuteMs),
      mesh.use(second, guest, madeMs + 3 * minuteMs),
    ];
    const trust = mesh.trust(uses);
    const later = madeMs + 2 * dayMs;
    const signed = trust.revoke(
      { peerKey: host.key.publicKey },
      mesh.issuerOf(admin),
      certificates(founder, admin, host, guest, second),
      later,
    );
    expect(signed.map((envelope) => envelope.kind)).toEqual(['revocation', 'use']);
    for (const holder of [
      trust,
      mesh.trust([...uses, ...signed], later),
      mesh.trust([...signed, ...uses], later),
    ]) {
      expect([host, guest, second].map((member) => verdict(holder, member, later))).toEqual([
        'certificate_revoked',
        'standing',
        'standing',
      ]);
    }
  });

  it('by the mesh key keeps what an admin revoked, and signs for whom it admitted', () => {
    const admin = mesh.issue('admin', 'admin');
    const out = mesh.issue('out', 'serve');
    const guest = mesh.redeem(mesh.invite(), 'guest');
    const later = madeMs + 40 * dayMs;
    const trust = mesh.trust([mesh.use(guest, admin), mesh.revocation(out, { by: admin })]);
    trust.revoke({ peerKey: admin.key.publicKey }, mesh.issuer, certificates(founder, admin, guest), later);
    expect([admin, out, guest].map((member) => verdict(trust, member, later))).toEqual([
      'certificate_revoked',
      'certificate_revoked',
      'standing',
    ]);
  });

  it('does not bring back who is no member', () => {
    const host = mesh.issue('host', 'serve');
    const guest = mesh.redeem(mesh.invite(), 'guest');
    const trust = mesh.trust([mesh.use(guest, host)]);
    trust.revoke(
      { peerKey: host.key.publicKey },
      mesh.issuer,
      certificates(founder, host),
      madeMs + 2 * dayMs,
    );
    expect(verdict(trust, guest, madeMs + 2 * dayMs)).toBe('token_expired');
  });

  it('reaches a renewal that bears the date of a faster clock', () => {
    const member = mesh.issue('member', 'serve', { atMs: nowMs + 2 * minuteMs });
    const trust = mesh.trust();
    trust.revoke({ peerKey: member.key.publicKey }, mesh.issuer, certificates(member), nowMs);
    expect(verdict(trust, member)).toBe('certificate_revoked');
  });

  it('an invite ends it', () => {
    const invite = mesh.invite({ maxUses: 3 });
    const trust = mesh.trust();
    trust.revoke({ inviteKey: invite.inviteKey }, mesh.issuerOf(founder), [], madeMs + minuteMs);
    expect(verdict(trust, mesh.redeem(invite, 'newcomer'), madeMs + 2 * minuteMs)).toBe(
      'certificate_revoked',
    );
  });

  it('is refused to an admin whom the peer admitted, until the admin is renewed', () => {
    const host = mesh.issue('host', 'serve');
    const admin = mesh.redeem(mesh.invite({ role: 'admin' }), 'admin');
    const trust = mesh.trust([mesh.use(admin, host)]);
    const members = certificates(host, admin);
    const revoke = (by: TestMember) => () =>
      trust.revoke({ peerKey: host.key.publicKey }, mesh.issuerOf(by), members, nowMs);
    expect(thrownBy(revoke(admin)).code).toBe('role_forbidden');
    expect(verdict(trust, host)).toBe('standing');
    revoke(mesh.issue('admin', 'admin', { atMs: nowMs }))();
    expect(verdict(trust, host)).toBe('certificate_revoked');
  });

  it('an invite for admins is for the mesh key', () => {
    const invite = mesh.invite({ role: 'admin' });
    const member = mesh.redeem(invite, 'member');
    const revoke = () =>
      mesh
        .trust()
        .revoke({ inviteKey: invite.inviteKey }, mesh.issuerOf(founder), certificates(member), nowMs);
    expect(thrownBy(revoke).code).toBe('role_forbidden');
  });

  it('is refused to who may not', () => {
    const [admin, other] = ['admin', 'other admin'].map((name) => mesh.issue(name, 'admin')) as [
      TestMember,
      TestMember,
    ];
    const server = mesh.issue('server', 'serve');
    const revoke = (trust: MeshTrust, target: TestMember, by: TestMember) => () =>
      trust.revoke({ peerKey: target.key.publicKey }, mesh.issuerOf(by), certificates(target), nowMs);
    expect(thrownBy(revoke(mesh.trust(), other, admin)).code).toBe('role_forbidden');
    expect(thrownBy(revoke(mesh.trust(), admin, server)).code).toBe('role_forbidden');
    const trust = mesh.trust([mesh.revocation(admin)]);
    expect(thrownBy(revoke(trust, server, admin)).code).toBe('certificate_revoked');
    expect(trust.items()).toHaveLength(1);
  });
});
