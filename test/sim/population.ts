// The machines of one simulation and how they come to the mesh: who founds it, invites, joins, intrudes, revokes,
// and with what each of them starts.
import { Membership, type MembershipInit } from '../../src/mesh/membership.ts';
import type { MembershipMemory } from '../../src/mesh/membership-memory.ts';
import { type LocalFacts, noFacts } from '../../src/mesh/record.ts';
import { type Certificate, type Issuer, issueCertificate } from '../../src/trust/certificate.ts';
import { createInvite, parseToken, redeem } from '../../src/trust/invite.ts';
import { KeyPair, keyBytes, keyText, type MeshId, type SignatureCheck } from '../../src/trust/keys.ts';
import { MeshTrust } from '../../src/trust/mesh-trust.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import type { Chronicle, InviteFacts } from './chronicle.ts';
import { CredulousTrust, falseCertificate } from './intruder.ts';
import { randomStream } from './random-streams.ts';
import type { Action, IntruderKind, NodeNumber, Scenario } from './scenario.ts';
import { type MembershipWithTrust, SimulatedNode, type Surroundings } from './simulated-node.ts';
import { type ClockError, startOfTimeMs, type VirtualClock } from './virtual-clock.ts';

/** How a machine became a member, or wants to pass for one. */
interface Credentials {
  readonly certificate: Certificate;
  readonly isFounder: boolean;
  readonly bootstrap: MembershipInit['bootstrap'];
  readonly makeTrust: () => MeshTrust;
}

interface MadeInvite {
  readonly token: string;
  readonly facts: InviteFacts;
}

export interface PopulationInit {
  readonly scenario: Scenario;
  readonly surroundings: Surroundings;
  readonly chronicle: Chronicle;
  readonly check: SignatureCheck;
}

export class Population {
  readonly nodes: readonly SimulatedNode[];
  readonly meshId: MeshId;
  readonly #scenario: Scenario;
  readonly #clock: VirtualClock;
  readonly #chronicle: Chronicle;
  readonly #check: SignatureCheck;
  readonly #meshKey: KeyPair;
  readonly #clocks: ClockError[];
  readonly #credentials = new Map<NodeNumber, Credentials>();
  readonly #invites = new Map<number, MadeInvite>();
  readonly #makeTrust = () => new MeshTrust({ meshId: this.meshId, check: this.#check });

  constructor({ scenario, surroundings, chronicle, check }: PopulationInit) {
    const { seed } = scenario;
    this.#scenario = scenario;
    this.#clock = surroundings.clock;
    this.#chronicle = chronicle;
    this.#check = check;
    this.#meshKey = KeyPair.fromSeed(randomStream(seed, 'mesh key').bytes(keyBytes));
    this.meshId = keyText(this.#meshKey.publicKey);
    this.#clocks = scenario.nodes.map(({ clock }) => clock);
    this.nodes = scenario.nodes.map(({ listens }, number) => {
      const identity = KeyPair.fromSeed(randomStream(seed, `key of ${number}`).bytes(keyBytes));
      return new SimulatedNode({ name: `n${number}`, identity, listens, surroundings });
    });
  }

  /** The machine of that number. */
  node(number: NodeNumber): SimulatedNode {
    const node = this.nodes[number];
    if (node === undefined) {
      throw new RangeError(`There is no node ${number} in this scenario.`);
    }
    return node;
  }

  /** Number 0 makes the mesh and gives itself standing. */
  found(): void {
    const node = this.node(0);
    const issuer = { meshId: this.meshId, key: this.#meshKey };
    const nowMs = startOfTimeMs + (this.#clocks[0]?.skewMs ?? 0) - this.#scenario.ageMs;
    const certificate = issueCertificate({ issuer, peerKey: node.identity.publicKey, role: 'admin', nowMs });
    this.#credentials.set(0, { certificate, isFounder: true, bootstrap: [], makeTrust: this.#makeTrust });
    this.#chronicle.accepted(node.peer, undefined);
    this.#start(0);
  }

  /** A member that may makes an invite, which names whoever can be dialled. */
  invite({ invite, by, role, maxUses, strict, lifeMs }: Extract<Action, { type: 'invite' }>): void {
    const inviter = this.node(by);
    const issuer = this.#issuerOf(by);
    const addresses = this.#bootstrapAddresses();
    if (issuer === undefined || inviter.process === undefined || addresses.length === 0) {
      return;
    }
    const random = randomStream(this.#scenario.seed, `invite ${invite}`);
    const { ageMs } = this.#scenario;
    const nowMs = inviter.process.clock.now().wallMs - ageMs;
    const terms = { role, maxUses, strict, ttlMs: ageMs + lifeMs, addresses };
    const { token } = createInvite({ issuer, ...terms }, { random, nowMs });
    const takers = this.#scenario.actions.filter(
      ({ action }) => action.type === 'join' && action.invite === invite,
    );
    const isInviterSafe = this.#chronicle.inviteOf(inviter.peer)?.isGenerous !== false;
    const isGenerous = takers.length <= maxUses && !strict && lifeMs > this.#scenario.endMs && isInviterSafe;
    const contacts = parseToken(token).addresses.map(({ peerId }) => peerId);
    this.#invites.set(invite, {
      token,
      facts: { invite, by: inviter.peer, role, maxUses, isGenerous, contacts },
    });
  }

  /** A machine redeems an invite and starts. */
  join(number: NodeNumber, invite: number): void {
    const made = this.#invites.get(invite);
    const node = this.node(number);
    if (made === undefined || node.process !== undefined) {
      return;
    }
    const token = parseToken(made.token);
    try {
      // An old token was redeemed long ago; with a clock that is behind, not before it was made.
      const nowMs = Math.max(this.#wallMs(number) - this.#scenario.ageMs, token.issuedMs);
      const certificate = redeem(token, node.identity, { nowMs });
      const bootstrap = token.addresses.map(({ peerId, address }) => ({
        peerId,
        addresses: [address.slice(0, address.lastIndexOf('/p2p/'))],
      }));
      this.#credentials.set(number, { certificate, isFounder: false, bootstrap, makeTrust: this.#makeTrust });
      this.#chronicle.accepted(node.peer, made.facts);
    } catch (thrown) {
      if (thrown instanceof MeshnodeError && !made.facts.isGenerous) {
        return;
      }
      throw thrown;
    }
    this.#start(number);
  }

  /** A machine that was never invited starts with false credentials, knowing everybody's address. */
  intrude(number: NodeNumber, kind: IntruderKind): void {
    const { identity } = this.node(number);
    const founder = this.#credentials.get(0)?.certificate;
    if (founder === undefined) {
      return;
    }
    const random = randomStream(this.#scenario.seed, 'intruder');
    const certificate = falseCertificate(kind, identity, { founder, random });
    const trustInit = { meshId: certificate.meshId, check: this.#check };
    const bootstrap = this.nodes.flatMap(({ process, peer, address }) =>
      process === undefined || address === undefined ? [] : [{ peerId: peer, addresses: [address] }],
    );
    this.#credentials.set(number, {
      certificate,
      isFounder: true,
      bootstrap,
      makeTrust: () => new CredulousTrust(trustInit, certificate),
    });
    this.#start(number);
  }

  /** A machine that is down starts again, with as much memory as it was left. */
  restart({ node: number, memory: wanted, clock }: Extract<Action, { type: 'restart' }>): void {
    const node = this.node(number);
    const { memories, peer } = node;
    if (node.process !== undefined || !this.#credentials.has(number) || this.#chronicle.hasLeft(peer)) {
      return;
    }
    this.#clocks[number] = clock;
    // A revocation that nobody else has heard of must not be lost with the memory of who made it.
    const kept = this.#chronicle.hasRevoked(peer) ? 'all' : wanted;
    const index = { all: memories.length - 1, earlier: memories.length >> 1, none: -1 }[kept];
    this.#start(number, memories[index], kept === 'all' ? this.#chronicle.highestEpoch(peer) : undefined);
  }

  /** An admin throws a member out. */
  revoke(number: NodeNumber, by: NodeNumber): void {
    const [node, revoker] = [this.node(number), this.node(by)];
    const issuer = this.#issuerOf(by);
    const { process } = revoker;
    const isEqual = issuer?.certificate !== undefined && this.#issuerOf(number) !== undefined;
    if (issuer === undefined || isEqual || process?.membership.isMember !== true || process.isPaused) {
      return;
    }
    const target = { peerKey: node.identity.publicKey };
    const now = process.clock.now();
    const members = process.membership.view(now).map(({ certificate }) => certificate);
    const envelopes = process.trust.revoke(target, issuer, members, now.wallMs);
    this.#chronicle.revoked(node.peer, revoker.peer, this.#clock.nowMs);
    process.take({ type: 'publish', envelopes: envelopes.map(({ bytes }) => bytes) });
  }

  #start(number: NodeNumber, memory?: MembershipMemory, outlivedEpoch?: number): void {
    const credentials = this.#credentials.get(number);
    const clock = this.#clocks[number];
    if (credentials !== undefined && clock !== undefined) {
      const parts = this.#makeMembership(number, credentials, memory);
      this.node(number).start(clock, outlivedEpoch, parts);
    }
  }

  #makeMembership(
    number: NodeNumber,
    { certificate, isFounder, bootstrap, makeTrust }: Credentials,
    memory: MembershipMemory | undefined,
  ): MembershipWithTrust {
    const { identity } = this.node(number);
    const trust = makeTrust();
    const issuer = this.#issuerOf(number);
    const membership = new Membership({
      identity,
      meshId: certificate.meshId,
      trust,
      check: this.#check,
      certificate: memory === undefined ? certificate : trust.certificate(memory.certificate),
      // Everybody wants all there is; what a node may be is its certificate's to say.
      role: 'admin',
      facts: this.factsOf(number),
      bootstrap,
      isFounder,
      ...(memory === undefined ? {} : { memory }),
      ...(issuer === undefined ? {} : { issuer }),
      beats: this.#scenario.beats,
      random: randomStream(this.#scenario.seed, `thoughts of ${number} from ${this.#clock.nowMs}`),
    });
    return { membership, trust };
  }

  /** What a node says of itself now. */
  factsOf(number: NodeNumber): LocalFacts {
    const { name, address } = this.node(number);
    const addresses = address === undefined ? [] : [address];
    return { ...noFacts, name, version: `at ${this.#clock.nowMs}`, addresses };
  }

  /** With what a node signs invites and revocations; undefined: it may not. */
  #issuerOf(number: NodeNumber): Issuer | undefined {
    const { peer, identity } = this.node(number);
    if (number === 0) {
      return { meshId: this.meshId, key: this.#meshKey };
    }
    const certificate = this.#credentials.get(number)?.certificate;
    return certificate?.role === 'admin' && certificate.depth === 1 && this.#chronicle.isStanding(peer)
      ? { meshId: this.meshId, key: identity, certificate }
      : undefined;
  }

  #bootstrapAddresses(): string[] {
    return this.nodes
      .filter(({ process, peer }) => process !== undefined && this.#chronicle.isStanding(peer))
      .flatMap(({ address, peer }) => (address === undefined ? [] : [`${address}/p2p/${peer}`]))
      .slice(0, 8);
  }

  #wallMs(number: NodeNumber): number {
    return Math.round(startOfTimeMs + this.#clock.nowMs + (this.#clocks[number]?.skewMs ?? 0));
  }
}
