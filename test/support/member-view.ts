// A member as a node sees it, for what only shows members.
import type { MemberView } from '../../src/mesh/membership.ts';
import { noFacts, type PeerRecord, type RecordModel } from '../../src/mesh/record.ts';
import { issueCertificate } from '../../src/trust/certificate.ts';
import { KeyPair, keyText } from '../../src/trust/keys.ts';

const key = KeyPair.fromSeed(new Uint8Array(32).fill(1));
const certificate = issueCertificate({
  issuer: { meshId: keyText(key.publicKey), key },
  peerKey: key.publicKey,
  role: 'serve',
  nowMs: Date.UTC(2026, 0, 1),
});

export function memberView(
  peerId: string,
  facts: Partial<PeerRecord> = {},
  view: Partial<MemberView> = {},
): MemberView {
  const record: PeerRecord = {
    ...noFacts,
    ...({ peerId, name: `name of ${peerId}`, role: 'serve', left: false } as const),
    ...{ epoch: 1, sequence: 0, issuedMs: 0, expiresMs: 1, certificate: certificate.bytes },
    ...facts,
  };
  return { record, certificate, status: 'alive', isUp: true, isSilent: false, ...view };
}

export function recordModel(name: string, fields: Partial<RecordModel> = {}): RecordModel {
  return {
    name,
    ...({ state: 'ready', kind: 'chat', attached: false, abilities: [] } as const),
    ...{ digest: undefined, sizeBytes: undefined, contextTokens: undefined, slots: 4 },
    ...{ architecture: undefined, quantisation: undefined },
    ...fields,
  };
}
