// Members on one table: the real membership machines, joined by hand. Messages arrive at once and in order
// unless a test holds them; time passes when a test says so.
import { Membership, type MembershipInit } from '../../src/mesh/membership.ts';
import type {
  MembershipEffect,
  MembershipEvent,
  MembershipNotice,
  Now,
} from '../../src/mesh/membership-events.ts';
import type { MembershipMemory } from '../../src/mesh/membership-memory.ts';
import { encodeMessage, readMessage } from '../../src/mesh/message-codec.ts';
import { type LocalFacts, noFacts } from '../../src/mesh/record.ts';
import { type Certificate, type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import { createInvite, type InviteOptions, parseToken, redeem } from '../../src/trust/invite.ts';
import { checkSignature, KeyPair, keyText, type PeerId } from '../../src/trust/keys.ts';
import { MeshTrust } from '../../src/trust/mesh-trust.ts';
import type { Role } from '../../src/trust/roles.ts';
import { seededRandom } from '../../src/util/random.ts';

const dayMs = 24 * 3_600_000;

export interface TestMember {
  readonly peer: PeerId;
  readonly key: KeyPair;
  readonly trust: MeshTrust;
  readonly certificate: Certificate;
  readonly machine: Membership;
  readonly notices: MembershipNotice[];
}

export interface JoinOptions {
  readonly role?: Role;
  readonly invite?: Partial<InviteOptions>;
  readonly facts?: Partial<LocalFacts>;
  readonly memory?: MembershipMemory;
  readonly key?: KeyPair;
}

export class TestMembers {
  wallMs = Date.UTC(2030, 0, 1);
  monotonicMs = 0;
  readonly random = seededRandom(7);
  readonly meshKey = KeyPair.fromSeed(this.random.bytes(32));
  readonly meshId = keyText(this.meshKey.publicKey);
  readonly issuer: Issuer = { meshId: this.meshId, key: this.meshKey };
  readonly members = new Map<PeerId, TestMember>();
  /** Broadcasts reach every member; a test may turn that off. */
  broadcasts = true;
  /** Messages to lose, from now on; whoever sent one is told that it may be lost. */
  losses = 0;
  readonly #links = new Set<string>();
  /** Pairs between which there is no path. */
  readonly #cuts = new Set<string>();
  readonly #queue: (() => void)[] = [];
  #isPumping = false;

  now(): Now {
    return { wallMs: this.wallMs, monotonicMs: this.monotonicMs };
  }

  /** The node that made the mesh. */
  founder(options: JoinOptions = {}): TestMember {
    const key = options.key ?? KeyPair.fromSeed(this.random.bytes(32));
    const certificate = issueCertificate({
      issuer: this.issuer,
      peerKey: key.publicKey,
      role: 'admin',
      nowMs: this.wallMs,
    });
    return this.#add(key, certificate, [], true, options);
  }

  /** A newcomer with an invite of `issuer`, the mesh key if absent, naming `at`. It is not linked to anybody yet. */
  newcomer(at: readonly TestMember[], options: JoinOptions = {}, issuer: Issuer = this.issuer): TestMember {
    const key = options.key ?? KeyPair.fromSeed(this.random.bytes(32));
    return this.redeemer(this.token(at, options, issuer), key, at, options);
  }

  /** The token of an invite that names `at`. */
  token(
    at: readonly TestMember[],
    options: Pick<JoinOptions, 'role' | 'invite'> = {},
    issuer: Issuer = this.issuer,
  ): string {
    const addresses = at.map(({ peer }) => `${addressOf(peer)}/p2p/${peer}`);
    const { token } = createInvite(
      {
        issuer,
        role: options.role ?? 'serve',
        ttlMs: dayMs,
        maxUses: 8,
        strict: false,
        addresses,
        ...options.invite,
      },
      { random: this.random, nowMs: this.wallMs },
    );
    return token;
  }

  /** A newcomer that has been given a token, and asks `at`. */
  redeemer(token: string, key: KeyPair, at: readonly TestMember[], options: JoinOptions = {}): TestMember {
    const certificate = redeem(parseToken(token), key, { nowMs: this.wallMs });
    return this.#add(key, certificate, at, false, options);
  }

  /** The same node in a new process. */
  restart(member: TestMember, memory: MembershipMemory | undefined, isFounder = false): TestMember {
    this.crash(member);
    const certificate =
      memory === undefined ? member.certificate : member.trust.certificate(memory.certificate);
    const options = { ...(memory === undefined ? {} : { memory }) };
    return this.#add(member.key, certificate, [], isFounder, options);
  }

  /** The process is gone; its links break. */
  crash(member: TestMember): void {
    this.members.delete(member.peer);
    for (const other of this.members.values()) {
      this.unlink(member, other);
    }
  }

  link(a: TestMember, b: TestMember): void {
    if (a !== b && !this.isLinked(a, b)) {
      this.#links.add(pairOf(a, b));
      // Both in one: what the first says must find the second linked.
      this.#later(() => {
        this.tell(a, { type: 'linked', peer: b.peer });
        this.tell(b, { type: 'linked', peer: a.peer });
      });
    }
  }

  unlink(a: TestMember, b: TestMember): void {
    if (this.#links.delete(pairOf(a, b))) {
      this.tell(a, { type: 'unlinked', peer: b.peer });
      this.tell(b, { type: 'unlinked', peer: a.peer });
    }
  }

  cut(a: TestMember, b: TestMember): void {
    this.#cuts.add(pairOf(a, b));
    this.unlink(a, b);
  }

  heal(a: TestMember, b: TestMember): void {
    this.#cuts.delete(pairOf(a, b));
  }

  isLinked(a: TestMember, b: TestMember): boolean {
    return this.#links.has(pairOf(a, b));
  }

  tell(member: TestMember, event: MembershipEvent): void {
    this.#later(() => {
      if (this.members.get(member.peer) === member) {
        this.#carryOut(member, member.machine.step(event, this.now()));
      }
    });
  }

  /** Lets time pass; every machine is woken when it wants to be. */
  pass(durationMs: number): void {
    const endMs = this.monotonicMs + durationMs;
    while (true) {
      const next = [...this.members.values()].sort((a, b) => a.machine.nextWakeMs - b.machine.nextWakeMs)[0];
      if (next === undefined || next.machine.nextWakeMs > endMs) {
        this.#advance(endMs - this.monotonicMs);
        return;
      }
      this.#advance(Math.max(0, next.machine.nextWakeMs - this.monotonicMs));
      this.tell(next, { type: 'woken' });
    }
  }

  /** What a member sees of the others: name or peer id and status, sorted. */
  seenBy(member: TestMember): Record<PeerId, string> {
    return Object.fromEntries(
      member.machine.view(this.now()).map(({ record, status }) => [record.peerId, status]),
    );
  }

  #advance(durationMs: number): void {
    this.monotonicMs += durationMs;
    this.wallMs += durationMs;
  }

  #add(
    key: KeyPair,
    certificate: Certificate,
    at: readonly TestMember[],
    isFounder: boolean,
    options: JoinOptions,
  ): TestMember {
    const peer = key.peerId;
    const trust = new MeshTrust({ meshId: this.meshId, check: checkSignature });
    const init: MembershipInit = {
      identity: key,
      meshId: this.meshId,
      trust,
      check: checkSignature,
      certificate,
      role: options.role ?? certificate.role,
      facts: {
        ...noFacts,
        name: `node-${this.members.size}`,
        version: '1.0.0',
        addresses: [addressOf(peer)],
        ...options.facts,
      },
      bootstrap: at.map((other) => ({ peerId: other.peer, addresses: [addressOf(other.peer)] })),
      isFounder,
      random: this.random,
      ...(isFounder ? { issuer: this.issuer } : {}),
      ...(certificate.role === 'admin' && !isFounder
        ? { issuer: { meshId: this.meshId, key, certificate } }
        : {}),
      ...(options.memory === undefined ? {} : { memory: options.memory }),
    };
    const member = { peer, key, trust, certificate, machine: new Membership(init), notices: [] };
    this.members.set(peer, member);
    this.tell(member, { type: 'started' });
    return member;
  }

  #carryOut(member: TestMember, effects: readonly MembershipEffect[]): void {
    for (const effect of effects) {
      switch (effect.type) {
        case 'send':
          this.#deliver(member, effect.peer, encodeMessage(effect.message));
          break;
        case 'dial':
          this.#dial(member, effect.peer);
          break;
        case 'disconnect':
          this.#later(() => this.#unlinkPeer(member, effect.peer));
          break;
        case 'broadcast':
          this.#broadcast(member, effect.envelope);
          break;
        case 'notice':
          member.notices.push(effect.notice);
          break;
        case 'remember':
          break;
      }
    }
  }

  #deliver(from: TestMember, to: PeerId, bytes: Uint8Array): void {
    const target = this.members.get(to);
    if (this.losses > 0) {
      this.losses--;
      this.tell(from, { type: 'lost', peer: to });
    } else if (target !== undefined && this.isLinked(from, target)) {
      this.tell(target, { type: 'message', peer: from.peer, message: readMessage(bytes) });
    }
  }

  #dial(from: TestMember, to: PeerId): void {
    const target = this.members.get(to);
    if (target === undefined || this.#cuts.has(pairOf(from, target))) {
      this.tell(from, { type: 'dial-failed', peer: to, code: 'peer_unreachable', isTried: true });
    } else {
      this.#later(() => this.link(from, target));
    }
  }

  #unlinkPeer(member: TestMember, peer: PeerId): void {
    const other = this.members.get(peer);
    if (other !== undefined) {
      this.unlink(member, other);
    }
  }

  #broadcast(from: TestMember, envelope: Uint8Array): void {
    for (const member of this.broadcasts ? this.members.values() : []) {
      if (member !== from && this.isLinked(from, member)) {
        this.tell(member, { type: 'heard', peer: from.peer, envelope });
      }
    }
  }

  #later(task: () => void): void {
    this.#queue.push(task);
    if (this.#isPumping) {
      return;
    }
    this.#isPumping = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      next();
    }
    this.#isPumping = false;
  }
}

/** A made-up address that is this peer's alone. */
function addressOf(peer: PeerId): string {
  const port = 1024 + ([...peer].reduce((sum, character) => sum * 31 + character.charCodeAt(0), 7) % 60_000);
  return `/ip4/127.0.0.1/tcp/${port}`;
}

function pairOf(a: TestMember, b: TestMember): string {
  return [a.peer, b.peer].sort().join();
}
