import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chainOf } from '../../../src/trust/certificate.ts';
import { type Envelope, readEnvelope, seal } from '../../../src/trust/envelope.ts';
import { keyText } from '../../../src/trust/keys.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { Revocation, Use } from '../../../src/wire/trust-messages.ts';
import { dayMs, keyNamed, madeMs, type TestMember, TestMesh } from '../../support/test-mesh.ts';
import { offerAll, RandomMesh, randomDays, steps } from '../../support/trust-arbitraries.ts';

const mesh = new TestMesh();
const world = () => steps().map((script) => new RandomMesh(mesh, script));
/** Enough to find what is wrong often; each makes and signs a whole mesh. */
const runs = Number(process.env['MESHNODE_TEST_RUNS'] ?? 30);
const lastMs = madeMs + randomDays * dayMs;

/** A world with its proofs in another order, some of them twice. */
const reordered = () =>
  world().chain((made) =>
    fc.tuple(
      fc.constant(made),
      fc.shuffledSubarray(made.proofs, { minLength: made.proofs.length }),
      fc.subarray(made.proofs),
    ),
  );

describe('judgement in random meshes', () => {
  it('does not depend on the order of what is offered, nor on repetition', () => {
    fc.assert(
      fc.property(reordered(), ([made, shuffled, again]) => {
        const expected = made.verdicts(made.trustOf(made.proofs));
        expect(made.verdicts(made.trustOf([...shuffled, ...again]))).toEqual(expected);
      }),
      { numRuns: runs },
    );
  });

  it('does not depend on how it is grouped: nodes that exchange all they hold agree', () => {
    fc.assert(
      fc.property(reordered(), ([made, shuffled, some]) => {
        const expected = made.verdicts(made.trustOf(made.proofs));
        const [left, right] = [
          made.trustOf(some),
          made.trustOf(shuffled.filter((proof) => !some.includes(proof))),
        ];
        const items = left.items();
        offerAll(left, right.items(), lastMs);
        offerAll(right, items, lastMs);
        expect(made.verdicts(left)).toEqual(expected);
        expect(made.verdicts(right)).toEqual(expected);
      }),
      { numRuns: runs },
    );
  });

  it('of who stands can be proved to a node that holds nothing', () => {
    fc.assert(
      fc.property(world(), (made) => {
        const trust = made.trustOf(made.proofs);
        const judged = (of: typeof trust, { certificate }: TestMember) =>
          of.judge(certificate, lastMs).standing;
        for (const member of made.members.filter((candidate) => judged(trust, candidate))) {
          const told = made.trustOf(trust.proofsFor(member.certificate));
          expect(judged(told, member)).toBe(true);
        }
      }),
      { numRuns: runs },
    );
  });

  it('never lets an invite that has expired keep more peers than it has uses', () => {
    fc.assert(
      fc.property(world(), (made) => {
        const trust = made.trustOf(made.proofs);
        const standing = made.members.filter(
          ({ certificate }) => trust.judge(certificate, madeMs + 20 * dayMs).standing,
        );
        for (const invite of made.invites) {
          const by = standing.filter(({ certificate }) => certificate.invite?.key === invite.inviteKey);
          expect(new Set(by.map((member) => member.name)).size).toBeLessThanOrEqual(invite.maxUses);
        }
      }),
      { numRuns: runs },
    );
  });

  it('lets nobody whom the mesh key revoked stand, nor anybody under it', () => {
    fc.assert(
      fc.property(world(), fc.nat(), (made, index) => {
        const target = made.members[index % made.members.length] ?? mesh.founder;
        const revocation = mesh.revocation(target, { atMs: lastMs });
        const trust = made.trustOf([...made.proofs, revocation]);
        const under = made.members.filter(({ certificate }) =>
          chainOf(certificate).some((link) => link.peerId === target.key.peerId),
        );
        expect(under.filter(({ certificate }) => trust.judge(certificate, lastMs).standing)).toEqual([]);
      }),
      { numRuns: runs },
    );
  });

  it('ignores everything that a revoked peer signed or that leans on its certificates', () => {
    fc.assert(
      fc.property(world(), fc.nat(), (made, index) => {
        const target = made.members[index % made.members.length] ?? mesh.founder;
        const revocation = mesh.revocation(target, { atMs: lastMs });
        const clean = made.proofs.filter((proof) => !leansOn(proof, target));
        expect(made.verdicts(made.trustOf([...made.proofs, revocation]))).toEqual(
          made.verdicts(made.trustOf([...clean, revocation])),
        );
      }),
      { numRuns: runs },
    );
  });

  it('is not moved by whoever has nothing but an expired token, whatever they sign among themselves', () => {
    const leaked = mesh.invite({ role: 'admin', maxUses: 3 });
    // The ring's members are called otherwise, and those it issues to stand under them.
    const ring = [1, 2, 3, 4].map((number) => mesh.redeem(leaked, `eve ${number}`));
    const puppets = ring.map((by, number) => mesh.issue(`puppet ${number}`, 'admin', { by }));
    const all = [...ring, ...puppets];
    const act = fc.record({ by: fc.nat(7), whom: fc.nat(50), does: fc.constantFrom('use', 'revoke') });
    fc.assert(
      fc.property(world(), fc.array(act, { minLength: 5, maxLength: 30 }), (made, acts) => {
        const forged = acts.flatMap(({ by, whom, does }) => {
          const signer = all[by % all.length] ?? mesh.founder;
          const victims = does === 'use' ? ring : made.members;
          const target = victims[whom % victims.length] ?? mesh.founder;
          return does === 'use'
            ? mesh.use(target, signer)
            : mesh.revocation(target, { by: signer, atMs: lastMs });
        });
        const honest = made.trustOf(made.proofs);
        const attacked = made.trustOf([...forged, ...made.proofs]);
        expect(made.verdicts(attacked)).toEqual(made.verdicts(honest));
        const later = madeMs + 20 * dayMs;
        expect(all.filter(({ certificate }) => attacked.judge(certificate, later).standing)).toEqual([]);
      }),
      { numRuns: runs },
    );
  });

  it('does not change when what can no longer matter is forgotten', () => {
    fc.assert(
      fc.property(world(), fc.integer({ min: 80, max: 1_000 }), (made, days) => {
        const nowMs = madeMs + days * dayMs;
        const [trust, pruned] = [made.trustOf(made.proofs), made.trustOf(made.proofs)];
        pruned.prune(nowMs);
        for (const { certificate } of made.members) {
          expect(pruned.judge(certificate, nowMs).standing).toBe(trust.judge(certificate, nowMs).standing);
        }
      }),
      { numRuns: runs },
    );
  });

  it('takes random statements, rightly signed by an admin, with nothing but our errors', () => {
    const admin = keyNamed('mesh founder');
    const bytes = fc.uint8Array({ maxLength: 64 });
    const certificate = fc.oneof(bytes, fc.constant(mesh.founder.certificate.bytes));
    const key = fc.oneof(bytes, fc.uint8Array({ minLength: 32, maxLength: 32 }));
    const time = fc.oneof(fc.nat(), fc.constantFrom(0, madeMs, 2 ** 53, 2 ** 63));
    const payload = fc.oneof(
      bytes,
      fc.record({ certificate, atMs: time, admitter: certificate }).map((use) => Use.encode(use).finish()),
      fc
        .record({
          peerKey: key,
          inviteKey: key,
          atMs: time,
          untilMs: time,
          keep: fc.array(key),
          issuer: certificate,
        })
        .map((revocation) => Revocation.encode(revocation).finish()),
    );
    fc.assert(
      fc.property(payload, fc.constantFrom('use' as const, 'revocation' as const), (said, kind) => {
        try {
          mesh.trust().offer(readEnvelope(sealBy(kind, said), mesh.meshId), lastMs);
        } catch (refusal) {
          expect(refusal).toBeInstanceOf(MeshnodeError);
        }
      }),
      { numRuns: 400 },
    );

    function sealBy(kind: 'use' | 'revocation', said: Uint8Array): Uint8Array {
      return seal(kind, mesh.meshId, said, admin).bytes;
    }
  });
});

/** Whether a proof is signed by `member`, or by somebody whose certificate it signed. */
function leansOn(proof: Envelope, { key }: TestMember): boolean {
  const bytes =
    proof.kind === 'use' ? Use.decode(proof.payload).admitter : Revocation.decode(proof.payload).issuer;
  const signer = bytes.length === 0 ? [] : chainOf(mesh.trust().certificate(bytes));
  return signer.some((link) => keyText(link.peerKey) === keyText(key.publicKey));
}
