// Whether a peer is let in: what is said to it, and what its hello must prove. Pure; sessions and time limits
// are the membership machine's.
import type { Certificate } from '../trust/certificate.ts';
import type { Envelope } from '../trust/envelope.ts';
import type { KeyPair, PeerId } from '../trust/keys.ts';
import type { MeshTrust } from '../trust/mesh-trust.ts';
import { MeshnodeError } from '../util/errors.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { Now } from './membership-events.ts';
import type { Admitted, Hello, PeerAddresses, Refused } from './message.ts';

/** The version of the messages. A later one adds fields; what it takes away needs a new protocol id. */
export const meshProtocol = 1;

export interface Admitter {
  readonly trust: MeshTrust;
  readonly own: {
    readonly key: KeyPair;
    readonly certificate: Certificate;
    /** Whether this node lets newcomers in; others it knows as members already. */
    readonly mayAdmit: boolean;
  };
  /** Takes a use or revocation that the peer shows. */
  readonly take: (proof: Uint8Array) => void;
  readonly now: Now;
}

export function helloTo(trust: MeshTrust, certificate: Certificate, heard: boolean, now: Now): Hello {
  return {
    type: 'hello',
    protocol: meshProtocol,
    meshId: trust.meshId,
    certificate: certificate.bytes,
    clockMs: Math.floor(now.wallMs),
    proofs: proofsOf(trust, certificate),
    heard,
  };
}

export function welcomeTo(
  trust: MeshTrust,
  certificate: Certificate,
  peers: readonly PeerAddresses[],
  yourRecord: Uint8Array | undefined,
  now: Now,
): Admitted {
  return {
    type: 'admitted',
    proofs: proofsOf(trust, certificate),
    ...(yourRecord === undefined ? {} : { yourRecord }),
    peers,
    clockMs: Math.floor(now.wallMs),
  };
}

/** Why a peer may not stay and, if it has shown who it is, what it can see that by. */
export function refusalTo(
  trust: MeshTrust,
  certificate: Certificate | undefined,
  { code, message }: Pick<MeshnodeError, 'code' | 'message'>,
): Refused {
  const proofs = certificate === undefined ? [] : proofsOf(trust, certificate);
  return { type: 'refused', code, message, proofs };
}

/**
 * The certificate that a peer shows, if it may be looked at further. Throws why not; `peer` is whom the transport
 * has proved.
 */
export function shownBy(peer: PeerId, hello: Hello, { trust, now }: Admitter): Certificate {
  if (hello.meshId !== trust.meshId) {
    throw new MeshnodeError('mesh_mismatch', 'Who was met belongs to another mesh.');
  }
  checkClock(hello.clockMs - now.wallMs);
  const certificate = trust.certificate(hello.certificate);
  if (certificate.peerId !== peer) {
    throw new MeshnodeError('certificate_invalid', 'The certificate was given to another node.');
  }
  return certificate;
}

/**
 * Lets in whom `certificate` was given to, and returns the use that this node signs for it if it is the first to see
 * its invite redeemed, or the first of its rank. Throws why it may not come in.
 */
export function admit(
  certificate: Certificate,
  { proofs }: Hello,
  { trust, own, take, now }: Admitter,
): Envelope | undefined {
  // Checking proofs costs far more than sending them: whom none can help gets none checked. Of who stands already
  // they are mostly known; if not, they may say that an invite is used up, even that by which this node came.
  const unheard = trust.judge(certificate, now.wallMs);
  if (
    unheard.standing ||
    (unheard.code !== 'certificate_revoked' && unheard.code !== 'certificate_expired')
  ) {
    proofs.forEach(take);
  }
  const use = own.mayAdmit ? trust.witness(certificate, own, now.wallMs) : undefined;
  const judgement = trust.judge(certificate, now.wallMs);
  if (!judgement.standing) {
    throw new MeshnodeError(judgement.code, judgement.message);
  }
  return use;
}

/** Certificates, records and revocations are dated: two nodes must roughly agree on the date. */
function checkClock(aheadMs: number): void {
  if (Math.abs(aheadMs) > meshLimits.clockToleranceMs) {
    const minutes = Math.round(Math.abs(aheadMs) / 60_000);
    const where = aheadMs > 0 ? 'ahead of' : 'behind';
    throw new MeshnodeError(
      'clock_skewed',
      `The clock of the peer is ${minutes} minutes ${where} the other's.`,
    );
  }
}

function proofsOf(trust: MeshTrust, certificate: Certificate): Uint8Array[] {
  return trust
    .proofsFor(certificate)
    .slice(0, trustLimits.proofs)
    .map(({ bytes }) => bytes);
}
