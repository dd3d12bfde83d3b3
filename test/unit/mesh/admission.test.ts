import { describe, expect, it } from 'vitest';
import { type Admitter, admit, helloTo, refusalTo, shownBy } from '../../../src/mesh/admission.ts';
import type { Hello } from '../../../src/mesh/message.ts';
import { readEnvelope } from '../../../src/trust/envelope.ts';
import type { MeshTrust } from '../../../src/trust/mesh-trust.ts';
import { dayMs, madeMs, minuteMs, type TestMember, TestMesh, verdict } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const mesh = new TestMesh();
const now = { wallMs: madeMs + dayMs / 2, monotonicMs: 0 };

/** What `member` decides by, who knows as much as `trust`. */
function admitterOf({ key, certificate }: TestMember, trust: MeshTrust): Admitter {
  return {
    trust,
    own: { key, certificate, mayAdmit: true },
    take: (proof) => trust.offer(readEnvelope(proof, mesh.meshId), now.wallMs),
    now,
  };
}

/** The hello of `member`, who knows as much as `trust`. */
function helloOf({ certificate }: TestMember, trust: MeshTrust): Hello {
  return helloTo(trust, certificate, false, now);
}

describe('a hello', () => {
  it('teaches who accepts it that an invite is used up, even its own', () => {
    const invite = mesh.invite({ maxUses: 2 });
    const [a, b, late] = ['a', 'b', 'late'].map((name) => mesh.redeem(invite, name)) as [
      TestMember,
      TestMember,
      TestMember,
    ];
    const known = mesh.trust([mesh.use(a), mesh.use(b)]);
    // Let in by somebody who had not heard of the two, and who signed nothing.
    const unaware = mesh.trust();
    const admitter = admitterOf(late, unaware);
    admit(a.certificate, helloOf(a, known), admitter);
    expect(verdict(unaware, late)).toBe('standing');
    admit(b.certificate, helloOf(b, known), admitter);
    expect(verdict(unaware, late)).toBe('token_used_up');
  });

  it('gets no proof checked of whose certificate is revoked', () => {
    const revoked = mesh.redeem(mesh.invite(), 'revoked');
    const trust = mesh.trust([mesh.revocation(revoked, { atMs: now.wallMs })]);
    const hello = helloOf(revoked, mesh.trust([mesh.use(revoked)]));
    const admitter = admitterOf(mesh.founder, trust);
    expect(thrownBy(() => admit(revoked.certificate, hello, admitter)).code).toBe('certificate_revoked');
    expect(trust.items()).toHaveLength(1);
  });

  it('with the certificate of another is not looked at further', () => {
    const [owner, thief] = [mesh.redeem(mesh.invite(), 'owner'), mesh.redeem(mesh.invite(), 'thief')];
    const shown = (): unknown =>
      shownBy(thief.key.peerId, helloOf(owner, mesh.trust()), admitterOf(mesh.founder, mesh.trust()));
    expect(thrownBy(shown).code).toBe('certificate_invalid');
  });
});

describe('a refusal', () => {
  const refused = { code: 'token_used_up', message: 'No seat.' } as const;

  it('shows who is out the uses that left it no seat', () => {
    const invite = mesh.invite({ maxUses: 1 });
    const [first, second] = [mesh.redeem(invite, 'first'), mesh.redeem(invite, 'second')];
    const apart = mesh.redeem(mesh.invite({ role: 'admin' }), 'apart');
    const joinedThere = [mesh.use(apart), mesh.use(second, apart, madeMs + 3 * minuteMs)];
    const theirs = mesh.trust(joinedThere);
    expect(verdict(theirs, second)).toBe('standing');
    const knowing = mesh.trust([...joinedThere, mesh.use(first, mesh.founder, madeMs + 2 * minuteMs)]);
    for (const proof of refusalTo(knowing, second.certificate, refused).proofs) {
      theirs.offer(readEnvelope(proof, mesh.meshId), now.wallMs);
    }
    expect(verdict(theirs, second)).toBe('token_used_up');
  });

  it('shows nothing to who has not shown who it is', () => {
    expect(refusalTo(mesh.trust(), undefined, refused)).toEqual({ type: 'refused', ...refused, proofs: [] });
  });
});
