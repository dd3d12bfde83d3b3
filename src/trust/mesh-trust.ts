// What this node knows of standing in its mesh: the uses and revocations it holds, and the judgement that
// follows from them. Every statement is verified when it is offered; nothing here is sent or stored.
import { MeshnodeError } from '../util/errors.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { type Certificate, CertificateCache, chainOf, coversTime, type Issuer } from './certificate.ts';
import { checkEnvelope, type Envelope, envelopeHash } from './envelope.ts';
import { keyText, type MeshId, type SignatureCheck } from './keys.ts';
import { hasEnded, ProofStore } from './proof-store.ts';
import {
  type Admitter,
  isRedemption,
  mayAdmit,
  type Revocation,
  type RevocationTarget,
  rankOf,
  readRevocation,
  readUse,
  sealUse,
  useEndMs,
  withinGrant,
} from './proofs.ts';
import { reSignedUses, sealRevocationBy } from './revoke.ts';
import type { Judgement, Ruling } from './ruling.ts';

/** Who is to be put out: a peer by its public key, or an invite by its key in hex. */
export type RevokeTarget = { readonly peerKey: Uint8Array } | { readonly inviteKey: string };

/** What became of an offered statement. */
export type Offered = 'new' | 'known' | 'older';

export interface MeshTrustInit {
  readonly meshId: MeshId;
  readonly check: SignatureCheck;
  /** A simulation of a thousand nodes verifies each certificate once for all of them. */
  readonly certificates?: CertificateCache;
}

export class MeshTrust {
  readonly meshId: MeshId;
  readonly #check: SignatureCheck;
  readonly #certificates: CertificateCache;
  readonly #proofs = new ProofStore();

  constructor({ meshId, check, certificates = new CertificateCache(meshId, check) }: MeshTrustInit) {
    this.meshId = meshId;
    this.#check = check;
    this.#certificates = certificates;
  }

  /** Rises whenever a judgement may have changed other than by time. */
  get version(): number {
    return this.#proofs.version;
  }

  /** The certificate in `bytes`, verified. Throws `certificate_invalid`, `mesh_mismatch`. */
  certificate(bytes: Uint8Array): Certificate {
    return this.#certificates.read(bytes);
  }

  /** Whether a certificate makes its peer a member now: a function of what is held, the certificate and the time. */
  judge(certificate: Certificate, nowMs: number): Judgement {
    return certificate.meshId === this.meshId
      ? this.#proofs.ruling.judge(certificate, nowMs)
      : { standing: false, code: 'mesh_mismatch', message: 'The certificate is of another mesh.' };
  }

  /**
   * Takes in a use or a revocation. 'known': it is held already; 'older': it is not kept, for what it bears on
   * has ended or others go before it. Throws `envelope_invalid`, `mesh_mismatch`, `certificate_invalid` or
   * `role_forbidden` for what cannot be, and `clock_skewed` for what is dated in the future.
   */
  offer(envelope: Envelope, nowMs: number): Offered {
    const { kind, meshId, bytes } = envelope;
    if (kind !== 'use' && kind !== 'revocation') {
      throw new MeshnodeError('envelope_invalid', `A ${kind} says nothing about standing.`);
    }
    if (meshId !== this.meshId) {
      throw new MeshnodeError('mesh_mismatch', `This ${kind} is signed for another mesh.`);
    }
    if (bytes.length > trustLimits.proofBytes) {
      throw new MeshnodeError('envelope_invalid', `A ${kind} of ${bytes.length} bytes is too long.`);
    }
    if (this.#proofs.has(keyText(envelopeHash(envelope)))) {
      return 'known';
    }
    checkEnvelope(envelope, this.#check);
    return kind === 'use' ? this.#offerUse(envelope, nowMs) : this.#offerRevocation(envelope, nowMs);
  }

  /** Whether only who made the peer a member is revoked: the peer may have been given another certificate. */
  fellWithAnother(certificate: Certificate): boolean {
    const { ruling } = this.#proofs;
    return ruling.isOut(certificate) && !ruling.isOutItself(certificate);
  }

  /** How many uses and revocations are held. */
  get size(): number {
    return this.#proofs.size;
  }

  /** Everything held. */
  items(): Envelope[] {
    return this.#proofs.envelopes;
  }

  /** What is held, up to so many bytes: first the revocations in force, then the uses that members stand on. */
  weightiest(mostBytes: number): Envelope[] {
    const { inForce, standingUses } = this.#proofs.ruling;
    const decisive = [...inForce, ...standingUses].map(({ envelope }) => envelope);
    return upTo(mostBytes, [...new Set([...decisive, ...this.items()])]);
  }

  /**
   * What another needs in order to judge a certificate alike: the uses that its chain stands on, or that left no seat
   * to it, with what those stand on, nearest first, and the revocations that bear on any of them. At most
   * trustLimits.proofs and proofsBytes: of an invite for many uses it cannot be shown that all of them are taken.
   */
  proofsFor(certificate: Certificate): Envelope[] {
    const { ruling } = this.#proofs;
    const proofs = new Set<Envelope>();
    const own = new Set(chainOf(certificate));
    // Grows while it is read; each certificate once.
    const waiting = new Set(own);
    for (const link of waiting) {
      const add = (proof: { readonly envelope: Envelope }, signer: Certificate | undefined): void => {
        proofs.add(proof.envelope);
        for (const above of signer === undefined ? [] : chainOf(signer)) {
          waiting.add(above);
        }
      };
      for (const revocation of ruling.against(link)) {
        add(revocation, revocation.signer);
      }
      for (const use of [...ruling.usesOf(link), ...(own.has(link) ? ruling.usesBefore(link) : [])]) {
        add(use, use.admitter);
      }
      if (proofs.size >= trustLimits.proofs) {
        break;
      }
    }
    return upTo(trustLimits.proofsBytes, [...proofs].slice(0, trustLimits.proofs));
  }

  /**
   * Signs, and takes in, that this member admits a newcomer, or one whom only members of lower rank have seen yet:
   * others with the token could still take its seat. Undefined if there is nothing to sign: the certificate came by
   * no invite, a use of it by no lower rank counts already, it would not stand with this one either, the time of the
   * invite is over, or the member may not admit by it. Asked before `judge`, it lets an inviter admit by its strict invite.
   */
  witness(certificate: Certificate, admitter: Admitter, nowMs: number): Envelope | undefined {
    const { ruling } = this.#proofs;
    const known = ruling.decidingUse(certificate);
    if (
      !isRedemption(certificate) ||
      (known !== undefined && rankOf(known.admitter) >= rankOf(admitter.certificate)) ||
      !mayAdmit(admitter.certificate, certificate) ||
      !ruling.judge(certificate, nowMs, { atInviter: true }).standing
    ) {
      return undefined;
    }
    // The clock of who admitted this member may be ahead of ours.
    const atMs = Math.max(nowMs, ruling.usesFromMs(admitter.certificate));
    if (!withinGrant(certificate.invite, atMs) || !coversTime(admitter.certificate, atMs)) {
      return undefined;
    }
    const use = sealUse(certificate, atMs, admitter);
    this.offer(use, nowMs);
    return use;
  }

  /**
   * Signs, and takes in, that a peer or an invite is out, and anew those uses signed by the peer that `members`
   * stand on. The revocations that the peer signed stay in force. Throws `role_forbidden` if the issuer may not
   * revoke it or was admitted by it, or what `judge` says of an issuer that does not stand.
   */
  revoke(target: RevokeTarget, issuer: Issuer, members: readonly Certificate[], nowMs: number): Envelope[] {
    const before = this.#proofs.ruling;
    requireStanding(before, issuer, nowMs);
    const { inForce } = before;
    const revocation = sealRevocationBy({ target: targetOf(target), issuer, members, inForce, nowMs });
    const after = this.#proofs.rulingWith(this.#readRevocation(revocation));
    requireSeats(before, after, issuer);
    const signed = [revocation, ...reSignedUses({ before, after, issuer, members })];
    for (const envelope of signed) {
      this.offer(envelope, nowMs);
    }
    return signed;
  }

  /** Forgets what can no longer matter. */
  prune(nowMs: number): void {
    this.#proofs.prune(nowMs);
  }

  #offerUse(envelope: Envelope, nowMs: number): Offered {
    const use = readUse(envelope, (bytes) => this.certificate(bytes));
    requirePast(use.atMs, nowMs);
    return !hasEnded(useEndMs(use), nowMs) && this.#proofs.addUse(use) ? 'new' : 'older';
  }

  #offerRevocation(envelope: Envelope, nowMs: number): Offered {
    const revocation = this.#readRevocation(envelope);
    requirePast(revocation.atMs, nowMs);
    return !hasEnded(revocation.untilMs, nowMs) && this.#proofs.addRevocation(revocation) ? 'new' : 'older';
  }

  #readRevocation(envelope: Envelope): Revocation {
    return readRevocation(envelope, (bytes) => this.certificate(bytes));
  }
}

/** The first of `envelopes` that are so many bytes together. */
function upTo(mostBytes: number, envelopes: readonly Envelope[]): Envelope[] {
  let bytes = 0;
  return envelopes.filter((envelope) => {
    bytes += envelope.bytes.length;
    return bytes <= mostBytes;
  });
}

/** Throws what `ruling` says of an issuer that does not stand. */
function requireStanding(ruling: Ruling, { certificate }: Issuer, nowMs: number): void {
  const judgement = certificate === undefined ? undefined : ruling.judge(certificate, nowMs);
  if (judgement?.standing === false) {
    throw new MeshnodeError(judgement.code, judgement.message);
  }
}

/** Throws `role_forbidden` if an issuer would void what it stands on itself: nobody can see itself join. */
function requireSeats(before: Ruling, after: Ruling, { certificate }: Issuer): void {
  const links = certificate === undefined ? [] : chainOf(certificate);
  if (links.some((link) => before.decidingUse(link) && !after.decidingUse(link))) {
    throw new MeshnodeError('role_forbidden', 'That peer admitted this node, which would put itself out.', {
      hint: 'Revoke it on another admin, or after this node has had its certificate renewed.',
    });
  }
}

function targetOf(target: RevokeTarget): RevocationTarget {
  return 'peerKey' in target ? { peer: keyText(target.peerKey) } : { invite: target.inviteKey };
}

/** A statement dated ahead could put out, or decide for, what does not exist yet. */
function requirePast(atMs: number, nowMs: number): void {
  if (atMs > nowMs + trustLimits.clockToleranceMs) {
    throw new MeshnodeError('clock_skewed', 'By the clock of this machine it is not signed yet.');
  }
}
