// Meshes for tests: keys grown from names, members, invites and proofs with any dates, and a signature check
// that remembers its answers.
import { createHash } from 'node:crypto';
import { type Certificate, type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import type { Envelope } from '../../src/trust/envelope.ts';
import { createInvite, type Invite, parseToken, redeem, type Token } from '../../src/trust/invite.ts';
import { checkSignature, KeyPair, keyText, type MeshId, type SignatureCheck } from '../../src/trust/keys.ts';
import { MeshTrust } from '../../src/trust/mesh-trust.ts';
import { isRedemption, sealRevocation, sealUse } from '../../src/trust/proofs.ts';
import type { Role } from '../../src/trust/roles.ts';
import { seededRandom } from '../../src/util/random.ts';

/** When every test mesh is made. */
export const madeMs = Date.UTC(2026, 0, 1);
export const minuteMs = 60_000;
export const dayMs = 24 * 60 * minuteMs;

const keys = new Map<string, KeyPair>();

/** The key that a name stands for. */
export function keyNamed(name: string): KeyPair {
  const seed = new Uint8Array(createHash('sha256').update(name).digest());
  const key = keys.get(name) ?? KeyPair.fromSeed(seed);
  keys.set(name, key);
  return key;
}

/** The real check, each question asked once. */
export function memoisedCheck(): SignatureCheck {
  const answers = new Map<string, boolean>();
  return (publicKey, message, signature) => {
    const question = [publicKey, message, signature].map(keyText).join(' ');
    const answer = answers.get(question) ?? checkSignature(publicKey, message, signature);
    answers.set(question, answer);
    return answer;
  };
}

/** A node with its standing. */
export interface TestMember {
  readonly name: string;
  readonly key: KeyPair;
  readonly certificate: Certificate;
}

export interface TestInvite extends Invite {
  readonly parsed: Token;
}

export class TestMesh {
  readonly key: KeyPair;
  readonly meshId: MeshId;
  readonly check: SignatureCheck = memoisedCheck();
  /** The mesh key as an issuer. */
  readonly issuer: Issuer;
  /** The node that made the mesh: an admin by the mesh key. */
  readonly founder: TestMember;
  #invites = 0;

  constructor(name = 'mesh') {
    this.key = keyNamed(`${name} key`);
    this.meshId = keyText(this.key.publicKey);
    this.issuer = { meshId: this.meshId, key: this.key };
    this.founder = this.issue(`${name} founder`, 'admin');
  }

  /** An empty store of proofs of this mesh. */
  trust(envelopes: readonly Envelope[] = [], nowMs = madeMs + dayMs): MeshTrust {
    const trust = new MeshTrust({ meshId: this.meshId, check: this.check });
    for (const envelope of envelopes) {
      trust.offer(envelope, nowMs);
    }
    return trust;
  }

  /** A member as an issuer. */
  issuerOf({ key, certificate }: TestMember): Issuer {
    return { meshId: this.meshId, key, certificate };
  }

  /** A member by an issue of the mesh key, or of `by`. */
  issue(
    name: string,
    role: Role,
    { by, atMs = madeMs }: { by?: TestMember; atMs?: number } = {},
  ): TestMember {
    const key = keyNamed(name);
    const issuer = by === undefined ? this.issuer : this.issuerOf(by);
    return {
      name,
      key,
      certificate: issueCertificate({ issuer, peerKey: key.publicKey, role, nowMs: atMs }),
    };
  }

  /** An invite by the mesh key, or by `by`. */
  invite(
    options: {
      by?: TestMember;
      role?: Role;
      maxUses?: number;
      ttlMs?: number;
      strict?: boolean;
      atMs?: number;
      addresses?: readonly string[];
    } = {},
  ): TestInvite {
    const { by, role = 'serve', maxUses = 1, ttlMs = dayMs, strict = false, atMs = madeMs } = options;
    this.#invites++;
    const invite = createInvite(
      {
        issuer: by === undefined ? this.issuer : this.issuerOf(by),
        role,
        ttlMs,
        maxUses,
        strict,
        addresses: options.addresses ?? [this.address()],
      },
      { random: seededRandom(this.#invites), nowMs: atMs },
    );
    return { ...invite, parsed: parseToken(invite.token) };
  }

  /** Where the founder says it is. */
  address(): string {
    return `/ip4/127.0.0.1/tcp/4001/p2p/${this.key.peerId}`;
  }

  /** The node `name` with the certificate that it makes of an invite. No use is signed. */
  redeem(
    invite: TestInvite,
    name: string,
    { atMs = madeMs + minuteMs, role = invite.role }: { atMs?: number; role?: Role } = {},
  ): TestMember {
    const key = keyNamed(name);
    return { name, key, certificate: redeem(invite.parsed, key, { nowMs: atMs, role }) };
  }

  /** The use that `admitter` signs for a newcomer. */
  use(
    newcomer: TestMember,
    admitter: TestMember = this.founder,
    atMs = newcomer.certificate.issuedMs,
  ): Envelope {
    const { certificate } = newcomer;
    if (!isRedemption(certificate)) {
      throw new Error(`${newcomer.name} came by no invite.`);
    }
    return sealUse(certificate, atMs, admitter);
  }

  /** A revocation of a peer, as anybody could sign it, by the mesh key or `by`. */
  revocation(
    target: TestMember | TestInvite,
    {
      by,
      atMs = madeMs + dayMs,
      keep = [],
    }: { by?: TestMember; atMs?: number; keep?: readonly string[] } = {},
  ): Envelope {
    const named =
      'inviteKey' in target ? { invite: target.inviteKey } : { peer: keyText(target.key.publicKey) };
    const issuer = by === undefined ? this.issuer : this.issuerOf(by);
    return sealRevocation({ target: named, atMs, keep: new Set(keep) }, issuer);
  }
}

/** What `trust` says of a member a day after the mesh was made, or then: 'standing', or the code of the refusal. */
export function verdict(
  trust: MeshTrust,
  { certificate }: { readonly certificate: Certificate },
  atMs: number = madeMs + dayMs,
): string {
  const judgement = trust.judge(certificate, atMs);
  return judgement.standing ? 'standing' : judgement.code;
}
