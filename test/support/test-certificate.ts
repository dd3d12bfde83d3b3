// A certificate for tests that need one to be there and do not care whose it is.
import { issueCertificate } from '../../src/trust/certificate.ts';
import { KeyPair, keyText } from '../../src/trust/keys.ts';

const key = KeyPair.fromSeed(new Uint8Array(32).fill(1));

export const testCertificate = issueCertificate({
  issuer: { meshId: keyText(key.publicKey), key },
  peerKey: key.publicKey,
  role: 'serve',
  nowMs: Date.UTC(2026, 0, 1),
});
