import { describe, expect, it } from 'vitest';
import { OwnNode } from '../../../src/mesh/own-node.ts';
import { OwnRecord } from '../../../src/mesh/own-record.ts';
import { noFacts } from '../../../src/mesh/record.ts';
import type { Certificate } from '../../../src/trust/certificate.ts';
import type { Judgement } from '../../../src/trust/ruling.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { dayMs, madeMs, type TestMember, TestMesh } from '../../support/test-mesh.ts';

const mesh = new TestMesh();
const admins = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => mesh.issue(name, 'admin'));
const [first, second] = admins as [TestMember, TestMember];

/** The certificate of the node by an admin, or by the mesh key. */
function issued(by: TestMember | undefined, day: number, role: 'serve' | 'client' = 'serve'): Certificate {
  return mesh.issue('node', role, { ...(by === undefined ? {} : { by }), atMs: madeMs + day * dayMs })
    .certificate;
}

function nodeWith(certificate: Certificate, hasJoined = true): OwnNode {
  const { key } = mesh.issue('node', 'serve');
  const parts = { identity: key, meshId: mesh.meshId, role: 'serve', facts: noFacts, lastEpoch: 0 } as const;
  const record = new OwnRecord({ ...parts, random: seededRandom(1) });
  return new OwnNode({ key, role: 'serve', certificate, formers: [], hasJoined, record, issuer: undefined });
}

/** What is thought of certificates of which some are `refused` so. */
function judging(refused: readonly Certificate[], code: 'certificate_revoked' | 'clock_skewed') {
  return (certificate: Certificate): Judgement =>
    refused.includes(certificate) ? { standing: false, code, message: 'no' } : { standing: true };
}

describe('the certificate of a node', () => {
  it('is what it was before if the admin who renewed it is revoked, and the renewal if that is undone', () => {
    const [invited, renewed] = [issued(undefined, 0), issued(first, 31)];
    const node = nodeWith(invited);
    node.renewed(renewed);
    expect(node.fallBack(judging([renewed], 'certificate_revoked'))).toBe(true);
    expect(node.certificate).toBe(invited);
    expect(node.fallBack(judging([renewed], 'certificate_revoked'))).toBe(false);
    expect(node.fallBack(judging([invited], 'certificate_revoked'))).toBe(true);
    expect(node.certificate).toBe(renewed);
  });

  it.each([
    ['is only not in date by the clock of this machine', true, 'clock_skewed'],
    ['was never shown to anybody', false, 'certificate_revoked'],
  ] as const)('stays what it is if it %s', (_, hasJoined, code) => {
    const [invited, renewed] = [issued(undefined, 0), issued(first, 31)];
    const node = nodeWith(invited, hasJoined);
    node.renewed(renewed);
    expect(node.fallBack(judging([renewed], code))).toBe(false);
    expect(node.certificate).toBe(renewed);
  });

  it('is never one of another role', () => {
    const renewed = issued(first, 31);
    const node = nodeWith(issued(undefined, 0, 'client'));
    node.renewed(renewed);
    expect(node.fallBack(judging([renewed], 'certificate_revoked'))).toBe(false);
  });

  it('has the last of each of four signers behind it, however often one of them signs', () => {
    const invited = issued(undefined, 0);
    const node = nodeWith(invited);
    for (const day of [31, 32, 33, 34]) {
      node.renewed(issued(first, day));
    }
    expect(node.formers).toEqual([invited]);
    node.renewed(issued(second, 35));
    expect(node.formers.map(({ issuedMs }) => (issuedMs - madeMs) / dayMs)).toEqual([34, 0]);
    for (const admin of admins.slice(2)) {
      node.renewed(issued(admin, 36));
    }
    expect(node.formers).toHaveLength(4);
  });
});
