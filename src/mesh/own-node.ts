// What this node is in its mesh: its key, its certificate, whether it belongs, and its own record.
import type { Certificate, Issuer } from '../trust/certificate.ts';
import type { KeyPair, PeerId } from '../trust/keys.ts';
import type { Role } from '../trust/roles.ts';
import type { Judgement } from '../trust/ruling.ts';
import { meshLimits } from '../util/limits/mesh.ts';
import type { Outbox } from './outbox.ts';
import type { OwnRecord } from './own-record.ts';

export interface OwnNodeInit {
  readonly key: KeyPair;
  /** What the node wants to be; never more than its certificate says. */
  readonly role: Role;
  readonly certificate: Certificate;
  readonly formers: readonly Certificate[];
  readonly hasJoined: boolean;
  readonly record: OwnRecord;
  /** The mesh key, or this node's own if it may make members; absent: it may not. */
  readonly issuer: Issuer | undefined;
}

export class OwnNode {
  readonly key: KeyPair;
  readonly peer: PeerId;
  readonly record: OwnRecord;
  readonly #issuer: Issuer | undefined;
  readonly #role: Role;
  certificate: Certificate;
  /** What was renewed, by others than the one who signed what it is now: see fallBack. */
  formers: readonly Certificate[];
  /** A peer has admitted this node, or it made the mesh. */
  hasJoined: boolean;
  /** It was revoked, or its certificate has run out. */
  isExpelled = false;
  /** Wall time of the start: what carries this node's signature and a later date comes from another process. */
  startedWallMs = 0;

  constructor({ key, role, certificate, formers, hasJoined, record, issuer }: OwnNodeInit) {
    this.key = key;
    this.peer = key.peerId;
    this.#role = role;
    this.certificate = certificate;
    this.formers = formers;
    this.hasJoined = hasJoined;
    this.record = record;
    this.#issuer = issuer;
  }

  get isMember(): boolean {
    return this.hasJoined && !this.isExpelled;
  }

  /** Keeps to what a client may do, by its owner's wish or by its certificate. */
  get isClient(): boolean {
    return this.#role === 'client' || this.certificate.role === 'client';
  }

  /** What this node makes members with now: its certificate may have been renewed. */
  get issuer(): Issuer | undefined {
    const issuer = this.#issuer;
    return issuer?.certificate === undefined ? issuer : { ...issuer, certificate: this.certificate };
  }

  /** Replaces the certificate by one made anew. */
  renewed(certificate: Certificate): void {
    this.formers = [this.certificate, ...this.formers]
      .filter((former, index, all) => all.findIndex((other) => isBySame(other, former)) === index)
      .filter((former) => !isBySame(former, certificate))
      .slice(0, meshLimits.formerCertificates);
    this.certificate = certificate;
  }

  /**
   * Goes back to a certificate that still stands if the present one is revoked: whose renewal was signed by an admin who
   * was revoked since is a member by what it had before. Returns whether it did.
   */
  fallBack(judge: (certificate: Certificate) => Judgement): boolean {
    const present = judge(this.certificate);
    if (!this.hasJoined || present.standing || present.code !== 'certificate_revoked') {
      return false;
    }
    const former = this.formers.find((each) => each.role === this.certificate.role && judge(each).standing);
    if (former === undefined) {
      return false;
    }
    // A revocation may lose its force.
    this.formers = [...this.formers.filter((other) => other !== former), this.certificate];
    this.certificate = former;
    return true;
  }

  /**
   * Takes what is thought of this node's own certificate. Out is told once, and so is in again: a clock that was
   * wrong, or a revocation that has no force any more, must not cost the membership.
   */
  judged(judgement: Judgement, outbox: Outbox): void {
    // A certificate of tomorrow says that the clock of this machine is behind, and nothing of the mesh.
    if (!this.hasJoined || (!judgement.standing && judgement.code === 'clock_skewed')) {
      return;
    }
    if (!judgement.standing && !this.isExpelled) {
      const { code, message } = judgement;
      outbox.notice({ type: 'expelled', code, message });
    } else if (judgement.standing && this.isExpelled) {
      outbox.notice({ type: 'joined' });
    }
    this.isExpelled = !judgement.standing;
  }
}

/** Signed by one admin, or both by the mesh key: so one who signs often cannot crowd out what others signed. */
function isBySame(one: Certificate, other: Certificate): boolean {
  return one.issuer?.peerId === other.issuer?.peerId;
}
