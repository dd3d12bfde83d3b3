import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Certificate } from '../../../src/trust/certificate.ts';
import type { Envelope } from '../../../src/trust/envelope.ts';
import type { MeshTrust } from '../../../src/trust/mesh-trust.ts';
import { dayMs, madeMs, minuteMs, type TestMember, TestMesh, verdict } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const mesh = new TestMesh();
const { founder } = mesh;
/** Another member, no admin, that joined by a token. */
const server = mesh.redeem(mesh.invite(), 'server', { atMs: madeMs });
const serverUse = mesh.use(server);
const hourMs = 60 * minuteMs;
/** The invite of ten uses is long over. */
const laterMs = madeMs + 20 * dayMs;
const invite = mesh.invite({ maxUses: 10 });

/** The first to join, which keeps the token; seen by the founder. */
const eve = mesh.redeem(invite, 'eve', { atMs: madeMs + hourMs });
const eveUse = mesh.use(eve);
const honest = Array.from({ length: 9 }, (_, index) =>
  mesh.redeem(invite, `honest ${index}`, { atMs: madeMs + (2 + index) * hourMs }),
);
const puppets = Array.from({ length: 120 }, (_, index) =>
  mesh.redeem(invite, `puppet ${index}`, { atMs: madeMs + hourMs }),
);
/** Signed by Eve, just after she was seen, long before anybody else joined. */
const backdated = (count: number): Envelope[] =>
  puppets.slice(0, count).map((puppet, index) => mesh.use(puppet, eve, madeMs + hourMs + 1 + index));
const seenBy = (admitter: TestMember): Envelope[] => honest.map((member) => mesh.use(member, admitter));

const standing = (trust: MeshTrust, members: readonly TestMember[]): number =>
  members.filter((member) => verdict(trust, member, laterMs) === 'standing').length;
const certificates = (...members: readonly TestMember[]): Certificate[] =>
  members.map(({ certificate }) => certificate);

describe('a member that keeps the token it joined by and signs uses back-dated before all others', () => {
  it.each([9, 80, 120])('puts nobody out whom an admin saw: %i of its own peers', (count) => {
    const uses = [eveUse, ...seenBy(founder)];
    for (const order of [
      [...uses, ...backdated(count)],
      [...backdated(count), ...uses],
      [...uses, ...backdated(count)].toReversed(),
    ]) {
      const trust = mesh.trust(order, laterMs);
      expect(standing(trust, honest)).toBe(9);
      expect(standing(trust, puppets)).toBe(0);
      trust.revoke({ peerKey: eve.key.publicKey }, mesh.issuer, certificates(eve, ...honest), laterMs);
      expect(standing(trust, honest)).toBe(9);
    }
  });

  it('may be renewed, or have joined by another invite, to no more avail', () => {
    const other = mesh.redeem(mesh.invite(), 'mallory', { atMs: madeMs });
    const renewed = mesh.issue('mallory', 'serve', { by: founder, atMs: madeMs });
    for (const mallory of [other, renewed]) {
      const early = puppets.map((puppet) => mesh.use(puppet, mallory, madeMs + hourMs));
      const trust = mesh.trust([mesh.use(other), eveUse, ...seenBy(founder), ...early], laterMs);
      expect(standing(trust, [eve, ...honest])).toBe(10);
    }
  });

  it('displaces those whom only members like itself saw, until it is revoked', () => {
    const trust = mesh.trust([serverUse, eveUse, ...seenBy(server), ...backdated(9)], laterMs);
    expect(standing(trust, honest)).toBeLessThan(9);
    trust.revoke(
      { peerKey: eve.key.publicKey },
      mesh.issuerOf(founder),
      certificates(eve, ...honest),
      laterMs,
    );
    expect(standing(trust, honest)).toBe(9);
    expect(standing(trust, puppets)).toBe(0);
  });

  it('displaces nobody any more whom an admin met while the invite lasted', () => {
    const trust = mesh.trust([serverUse, eveUse, ...seenBy(server)]);
    for (const { certificate } of honest) {
      expect(trust.witness(certificate, founder, madeMs + 12 * hourMs)?.kind).toBe('use');
    }
    for (const use of backdated(120)) {
      trust.offer(use, laterMs);
    }
    expect(standing(trust, honest)).toBe(9);
  });

  it('has no seat made firm for a peer that had none when it is revoked', () => {
    const trust = mesh.trust([eveUse, ...seenBy(founder), ...backdated(9)], laterMs);
    const members = certificates(eve, ...honest, ...puppets);
    const signed = trust.revoke({ peerKey: eve.key.publicKey }, mesh.issuer, members, laterMs);
    expect(signed.map(({ kind }) => kind)).toEqual(['revocation']);
    expect([standing(trust, honest), standing(trust, puppets)]).toEqual([9, 0]);
  });

  it('fills the seats that are free, and no more', () => {
    const trust = mesh.trust([eveUse, ...seenBy(founder).slice(0, 4), ...backdated(9)], laterMs);
    expect([standing(trust, honest.slice(0, 4)), standing(trust, puppets)]).toEqual([4, 5]);
  });

  it('cannot date a use after the end of the invite', () => {
    const late = puppets
      .slice(0, 1)
      .map((puppet) => mesh.use(puppet, eve, invite.expiresMs + 5 * minuteMs + 1));
    expect(thrownBy(() => mesh.trust([eveUse, ...late], laterMs)).code).toBe('envelope_invalid');
  });

  it('moves nobody whom an admin saw, whatever it and its peers sign, in whatever order that comes', () => {
    const ring = [eve, ...puppets.slice(0, 20)];
    const signed = fc
      .tuple(fc.nat(19), fc.nat(20), fc.nat(20 * 60))
      .map(([whom, by, minutes]) =>
        mesh.use(
          puppets[whom] ?? eve,
          by === whom + 1 ? eve : (ring[by] ?? eve),
          madeMs + hourMs + minutes * minuteMs,
        ),
      );
    const all = fc.array(signed, { maxLength: 100 }).chain((forged) => {
      const uses = [eveUse, ...seenBy(founder), ...forged];
      return fc.shuffledSubarray(uses, { minLength: uses.length });
    });
    fc.assert(
      fc.property(all, (uses) => {
        expect(standing(mesh.trust(uses, laterMs), [eve, ...honest])).toBe(10);
      }),
      { numRuns: 30 },
    );
  });
});
