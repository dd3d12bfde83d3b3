import { describe, expect, it } from 'vitest';
import { dayMs, madeMs, minuteMs, type TestMember, TestMesh, verdict } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const mesh = new TestMesh();
const { founder } = mesh;
const nowMs = madeMs + dayMs;

describe('an invite', () => {
  it('lets a newcomer stand until it expires, and afterwards only if a member saw the newcomer', () => {
    const invite = mesh.invite();
    const newcomer = mesh.redeem(invite, 'newcomer');
    const lastMs = invite.expiresMs + 5 * minuteMs;
    const trust = mesh.trust();
    expect(verdict(trust, newcomer, lastMs)).toBe('standing');
    expect(verdict(trust, newcomer, lastMs + 1)).toBe('token_expired');
    expect(trust.offer(mesh.use(newcomer), nowMs)).toBe('new');
    expect(verdict(trust, newcomer, lastMs + 1)).toBe('standing');
  });

  it('that two peers overspent settles alike everywhere: the first seen stands', () => {
    const invite = mesh.invite();
    const admin = mesh.issue('admin', 'admin');
    const [early, late] = ['early', 'late'].map((name) => mesh.redeem(invite, name)) as [
      TestMember,
      TestMember,
    ];
    const uses = [
      mesh.use(late, founder, madeMs + 3 * minuteMs),
      mesh.use(early, admin, madeMs + 2 * minuteMs),
    ];
    for (const order of [uses, uses.toReversed()]) {
      const trust = mesh.trust(order);
      expect(verdict(trust, early)).toBe('standing');
      expect(verdict(trust, late)).toBe('token_used_up');
    }
  });

  it('seen for several at the same moment settles by their names', () => {
    const invite = mesh.invite({ maxUses: 2 });
    const members = ['a', 'b', 'c', 'd'].map((name) => mesh.redeem(invite, name));
    const trust = mesh.trust(members.map((member) => mesh.use(member)));
    const standing = members.filter((member) => verdict(trust, member) === 'standing');
    const first = members
      .map((member) => member.key.peerId)
      .sort()
      .slice(0, 2);
    expect(standing.map((member) => member.key.peerId).sort()).toEqual(first);
  });

  it('seen along a chain of newcomers, all at the same moment, settles by who saw them, then by their names', () => {
    const invite = mesh.invite({ maxUses: 4 });
    const chain = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => mesh.redeem(invite, name));
    const uses = chain.map((member, index) => mesh.use(member, chain[index - 1] ?? founder));
    const [first = '', ...others] = chain.map((member) => member.key.peerId);
    const expected = [first, ...others.sort().slice(0, 3)].sort();
    for (const order of [uses, uses.toReversed()]) {
      const trust = mesh.trust(order);
      const standing = chain.filter((member) => verdict(trust, member) === 'standing');
      expect(standing.map((member) => member.key.peerId).sort()).toEqual(expected);
    }
  });

  it('takes nobody more once its uses are known to be spent', () => {
    const invite = mesh.invite();
    const trust = mesh.trust([mesh.use(mesh.redeem(invite, 'first'))]);
    expect(verdict(trust, mesh.redeem(invite, 'second'), madeMs + 2 * minuteMs)).toBe('token_used_up');
  });

  it('is used once by a peer that redeems it again', () => {
    const invite = mesh.invite({ maxUses: 2 });
    const again = mesh.redeem(invite, 'first', { role: 'client', atMs: madeMs + 5 * minuteMs });
    const trust = mesh.trust([
      mesh.use(mesh.redeem(invite, 'first')),
      mesh.use(mesh.redeem(invite, 'second')),
    ]);
    expect(verdict(trust, again)).toBe('standing');
  });

  it('stays spent when the peer that used it is revoked', () => {
    const invite = mesh.invite();
    const first = mesh.redeem(invite, 'first');
    const second = mesh.redeem(invite, 'second');
    const uses = [mesh.use(first), mesh.use(second, founder, madeMs + 9 * minuteMs)];
    const trust = mesh.trust([...uses, mesh.revocation(first, { atMs: madeMs + 10 * minuteMs })]);
    expect(verdict(trust, first)).toBe('certificate_revoked');
    expect(verdict(trust, second)).toBe('token_used_up');
  });

  it('that leaked and expired lets two keys made from it vouch for each other in vain', () => {
    const invite = mesh.invite({ role: 'admin', maxUses: 10 });
    const ring = ['eve', 'mallory', 'trudy'].map((name) => mesh.redeem(invite, name)) as [
      TestMember,
      TestMember,
      TestMember,
    ];
    const [eve, mallory, trudy] = ring;
    const later = invite.expiresMs + dayMs;
    const uses = [mesh.use(eve, mallory), mesh.use(mallory, eve), mesh.use(trudy, eve), mesh.use(eve, trudy)];
    const trust = mesh.trust(uses, later);
    // Nor does what they issue, witness or revoke count.
    const puppet = mesh.issue('puppet', 'serve', { by: eve, atMs: later });
    const server = mesh.issue('server', 'serve');
    trust.offer(mesh.revocation(server, { by: eve, atMs: later }), later);
    trust.offer(mesh.use(mallory, mesh.issue('puppet', 'admin', { by: eve })), later);
    for (const member of [...ring, puppet]) {
      expect(verdict(trust, member, later)).toBe('token_expired');
    }
    expect(verdict(trust, server, later)).toBe('standing');
  });

  it('that leaked and expired is not revived by a member who joined later', () => {
    const leaked = mesh.invite({ role: 'admin', ttlMs: dayMs });
    const fresh = mesh.invite({ atMs: madeMs + 2 * dayMs });
    const member = mesh.redeem(fresh, 'member', { atMs: madeMs + 2 * dayMs });
    const later = madeMs + 3 * dayMs;
    // A clock that is a little behind, or said to be, dates the acceptance before the invite was made.
    const trust = mesh.trust([mesh.use(member)], later);
    const eve = mesh.redeem(leaked, 'eve');
    expect(thrownBy(() => trust.offer(mesh.use(eve, member, leaked.expiresMs), later)).code).toBe(
      'envelope_invalid',
    );
    expect(verdict(trust, eve, later)).toBe('token_expired');
  });

  it('admits through a newcomer only from the time that this one was seen itself', () => {
    const invite = mesh.invite({ maxUses: 2 });
    const honest = mesh.redeem(invite, 'honest');
    const eve = mesh.redeem(invite, 'eve');
    const puppet = mesh.redeem(invite, 'puppet');
    const seen = [
      mesh.use(honest, founder, madeMs + 10 * minuteMs),
      mesh.use(eve, founder, madeMs + 20 * minuteMs),
    ];
    const trust = mesh.trust([...seen, mesh.use(puppet, eve, madeMs + 5 * minuteMs)]);
    expect([honest, eve, puppet].map((member) => verdict(trust, member))).toEqual([
      'standing',
      'standing',
      'token_used_up',
    ]);
  });

  it('seen by a newcomer counts as soon as it is known who saw that one', () => {
    const [first, second] = ['first', 'second'].map((name) => mesh.redeem(mesh.invite(), name)) as [
      TestMember,
      TestMember,
    ];
    const trust = mesh.trust([mesh.use(second, first, madeMs + 5 * minuteMs)]);
    const later = madeMs + 2 * dayMs;
    expect(verdict(trust, second, later)).toBe('token_expired');
    trust.offer(mesh.use(first), later);
    expect(verdict(trust, second, later)).toBe('standing');
  });

  it('that is strict admits at the inviter alone', () => {
    const admin = mesh.issue('admin', 'admin');
    const newcomer = mesh.redeem(mesh.invite({ by: admin, strict: true }), 'newcomer');
    const trust = mesh.trust();
    const early = madeMs + 2 * minuteMs;
    expect(verdict(trust, newcomer, early)).toBe('role_forbidden');
    expect(trust.witness(newcomer.certificate, founder, early)).toBeUndefined();
    expect(thrownBy(() => trust.offer(mesh.use(newcomer, founder), nowMs)).code).toBe('envelope_invalid');
    expect(trust.witness(newcomer.certificate, admin, early)).toBeDefined();
    expect(verdict(trust, newcomer)).toBe('standing');
  });

  it('that is strict and of the mesh key admits at those whom the mesh key issued', () => {
    const newcomer = mesh.redeem(mesh.invite({ strict: true }), 'newcomer');
    const issued = mesh.issue('server', 'serve', { by: founder });
    const trust = mesh.trust();
    expect(thrownBy(() => trust.offer(mesh.use(newcomer, issued), nowMs)).code).toBe('envelope_invalid');
    trust.offer(mesh.use(newcomer), nowMs);
    expect(verdict(trust, newcomer, madeMs + 2 * dayMs)).toBe('standing');
  });

  it('has no use that is dated ahead of the clock', () => {
    const use = mesh.use(mesh.redeem(mesh.invite(), 'newcomer'), founder, madeMs + 10 * minuteMs);
    expect(thrownBy(() => mesh.trust().offer(use, madeMs + 4 * minuteMs)).code).toBe('clock_skewed');
    expect(mesh.trust().offer(use, madeMs + 5 * minuteMs)).toBe('new');
  });

  it('revoked keeps those who were seen by then, and no others', () => {
    const invite = mesh.invite({ maxUses: 9 });
    const revokedMs = madeMs + 10 * minuteMs;
    const [seen, late, unseen] = ['seen', 'late', 'unseen'].map((name) => mesh.redeem(invite, name)) as [
      TestMember,
      TestMember,
      TestMember,
    ];
    const uses = [mesh.use(seen, founder, revokedMs), mesh.use(late, founder, revokedMs + 1)];
    const trust = mesh.trust([...uses, mesh.revocation(invite, { atMs: revokedMs })]);
    expect([seen, late, unseen].map((member) => verdict(trust, member))).toEqual([
      'standing',
      'certificate_revoked',
      'certificate_revoked',
    ]);
  });
});
