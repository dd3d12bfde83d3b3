import { describe, expect, it } from 'vitest';
import { seal } from '../../../src/trust/envelope.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { dayMs, madeMs, minuteMs, type TestMember, TestMesh, verdict } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const mesh = new TestMesh();
const { founder } = mesh;
const nowMs = madeMs + dayMs;

describe('standing', () => {
  it('is theirs whom the mesh key or its admin issued it, while the certificate is in date', () => {
    const trust = mesh.trust();
    const server = mesh.issue('server', 'serve', { by: founder, atMs: madeMs + dayMs });
    expect(verdict(trust, founder)).toBe('standing');
    expect(verdict(trust, server)).toBe('standing');
    expect(verdict(trust, server, madeMs + 90 * dayMs)).toBe('standing');
    expect(verdict(trust, server, madeMs + 90 * dayMs + 1)).toBe('certificate_expired');
  });

  it('puts up with clocks five minutes apart', () => {
    const server = mesh.issue('server', 'serve', { atMs: nowMs });
    expect(verdict(mesh.trust(), server, nowMs - 5 * minuteMs)).toBe('standing');
    expect(verdict(mesh.trust(), server, nowMs - 5 * minuteMs - 1)).toBe('clock_skewed');
  });

  it('is of one mesh only', () => {
    expect(verdict(mesh.trust(), new TestMesh('other').founder)).toBe('mesh_mismatch');
  });

  it('goes on with a renewal', () => {
    const server = mesh.redeem(mesh.invite(), 'server');
    const renewed = mesh.issue('server', 'serve', { atMs: madeMs + 40 * dayMs });
    const trust = mesh.trust([mesh.use(server)]);
    expect(verdict(trust, server, madeMs + 100 * dayMs)).toBe('certificate_expired');
    expect(verdict(trust, renewed, madeMs + 100 * dayMs)).toBe('standing');
  });
});

describe('witnessing', () => {
  const joined = madeMs + 2 * minuteMs;

  it('makes a use that counts, once', () => {
    const newcomer = mesh.redeem(mesh.invite(), 'newcomer');
    const trust = mesh.trust();
    const use = trust.witness(newcomer.certificate, founder, joined);
    expect(use?.kind).toBe('use');
    expect(trust.items()).toEqual([use]);
    expect(verdict(mesh.trust(trust.items()), newcomer, madeMs + 2 * dayMs)).toBe('standing');
    expect(trust.witness(newcomer.certificate, founder, joined)).toBeUndefined();
  });

  it('signs nothing for who was issued, does not stand, or is the member itself', () => {
    const invite = mesh.invite();
    const trust = mesh.trust([mesh.use(mesh.redeem(invite, 'first'))]);
    const other = mesh.redeem(mesh.invite(), 'other');
    expect(trust.witness(mesh.issue('server', 'serve').certificate, founder, joined)).toBeUndefined();
    expect(trust.witness(mesh.redeem(invite, 'second').certificate, founder, joined)).toBeUndefined();
    expect(trust.witness(other.certificate, other, joined)).toBeUndefined();
    expect(trust.witness(other.certificate, founder, madeMs + 2 * dayMs)).toBeUndefined();
  });

  it('adds to what members of lower rank saw, once, while the invite lasts', () => {
    const [server, other] = ['server', 'other'].map((name) => mesh.issue(name, 'serve')) as [
      TestMember,
      TestMember,
    ];
    const [admin, newcomer] = [mesh.issue('admin', 'admin'), mesh.redeem(mesh.invite(), 'newcomer')];
    const seen = mesh.use(newcomer, server);
    expect(mesh.trust([seen]).witness(newcomer.certificate, founder, madeMs + 2 * dayMs)).toBeUndefined();
    const trust = mesh.trust([seen]);
    const signs = (by: TestMember) => trust.witness(newcomer.certificate, by, joined) !== undefined;
    expect([other, founder, founder, admin, server].map(signs)).toEqual([false, true, false, false, false]);
  });

  it('by an admin does not take back whom the newcomer saw before', () => {
    const [server, admin] = [mesh.issue('server', 'serve'), mesh.issue('admin', 'admin')];
    const [host, guest] = ['host', 'guest'].map((name) => mesh.redeem(mesh.invite(), name)) as [
      TestMember,
      TestMember,
    ];
    const later = madeMs + 2 * dayMs;
    const trust = mesh.trust([mesh.use(host, server), mesh.use(guest, host, joined)]);
    trust.witness(host.certificate, founder, joined + minuteMs);
    expect(verdict(trust, guest, later)).toBe('standing');
    expect(verdict(mesh.trust(trust.proofsFor(guest.certificate)), guest, later)).toBe('standing');
    const members = [server, host, guest].map(({ certificate }) => certificate);
    const signed = trust.revoke({ peerKey: server.key.publicKey }, mesh.issuerOf(admin), members, later);
    expect(signed.map(({ kind }) => kind)).toEqual(['revocation', 'use']);
    expect([host, guest].map((member) => verdict(trust, member, later))).toEqual(['standing', 'standing']);
  });

  it('by a member whose clock is behind its own admission still counts', () => {
    const [first, second] = ['first', 'second'].map((name) => mesh.redeem(mesh.invite(), name)) as [
      TestMember,
      TestMember,
    ];
    const trust = mesh.trust([mesh.use(first, founder, joined + 4 * minuteMs)]);
    trust.witness(second.certificate, first, joined);
    expect(verdict(trust, second, madeMs + 2 * dayMs)).toBe('standing');
  });
});

describe('what is held', () => {
  const members = ['a', 'b', 'c'].map((name) => mesh.redeem(mesh.invite(), name)) as [
    TestMember,
    TestMember,
    TestMember,
  ];
  const [a, b, c] = members;

  it('is taken once, and the version rises with it alone', () => {
    const trust = mesh.trust();
    const use = mesh.use(a);
    expect(trust.offer(use, nowMs)).toBe('new');
    const { version } = trust;
    expect(trust.offer(use, nowMs)).toBe('known');
    expect(() => trust.offer(mesh.use(b, b), nowMs)).toThrow();
    expect(trust.version).toBe(version);
    trust.offer(mesh.use(b), nowMs);
    expect(trust.version).toBeGreaterThan(version);
  });

  it.each(['grant', 'acceptance', 'issue', 'record', 'death'] as const)('is no %s', (kind) => {
    const envelope = seal(kind, mesh.meshId, Buffer.from('x'), mesh.key);
    expect(thrownBy(() => mesh.trust().offer(envelope, nowMs)).code).toBe('envelope_invalid');
  });

  it('of one kind is not taken as the other', () => {
    const { payload } = mesh.use(a);
    const swapped = seal('revocation', mesh.meshId, payload, founder.key);
    expect(() => mesh.trust().offer(swapped, nowMs)).toThrow(
      expect.objectContaining({ name: 'MeshnodeError' }),
    );
  });

  it('proves a certificate to who holds nothing, through all who admitted each other', () => {
    const uses = [mesh.use(a), mesh.use(b, a, madeMs + 2 * minuteMs), mesh.use(c, b, madeMs + 3 * minuteMs)];
    const trust = mesh.trust([...uses, mesh.use(mesh.redeem(mesh.invite(), 'd'))]);
    const proofs = trust.proofsFor(c.certificate);
    expect(proofs).toEqual(uses.toReversed());
    expect(verdict(mesh.trust(proofs), c, madeMs + 2 * dayMs)).toBe('standing');
  });

  it('proves that an invite had no seat left, and that who filled it could', () => {
    const admin = mesh.redeem(mesh.invite({ role: 'admin' }), 'admin');
    const invite = mesh.invite({ maxUses: 2 });
    const taken = ['first', 'second', 'third'].map((name) => mesh.redeem(invite, name));
    const [first, second, third] = taken as [TestMember, TestMember, TestMember];
    const uses = [
      mesh.use(admin),
      mesh.use(first, admin, madeMs + 2 * minuteMs),
      mesh.use(second, admin, madeMs + 3 * minuteMs),
    ];
    const trust = mesh.trust([...uses, mesh.use(third, first, madeMs + 4 * minuteMs)]);
    expect(verdict(mesh.trust(), third)).toBe('standing');
    const proofs = trust.proofsFor(third.certificate);
    expect(verdict(mesh.trust(proofs), third)).toBe('token_used_up');
    expect(verdict(mesh.trust(proofs), first)).toBe('standing');
  });

  it('proves no more than that: not who filled the invite of an admitter, and no more than fits a greeting', () => {
    const invite = mesh.invite({ maxUses: 1 });
    const [seated, late] = [mesh.redeem(invite, 'seated'), mesh.redeem(invite, 'left over')];
    const guest = mesh.redeem(mesh.invite(), 'guest of the left over');
    const lateUse = mesh.use(late, founder, madeMs + 3 * minuteMs);
    const guestUse = mesh.use(guest, late, madeMs + 4 * minuteMs);
    const trust = mesh.trust([mesh.use(seated), lateUse, guestUse]);
    expect(trust.proofsFor(guest.certificate)).toEqual([guestUse, lateUse]);
    const large = mesh.invite({ maxUses: 60 });
    const takers = Array.from({ length: 61 }, (_, index) => mesh.redeem(large, `of many ${index}`));
    const full = mesh.trust(
      takers.map((taker, index) => mesh.use(taker, founder, madeMs + (2 + index) * minuteMs)),
    );
    const proofs = full.proofsFor((takers[60] ?? guest).certificate);
    expect(proofs.length).toBeGreaterThan(10);
    expect(proofs.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThan(trustLimits.proofsBytes);
  });

  it('proves that a certificate is out, and that who said so may', () => {
    const admin = mesh.redeem(mesh.invite({ role: 'admin' }), 'admin');
    const trust = mesh.trust([
      mesh.use(a),
      mesh.use(admin),
      mesh.revocation(a, { by: admin }),
      mesh.revocation(b),
    ]);
    const proofs = trust.proofsFor(a.certificate);
    expect(proofs).toHaveLength(3);
    expect(verdict(mesh.trust(proofs), a)).toBe('certificate_revoked');
  });

  it('is forgotten when nothing can depend on it any more, and is not taken again', () => {
    const use = mesh.use(a);
    const revocation = mesh.revocation(b);
    const trust = mesh.trust([use, revocation]);
    const { version } = trust;
    trust.prune(madeMs + 200 * dayMs);
    expect(trust.items()).toHaveLength(2);
    expect(trust.version).toBe(version);
    trust.prune(madeMs + 300 * dayMs);
    expect(trust.items()).toEqual([revocation]);
    expect(trust.offer(use, madeMs + 300 * dayMs)).toBe('older');
    trust.prune(madeMs + 1_000 * dayMs);
    expect(trust.items()).toEqual([]);
    expect(trust.version).toBeGreaterThan(version);
  });

  it('that others stand on is what is remembered first', () => {
    const invite = mesh.invite({ maxUses: 1 });
    const [seat, late] = [mesh.redeem(invite, 'seat'), mesh.redeem(invite, 'late')];
    const useless = mesh.use(late, founder, madeMs + 3 * minuteMs);
    const useful = mesh.use(seat, founder, madeMs + 2 * minuteMs);
    const revocation = mesh.revocation(b);
    const trust = mesh.trust([useless, useful, revocation]);
    const room = revocation.bytes.length + useful.bytes.length;
    expect(trust.weightiest(room)).toEqual([revocation, useful]);
    expect(trust.weightiest(room + useless.bytes.length)).toEqual([revocation, useful, useless]);
  });

  it('of one invite is bounded, and strangers with its token cannot crowd its members out', () => {
    const invite = mesh.invite({ maxUses: 2 });
    const member = mesh.redeem(invite, 'member');
    const ring = Array.from({ length: 80 }, (_, index) =>
      mesh.redeem(invite, `eve ${index}`, { atMs: madeMs }),
    );
    const junk = ring.map((eve, index) => mesh.use(eve, ring[(index + 1) % ring.length]));
    const use = mesh.use(member, founder, madeMs + 9 * minuteMs);
    for (const order of [
      [use, ...junk],
      [...junk, use],
    ]) {
      const trust = mesh.trust(order);
      expect(trust.items()).toHaveLength(3 * 2 + trustLimits.spareUses);
      expect(verdict(trust, member, madeMs + 2 * dayMs)).toBe('standing');
    }
  });
});
