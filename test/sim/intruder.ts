// Who is no member and tries to pass for one: false credentials, and a node that believes in them.
import { type Certificate, issueCertificate } from '../../src/trust/certificate.ts';
import { KeyPair, keyBytes, keyText, type MeshId, type SignatureCheck } from '../../src/trust/keys.ts';
import { MeshTrust } from '../../src/trust/mesh-trust.ts';
import type { Judgement } from '../../src/trust/ruling.ts';
import type { Random } from '../../src/util/random.ts';
import type { IntruderKind } from './scenario.ts';

/** What the intruder shows as its certificate. */
export function falseCertificate(
  kind: IntruderKind,
  intruder: KeyPair,
  { founder, random }: { readonly founder: Certificate; readonly random: Random },
): Certificate {
  const peer = { peerId: intruder.peerId, peerKey: intruder.publicKey };
  switch (kind) {
    case 'stranger': {
      const key = KeyPair.fromSeed(random.bytes(keyBytes));
      const issuer = { meshId: keyText(key.publicKey), key };
      return issueCertificate({ issuer, peerKey: peer.peerKey, role: 'admin', nowMs: founder.issuedMs });
    }
    case 'impostor':
      return { ...founder, ...peer };
    case 'forger':
      return { ...founder, ...peer, bytes: withOtherKey(founder, peer.peerKey) };
  }
}

/** The judgement of a node that takes its own false certificate for good. */
export class CredulousTrust extends MeshTrust {
  readonly #own: Certificate;

  constructor(init: { readonly meshId: MeshId; readonly check: SignatureCheck }, own: Certificate) {
    super(init);
    this.#own = own;
  }

  override certificate(bytes: Uint8Array): Certificate {
    return Buffer.from(bytes).equals(this.#own.bytes) ? this.#own : super.certificate(bytes);
  }

  override judge(certificate: Certificate, nowMs: number): Judgement {
    return certificate === this.#own ? { standing: true } : super.judge(certificate, nowMs);
  }
}

/** The certificate with another peer's key written over its own. */
function withOtherKey({ bytes, peerKey }: Certificate, other: Uint8Array): Uint8Array {
  const forged = Buffer.from(bytes);
  for (let at = forged.indexOf(peerKey); at !== -1; at = forged.indexOf(peerKey)) {
    forged.set(other, at);
  }
  return new Uint8Array(forged);
}
