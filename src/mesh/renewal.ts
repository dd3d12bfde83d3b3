// Certificates that get old are made anew by whoever may: for members in sight, and for this node itself if it
// holds the mesh key. Pure.
import { type Certificate, type Issuer, issueCertificate, renewalDue } from '../trust/certificate.ts';
import type { PeerId } from '../trust/keys.ts';
import type { MeshTrust } from '../trust/mesh-trust.ts';
import { rankOf } from '../trust/proofs.ts';
import { trustLimits } from '../util/limits/trust.ts';
import type { Now } from './membership-events.ts';
import type { Renewal } from './message.ts';
import type { OwnNode } from './own-node.ts';
import type { Session } from './sessions.ts';
import type { RecordTable } from './table.ts';

/**
 * The certificate that a peer has made for this node, if it is one to take: due, ours, standing, longer, and of no
 * lower rank: else an admin could put its equals below itself, and then out. Who holds the mesh key needs nobody.
 */
export function acceptRenewal(
  { certificate: bytes }: Renewal,
  own: Pick<OwnNode, 'peer' | 'certificate' | 'issuer'>,
  trust: MeshTrust,
  now: Now,
): Certificate | undefined {
  const certificate = readQuietly(bytes, trust);
  const { issuer } = own;
  const holdsMeshKey = issuer !== undefined && issuer.certificate === undefined;
  const isBetter =
    certificate !== undefined &&
    !holdsMeshKey &&
    // By the clock of who sent it, which may be ahead.
    renewalDue(own.certificate, now.wallMs + trustLimits.clockToleranceMs) &&
    certificate.peerId === own.peer &&
    certificate.role === own.certificate.role &&
    rankOf(certificate) >= rankOf(own.certificate) &&
    certificate.expiresMs >= own.certificate.expiresMs + trustLimits.renewalGainMs &&
    trust.judge(certificate, now.wallMs).standing;
  return isBetter ? certificate : undefined;
}

/** This node's own certificate made anew, if it is due and the mesh key is here. */
export function renewOwn({ certificate, issuer }: OwnNode, { wallMs }: Now): Certificate | undefined {
  if (issuer === undefined || issuer.certificate !== undefined || !renewalDue(certificate, wallMs)) {
    return undefined;
  }
  return renewedBy(issuer, certificate, wallMs);
}

/** What to send to the members whose certificates are due. */
export function dueRenewals(
  own: OwnNode,
  sessions: readonly Session[],
  table: RecordTable,
  { wallMs }: Now,
): { readonly peer: PeerId; readonly renewal: Renewal }[] {
  if (own.issuer === undefined || !own.isMember) {
    return [];
  }
  return sessions.flatMap(({ peer }) => {
    const certificate = table.get(peer)?.certificate;
    if (certificate === undefined || !renewalDue(certificate, wallMs)) {
      return [];
    }
    const issuer = renewerOf(own, certificate);
    const renewed = issuer && renewedBy(issuer, certificate, wallMs);
    // An issuer whose own certificate ends as soon has nothing better to give.
    return renewed !== undefined && renewed.expiresMs >= certificate.expiresMs + trustLimits.renewalGainMs
      ? [{ peer, renewal: { type: 'renewal', certificate: renewed.bytes } as const }]
      : [];
  });
}

/**
 * As what this node renews a certificate, so that its peer keeps its rank; undefined: as nothing. The mesh key would
 * raise an admin whom an admin made, beyond the reach of that one; an admin would put its equals below itself.
 */
function renewerOf({ key, certificate: ownCertificate, issuer }: OwnNode, { role, depth }: Certificate) {
  if (role !== 'admin') {
    return issuer;
  }
  if (depth === 1) {
    return issuer?.certificate === undefined ? issuer : undefined;
  }
  const isAdmin = ownCertificate.role === 'admin' && ownCertificate.depth === 1;
  return isAdmin ? { meshId: ownCertificate.meshId, key, certificate: ownCertificate } : undefined;
}

/** Undefined if the issuer cannot: its own certificate may have ended. */
function renewedBy(
  issuer: Issuer,
  { peerKey, role, sinceMs }: Certificate,
  wallMs: number,
): Certificate | undefined {
  // Whose clock is ahead may be a member since tomorrow.
  const nowMs = Math.max(Math.floor(wallMs), sinceMs);
  try {
    return issueCertificate({ issuer, peerKey, role, sinceMs, nowMs });
  } catch {
    return undefined;
  }
}

function readQuietly(bytes: Uint8Array, trust: MeshTrust): Certificate | undefined {
  try {
    return trust.certificate(bytes);
  } catch {
    return undefined;
  }
}
