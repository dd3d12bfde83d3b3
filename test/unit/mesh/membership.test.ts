import { describe, expect, it } from 'vitest';
import { helloTo } from '../../../src/mesh/admission.ts';
import type { MembershipEvent } from '../../../src/mesh/membership-events.ts';
import { OwnRecord } from '../../../src/mesh/own-record.ts';
import { noFacts, type PeerRecord } from '../../../src/mesh/record.ts';
import { issueCertificate } from '../../../src/trust/certificate.ts';
import { KeyPair } from '../../../src/trust/keys.ts';
import { meshLimits } from '../../../src/util/limits/mesh.ts';
import { type TestMember, TestMembers } from '../../support/test-members.ts';

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** A record that `member`'s key signs now, in another process that remembers `lastEpoch`. */
function recordOf(
  mesh: TestMembers,
  member: Pick<TestMember, 'key' | 'certificate'>,
  lastEpoch: number,
): Uint8Array {
  const { key, certificate } = member;
  const { meshId, random } = mesh;
  const record = new OwnRecord({ identity: key, meshId, role: 'serve', facts: noFacts, lastEpoch, random });
  return record.announce(certificate, mesh.now(), 1).bytes;
}

function recordSeenBy(mesh: TestMembers, member: TestMember, of: TestMember): PeerRecord | undefined {
  const view = member.machine.view(mesh.now());
  return view.find(({ record }) => record.peerId === of.peer)?.record;
}

describe('joining', () => {
  it('a founder is a member by itself', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    expect(founder.notices).toContainEqual({ type: 'joined' });
    expect(mesh.seenBy(founder)).toEqual({ [founder.peer]: 'alive' });
  });

  it('a newcomer dials whom its invite names, is admitted, and both see both', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const newcomer = mesh.newcomer([founder]);
    expect(newcomer.notices).toContainEqual({ type: 'joined' });
    expect(newcomer.notices).toContainEqual({ type: 'up', peer: founder.peer });
    const both = { [founder.peer]: 'alive', [newcomer.peer]: 'alive' };
    expect(mesh.seenBy(newcomer)).toEqual(both);
    expect(mesh.seenBy(founder)).toEqual(both);
  });

  it('five members see the same and are linked to each other, also without broadcast', () => {
    const mesh = new TestMembers();
    mesh.broadcasts = false;
    const founder = mesh.founder();
    const others = [1, 2, 3, 4].map(() => mesh.newcomer([founder]));
    mesh.pass(minuteMs);
    const seen = mesh.seenBy(founder);
    expect(Object.values(seen)).toEqual(['alive', 'alive', 'alive', 'alive', 'alive']);
    for (const member of others) {
      expect(mesh.seenBy(member)).toEqual(seen);
      expect(others.every((other) => other === member || mesh.isLinked(other, member))).toBe(true);
    }
  });

  it.each([1, 2, 3, 4, 5])('%i messages lost with one of two links are said again', (losses) => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    mesh.losses = losses;
    const newcomer = mesh.newcomer([founder]);
    mesh.pass(3_000);
    expect(newcomer.notices).toContainEqual({ type: 'joined' });
    expect(mesh.seenBy(newcomer)).toEqual(mesh.seenBy(founder));
  });

  it('who comes is told of to some of many neighbours, and to no client', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const client = mesh.newcomer([founder], { role: 'client' });
    const members = Array.from({ length: 12 }, () => mesh.newcomer([founder]));
    mesh.pass(minuteMs);
    const key = KeyPair.fromSeed(mesh.random.bytes(32));
    const issue = { issuer: mesh.issuer, peerKey: key.publicKey, role: 'serve', nowMs: mesh.wallMs } as const;
    const record = recordOf(mesh, { key, certificate: issueCertificate(issue) }, 0);
    const source = members[0]?.peer ?? '';
    const effects = founder.machine.step({ type: 'heard', peer: source, envelope: record }, mesh.now());
    const told = effects.flatMap((effect) =>
      effect.type === 'send' && effect.message.type === 'items' ? [effect.peer] : [],
    );
    expect(new Set(told).size).toBe(meshLimits.passOn);
    expect(told).not.toContain(client.peer);
    expect(told).not.toContain(source);
  });

  it('a client is seen and sees, and is asked for nothing', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const client = mesh.newcomer([founder], { role: 'client' });
    const third = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    expect(mesh.seenBy(client)).toEqual(mesh.seenBy(third));
    expect(founder.machine.roleOf(client.peer)).toBe('client');
  });

  it('a strict invite lets in at the inviter only', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const other = mesh.newcomer([founder]);
    const turnedAway = mesh.newcomer([other], { invite: { strict: true } });
    expect(turnedAway.notices).toContainEqual(
      expect.objectContaining({ type: 'refused', code: 'role_forbidden' }),
    );
    const welcome = mesh.newcomer([founder], { invite: { strict: true } });
    mesh.pass(minuteMs);
    expect(welcome.notices).toContainEqual({ type: 'joined' });
    expect(mesh.seenBy(other)[welcome.peer]).toBe('alive');
    expect(mesh.seenBy(other)[turnedAway.peer]).toBeUndefined();
  });
});

describe('an invite that is used up while the mesh is apart', () => {
  it('is no way in for who came later, though nobody is left but one that turns it away', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const admin = mesh.newcomer([founder], { role: 'admin' });
    const token = mesh.token([founder, admin], { invite: { maxUses: 1 } });
    const [first, second] = [1, 2].map(() => KeyPair.fromSeed(mesh.random.bytes(32))) as [KeyPair, KeyPair];
    mesh.crash(admin);
    const seated = mesh.redeemer(token, first, [founder]);
    expect(mesh.seenBy(founder)[seated.peer]).toBe('alive');
    mesh.crash(seated);
    mesh.crash(founder);
    const there = mesh.restart(admin, admin.machine.memory());
    mesh.pass(1_000);
    const late = mesh.redeemer(token, second, [there]);
    expect(mesh.seenBy(there)[late.peer]).toBe('alive');
    mesh.crash(there);
    mesh.link(mesh.restart(founder, founder.machine.memory(), true), late);
    expect(late.notices).toContainEqual(expect.objectContaining({ type: 'expelled', code: 'token_used_up' }));
    expect(late.machine.isMember).toBe(false);
  });
});

describe('a refusal', () => {
  it('teaches nothing if it comes from who has not been let in', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    const stranger = KeyPair.fromSeed(mesh.random.bytes(32)).peerId;
    const members = [founder.certificate];
    const [proof] = founder.trust.revoke({ peerKey: a.key.publicKey }, mesh.issuer, members, mesh.wallMs);
    const refusal = { type: 'refused', code: 'certificate_revoked', message: '' } as const;
    const proofs = proof === undefined ? [] : [proof.bytes];
    const refusedBy = (peer: string): void => {
      a.machine.step({ type: 'message', peer, message: { ...refusal, proofs } }, mesh.now());
    };
    a.machine.step({ type: 'linked', peer: stranger }, mesh.now());
    refusedBy(stranger);
    expect(a.machine.isMember).toBe(true);
    refusedBy(founder.peer);
    expect(a.machine.isMember).toBe(false);
  });
});

describe('coming back', () => {
  it('a member that restarts needs nobody to invite it again', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const b = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    mesh.crash(founder);
    const memory = a.machine.memory();
    const again = mesh.restart(a, memory);
    expect(mesh.isLinked(again, b)).toBe(true);
    expect(mesh.seenBy(b)[again.peer]).toBe('alive');
    expect(recordSeenBy(mesh, b, a)?.epoch).toBe(memory.epoch + 1);
  });

  it('a new process whose old link still stands is answered at once, whatever was lost with that', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    const hello = helloTo(a.trust, a.certificate, false, mesh.now());
    const told = (event: MembershipEvent): string[] =>
      founder.machine
        .step(event, mesh.now())
        .flatMap((effect) => (effect.type === 'send' ? [effect.message.type] : []));
    expect(told({ type: 'lost', peer: a.peer })).toEqual(['digest']);
    expect(told({ type: 'message', peer: a.peer, message: hello })).toEqual(['hello', 'admitted', 'digest']);
    expect(told({ type: 'lost', peer: a.peer })).toEqual([]);
    expect(told({ type: 'message', peer: a.peer, message: hello })).toEqual([]);
  });

  it('a new process that has joined by another invite has the role of that, though its old link still stands', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder], { role: 'client' });
    mesh.pass(minuteMs);
    expect(founder.machine.roleOf(a.peer)).toBe('client');
    const issue = { issuer: mesh.issuer, peerKey: a.key.publicKey, role: 'serve' } as const;
    const certificate = issueCertificate({ ...issue, nowMs: mesh.wallMs - dayMs });
    const hello = helloTo(a.trust, certificate, false, mesh.now());
    const effects = founder.machine.step({ type: 'message', peer: a.peer, message: hello }, mesh.now());
    expect(effects.flatMap((effect) => (effect.type === 'send' ? [effect.message.type] : []))).toEqual([
      'hello',
      'admitted',
    ]);
    expect(effects).toContainEqual({ type: 'notice', notice: { type: 'down', peer: a.peer } });
    expect(founder.machine.roleOf(a.peer)).toBe('serve');
    // Again at once: what it costs to look at certificates is not the peer's to choose.
    const old = helloTo(a.trust, a.certificate, false, mesh.now());
    founder.machine.step({ type: 'message', peer: a.peer, message: old }, mesh.now());
    expect(founder.machine.roleOf(a.peer)).toBe('serve');
    // Nor is it held to what its record of before shows, though that lasts longer and somebody's standing changes.
    const other = issueCertificate({ ...issue, peerKey: founder.key.publicKey, nowMs: mesh.wallMs });
    const members = [founder.certificate, other];
    const stranger = KeyPair.fromSeed(mesh.random.bytes(32)).publicKey;
    const revoked = founder.trust.revoke({ peerKey: stranger }, mesh.issuer, members, mesh.wallMs);
    const envelopes = revoked.map(({ bytes }) => bytes);
    founder.machine.step({ type: 'publish', envelopes }, mesh.now());
    expect(founder.machine.roleOf(a.peer)).toBe('serve');
  });

  it('a member that lost its memory learns its epoch from the others and goes on', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    const reborn = mesh.restart(mesh.restart(a, a.machine.memory()), undefined);
    mesh.link(reborn, founder);
    mesh.pass(1000);
    expect(recordSeenBy(mesh, founder, a)?.epoch).toBe(3);
    expect(reborn.notices).not.toContainEqual({ type: 'key-conflict' });
  });

  it('of two live processes with one key the one that sees a newer epoch of itself stops', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    // One higher epoch may be an earlier life's: `a` goes above it. Only what answers that is alive.
    mesh.tell(founder, { type: 'heard', peer: a.peer, envelope: recordOf(mesh, a, 1) });
    mesh.pass(minuteMs);
    expect(recordSeenBy(mesh, founder, a)?.epoch).toBe(3);
    expect(a.notices).not.toContainEqual({ type: 'key-conflict' });
    mesh.tell(founder, { type: 'heard', peer: a.peer, envelope: recordOf(mesh, a, 3) });
    mesh.pass(minuteMs);
    expect(a.notices).toContainEqual({ type: 'key-conflict' });
  });

  it('a record of an earlier life is outlived, not mistaken for another process', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const earlier = recordOf(mesh, a, 8);
    mesh.pass(1000);
    const reborn = mesh.restart(a, a.machine.memory());
    mesh.tell(founder, { type: 'heard', peer: a.peer, envelope: earlier });
    mesh.pass(minuteMs);
    expect(reborn.notices).not.toContainEqual({ type: 'key-conflict' });
    expect(recordSeenBy(mesh, founder, a)?.epoch).toBe(10);
  });

  it('whoever was out of reach for long is still known and dialled', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    const memories = { founder: founder.machine.memory(), a: a.machine.memory() };
    mesh.crash(founder);
    mesh.crash(a);
    const alone = mesh.restart(a, memories.a);
    mesh.pass(30 * minuteMs);
    const again = mesh.restart(alone, alone.machine.memory());
    const back = mesh.restart(founder, memories.founder, true);
    mesh.pass(2 * minuteMs);
    expect(mesh.isLinked(again, back)).toBe(true);
  });
});

describe('a bad day', () => {
  it.each([6, 20, 300])('a cut of %i minutes heals by itself', (minutes) => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    mesh.cut(founder, a);
    mesh.pass(minutes * minuteMs);
    expect(mesh.isLinked(founder, a)).toBe(false);
    mesh.heal(founder, a);
    mesh.pass(2 * minuteMs);
    expect(mesh.seenBy(founder)).toEqual({ [founder.peer]: 'alive', [a.peer]: 'alive' });
    expect(mesh.seenBy(a)).toEqual(mesh.seenBy(founder));
  });

  it('a start with a clock that is far behind costs nothing once the clock is right', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const b = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    const members = founder.machine.view(mesh.now()).map(({ certificate }) => certificate);
    const revoked = founder.trust.revoke({ peerKey: b.key.publicKey }, mesh.issuer, members, mesh.wallMs);
    mesh.tell(founder, { type: 'publish', envelopes: revoked.map(({ bytes }) => bytes) });
    mesh.pass(minuteMs);
    const yearMs = 365 * 24 * 60 * minuteMs;
    mesh.wallMs -= yearMs;
    const behind = mesh.restart(a, a.machine.memory());
    mesh.pass(minuteMs);
    expect(behind.machine.memory().proofs.length).toBeGreaterThan(revoked.length);
    mesh.wallMs += yearMs;
    mesh.pass(2 * minuteMs);
    expect(behind.machine.isMember).toBe(true);
    expect(mesh.seenBy(founder)[a.peer]).toBe('alive');
    expect(mesh.seenBy(behind)[b.peer]).toBeUndefined();
  });

  it('a node with news every moment whose clock is set back is heard less for a while, and stays a member', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    for (let change = 0; change < 600; change++) {
      mesh.tell(a, { type: 'facts', facts: { ...noFacts, name: `news-${change}` } });
      mesh.pass(300);
      mesh.wallMs -= change === 300 ? 30_000 : 0;
    }
    expect(a.notices).not.toContainEqual(expect.objectContaining({ type: 'expelled' }));
    expect(a.machine.isMember).toBe(true);
    mesh.pass(minuteMs);
    expect(recordSeenBy(mesh, founder, a)?.name).toBe('news-599');
  });

  it('a clock that jumps ahead and back puts a node out and in again', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    mesh.pass(minuteMs);
    mesh.wallMs += 100 * 24 * 60 * minuteMs;
    mesh.pass(10_000);
    // The founder holds the mesh key: it makes itself a new certificate. A member without it is out.
    const a = mesh.newcomer([founder]);
    mesh.crash(founder);
    mesh.wallMs += 100 * 24 * 60 * minuteMs;
    mesh.pass(10_000);
    expect(a.machine.isMember).toBe(false);
    mesh.wallMs -= 100 * 24 * 60 * minuteMs;
    mesh.pass(10_000);
    expect(a.machine.isMember).toBe(true);
    expect(a.notices.filter(({ type }) => type === 'joined')).toHaveLength(2);
  });
});

describe('renewing', () => {
  it('the holder of the mesh key renews every certificate in time, its own included', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const before = { founder: founder.machine.certificate.expiresMs, a: a.machine.certificate.expiresMs };
    mesh.wallMs += 31 * dayMs;
    mesh.pass(minuteMs);
    expect(founder.machine.certificate.expiresMs).toBeGreaterThan(before.founder);
    expect(a.machine.certificate.expiresMs).toBeGreaterThan(before.a);
    mesh.wallMs += 70 * dayMs;
    mesh.pass(2 * minuteMs);
    expect(mesh.seenBy(founder)[a.peer]).toBe('alive');
    expect(a.notices).not.toContainEqual(expect.objectContaining({ type: 'expelled' }));
  });

  it('an admin whom an admin made is renewed, and no more than that afterwards', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const admin = mesh.newcomer([founder], { role: 'admin' });
    const issuer = { meshId: mesh.meshId, key: admin.key, certificate: admin.certificate };
    const below = mesh.newcomer([founder], { role: 'admin' }, issuer);
    const { expiresMs } = below.machine.certificate;
    mesh.wallMs += 31 * dayMs;
    mesh.pass(2 * minuteMs);
    expect(admin.machine.certificate).toMatchObject({ role: 'admin', depth: 1 });
    expect(below.machine.certificate).toMatchObject({ role: 'admin', depth: 2 });
    expect(below.machine.certificate.expiresMs).toBeGreaterThan(expiresMs);
    expect(mesh.seenBy(founder)[below.peer]).toBe('alive');
  });

  it('an admin renews by the certificate that it has itself been renewed to', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const admin = mesh.newcomer([founder], { role: 'admin' });
    const a = mesh.newcomer([founder]);
    mesh.wallMs += 31 * dayMs;
    mesh.pass(minuteMs);
    mesh.crash(founder);
    mesh.wallMs += 61 * dayMs;
    mesh.pass(2 * minuteMs);
    expect(a.machine.certificate.expiresMs).toBeGreaterThan(mesh.wallMs + 20 * dayMs);
    expect(mesh.seenBy(admin)[a.peer]).toBe('alive');
  });

  it.each([
    ['', false],
    [', after a restart too', true],
  ])(
    'who was renewed by an admin that is revoked then is a member by what it had before%s',
    (_, restarts) => {
      const mesh = new TestMembers();
      const founder = mesh.founder();
      const admin = mesh.newcomer([founder], { role: 'admin' });
      const a = mesh.newcomer([founder]);
      mesh.pass(minuteMs);
      mesh.cut(founder, a);
      mesh.wallMs += 31 * dayMs;
      mesh.pass(minuteMs);
      expect(a.machine.certificate.issuer?.peerId).toBe(admin.peer);
      const present = restarts ? mesh.restart(a, a.machine.memory()) : a;
      mesh.heal(founder, a);
      mesh.pass(minuteMs);
      const members = founder.machine.view(mesh.now()).map(({ certificate }) => certificate);
      const envelopes = founder.trust.revoke(
        { peerKey: admin.key.publicKey },
        mesh.issuer,
        members,
        mesh.wallMs,
      );
      mesh.tell(founder, { type: 'publish', envelopes: envelopes.map(({ bytes }) => bytes) });
      mesh.pass(minuteMs);
      expect(mesh.seenBy(founder)).toEqual({ [founder.peer]: 'alive', [a.peer]: 'alive' });
      expect(mesh.seenBy(present)).toEqual(mesh.seenBy(founder));
      expect(mesh.isLinked(founder, present)).toBe(true);
      expect(present.notices).not.toContainEqual(expect.objectContaining({ type: 'expelled' }));
      mesh.pass(minuteMs);
      expect(present.machine.certificate.issuer).toBeUndefined();
    },
  );

  it('whose certificate nobody renews is out when it ends', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const b = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    mesh.crash(founder);
    mesh.wallMs += 91 * dayMs;
    mesh.pass(minuteMs);
    expect(a.notices).toContainEqual(
      expect.objectContaining({ type: 'expelled', code: 'certificate_expired' }),
    );
    expect(mesh.isLinked(a, b)).toBe(false);
  });
});

describe('leaving and being lost', () => {
  it('who leaves is seen to have left, and does not come back with an old record', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const b = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    mesh.tell(a, { type: 'leave' });
    mesh.crash(a);
    expect(mesh.seenBy(founder)[a.peer]).toBe('left');
    expect(mesh.seenBy(b)[a.peer]).toBe('left');
    mesh.pass(meshLimits.recordLifeMs + meshLimits.clockToleranceMs + minuteMs);
    expect(mesh.seenBy(founder)[a.peer]).toBeUndefined();
  });

  it('who cannot be reached again is held dead by all, and alive as soon as it is back', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const b = mesh.newcomer([founder]);
    const c = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    const memory = a.machine.memory();
    mesh.crash(a);
    mesh.pass(10_000);
    for (const member of [founder, b, c]) {
      expect(mesh.seenBy(member)[a.peer]).toBe('dead');
    }
    mesh.restart(a, memory);
    mesh.pass(1000);
    for (const member of [founder, b, c]) {
      expect(mesh.seenBy(member)[a.peer]).toBe('alive');
    }
  });
});

describe('revoking', () => {
  it('puts a member out everywhere at once', () => {
    const mesh = new TestMembers();
    const founder = mesh.founder();
    const a = mesh.newcomer([founder]);
    const b = mesh.newcomer([founder]);
    mesh.pass(minuteMs);
    const members = founder.machine.view(mesh.now()).map(({ certificate }) => certificate);
    const envelopes = founder.trust.revoke({ peerKey: a.key.publicKey }, mesh.issuer, members, mesh.wallMs);
    mesh.tell(founder, { type: 'publish', envelopes: envelopes.map(({ bytes }) => bytes) });
    for (const member of [founder, b]) {
      expect(mesh.seenBy(member)[a.peer]).toBeUndefined();
      expect(mesh.isLinked(member, a)).toBe(false);
    }
    expect(a.notices).toContainEqual(
      expect.objectContaining({ type: 'expelled', code: 'certificate_revoked' }),
    );
    mesh.pass(10 * minuteMs);
    expect(mesh.seenBy(b)[a.peer]).toBeUndefined();
  });
});
