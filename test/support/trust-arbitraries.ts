// Random meshes for property tests: what founders, admins, members and those who misuse their keys may have
// signed, in any combination, dated as they like.
import fc from 'fast-check';
import { type Envelope, envelopeHash } from '../../src/trust/envelope.ts';
import { keyText } from '../../src/trust/keys.ts';
import type { MeshTrust } from '../../src/trust/mesh-trust.ts';
import { type Role, roles } from '../../src/trust/roles.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import { dayMs, madeMs, minuteMs, type TestInvite, type TestMember, type TestMesh } from './test-mesh.ts';

/** One thing that somebody does. Numbers choose among what there is, modulo its count. */
export interface Step {
  readonly does: 'issue' | 'invite' | 'redeem' | 'use' | 'revoke peer' | 'revoke invite';
  readonly by: number;
  readonly whom: number;
  readonly role: Role;
  readonly atMs: number;
  readonly uses: number;
  readonly flag: boolean;
}

/** Everything random happens within these days. */
export const randomDays = 2;

const step = (): fc.Arbitrary<Step> =>
  fc.record({
    does: fc.constantFrom<Step['does']>(
      'issue',
      'invite',
      'invite',
      'redeem',
      'redeem',
      'redeem',
      'use',
      'use',
      'use',
      'use',
      'use',
      'use',
      'revoke peer',
      'revoke invite',
    ),
    by: fc.nat(40),
    whom: fc.nat(40),
    role: fc.constantFrom(...roles, 'admin' as const),
    atMs: fc.nat(randomDays * 24 * 3).map((tens) => madeMs + tens * 10 * minuteMs),
    uses: fc.integer({ min: 1, max: 3 }),
    flag: fc.boolean(),
  });

export const steps = (): fc.Arbitrary<Step[]> =>
  fc.array(step(), { minLength: 20, maxLength: 70, size: 'max' });

/** Names are few, so that peers hold several certificates. */
const names = 10;

/** A mesh after some steps: all that was signed in it, and by whom. */
export class RandomMesh {
  readonly mesh: TestMesh;
  readonly members: TestMember[];
  readonly invites: TestInvite[] = [];
  readonly proofs: Envelope[] = [];

  constructor(mesh: TestMesh, script: readonly Step[]) {
    this.mesh = mesh;
    this.members = [mesh.founder];
    for (const each of script) {
      try {
        this.#take(each);
      } catch (refusal) {
        // Not everybody may do everything at any time; the rest of the script goes on.
        if (!(refusal instanceof MeshnodeError)) {
          throw refusal;
        }
      }
    }
  }

  /** A store that was offered `proofs`, those that it refuses left out. */
  trustOf(proofs: readonly Envelope[], nowMs = madeMs + randomDays * dayMs): MeshTrust {
    const trust = this.mesh.trust();
    offerAll(trust, proofs, nowMs);
    return trust;
  }

  /** What `trust` says of every certificate, at times before and after invites and certificates end. */
  verdicts(trust: MeshTrust, members: readonly TestMember[] = this.members): string[] {
    return [1, randomDays, 20, 92].flatMap((days) =>
      members.map(({ name, certificate }) => {
        const judgement = trust.judge(certificate, madeMs + days * dayMs);
        return `day ${days}: ${name} ${judgement.standing ? 'stands' : judgement.code}`;
      }),
    );
  }

  #take({ does, by, whom, role, atMs, uses, flag }: Step): void {
    const { mesh } = this;
    switch (does) {
      case 'issue':
        this.members.push(mesh.issue(`peer ${whom % names}`, role, this.#issuer(by, atMs, flag)));
        break;
      case 'invite': {
        const terms = { role, maxUses: uses, strict: whom % 4 === 0, ttlMs: dayMs };
        this.invites.push(mesh.invite({ ...this.#issuer(by, atMs, flag), ...terms }));
        break;
      }
      case 'redeem': {
        const invite = pick(this.invites, by);
        this.members.push(mesh.redeem(invite, `peer ${whom % names}`, { atMs: datedFor(invite, atMs) }));
        break;
      }
      case 'use': {
        const newcomer = pick(
          this.members.filter(({ certificate }) => certificate.invite !== undefined),
          whom,
        );
        const who = pick(this.members, by);
        const firstMs = Math.max(newcomer.certificate.issuedMs, who.certificate.issuedMs);
        this.proofs.push(mesh.use(newcomer, who, firstMs + (atMs % (dayMs / 4))));
        break;
      }
      case 'revoke peer': {
        const options = { ...this.#issuer(by, atMs, flag), keep: this.#kept(uses) };
        this.proofs.push(mesh.revocation(pick(this.members, whom), options));
        break;
      }
      case 'revoke invite':
        this.proofs.push(mesh.revocation(pick(this.invites, whom), this.#issuer(by, atMs, flag)));
        break;
    }
  }

  /** The mesh key, or any admin as soon as it is one. */
  #issuer(index: number, atMs: number, meshKey: boolean): { by?: TestMember; atMs: number } {
    const by = pick(
      this.members.filter(({ certificate }) => certificate.role === 'admin'),
      index,
    );
    return meshKey ? { atMs } : { by, atMs: Math.max(atMs, by.certificate.issuedMs) };
  }

  #kept(count: number): string[] {
    const revocations = this.proofs.filter((proof) => proof.kind === 'revocation');
    return revocations.slice(-count + 1 || revocations.length).map((proof) => keyText(envelopeHash(proof)));
  }
}

export function offerAll(trust: MeshTrust, proofs: readonly Envelope[], nowMs: number): void {
  for (const proof of proofs) {
    try {
      trust.offer(proof, nowMs);
    } catch (refusal) {
      if (!(refusal instanceof MeshnodeError)) {
        throw refusal;
      }
    }
  }
}

/** Whoever has the token can date an acceptance anywhere within the invite. */
function datedFor({ parsed }: TestInvite, atMs: number): number {
  return parsed.issuedMs + (atMs % (parsed.expiresMs - parsed.issuedMs));
}

function pick<T>(from: readonly T[], index: number): T {
  const chosen = from[index % from.length];
  if (chosen === undefined) {
    throw new MeshnodeError('invalid_request', 'There is none yet.');
  }
  return chosen;
}
