import { describe, expect, it } from 'vitest';
import { ProofStore } from '../../../src/trust/proof-store.ts';
import { isRedemption, type Use } from '../../../src/trust/proofs.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { madeMs, minuteMs, TestMesh } from '../../support/test-mesh.ts';

const mesh = new TestMesh();
const { certificate } = mesh.redeem(mesh.invite(), 'newcomer');

/** A use of its own peer and invite, as if it had been read and verified. */
function useOf(grant: string, name: string, atMs: number): Use {
  if (!isRedemption(certificate)) {
    throw new Error('A redemption is needed.');
  }
  return {
    envelope: mesh.use({ name, key: mesh.key, certificate }),
    hash: `${grant} ${name}`,
    certificate: { ...certificate, peerId: name, invite: { ...certificate.invite, grant, maxUses: 1_000 } },
    atMs,
    admitter: mesh.founder.certificate,
  };
}

describe('the store of proofs', () => {
  it('bounds the uses in all, and makes room among those of the fullest invite', () => {
    const store = new ProofStore();
    const invites = Math.ceil(trustLimits.uses / 1_000);
    const template = useOf('', '', 0);
    for (let index = 0; index < trustLimits.uses; index++) {
      const [grant, name] = [`grant ${index % invites}`, `peer ${index}`];
      const { invite } = template.certificate;
      const own = { ...template.certificate, peerId: name, invite: { ...invite, grant } };
      store.addUse({ ...template, hash: name, certificate: own, atMs: madeMs + index });
    }
    expect(store.envelopes).toHaveLength(trustLimits.uses);
    expect(store.addUse(useOf('small grant', 'late', madeMs + 60 * minuteMs))).toBe(true);
    expect(store.has('small grant late')).toBe(true);
    expect(store.envelopes).toHaveLength(trustLimits.uses);
    // The fullest invite lost its latest.
    const lost = Array.from({ length: trustLimits.uses }, (_, index) => index).filter(
      (index) => !store.has(`peer ${index}`),
    );
    expect(lost.map((index) => index % invites)).toEqual([0]);
    expect(lost[0]).toBeGreaterThanOrEqual(trustLimits.uses - invites);
  });
});
