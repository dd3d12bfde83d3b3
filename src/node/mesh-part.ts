// A node's part in its mesh while it runs: builds network, membership and shell, tells what happens as events, and
// ends them. Loaded after the API answers: it brings the network library.
import { isDeepStrictEqual } from 'node:util';
import { type Broadcast, noBroadcast } from '../mesh/broadcast.ts';
import { GossipsubBroadcast } from '../mesh/gossipsub-broadcast.ts';
import { Membership } from '../mesh/membership.ts';
import type { MembershipNotice } from '../mesh/membership-events.ts';
import type { MembershipMemory } from '../mesh/membership-memory.ts';
import { Mesh } from '../mesh/mesh.ts';
import type { LocalFacts, Neighbour } from '../mesh/record.ts';
import { createHost, type HostComponents, type HostOptions } from '../net/host.ts';
import type { Gate, Network } from '../net/network.ts';
import { expiryWarning } from '../trust/certificate.ts';
import { mayOpen } from '../trust/gate.ts';
import { parseToken, type Token } from '../trust/invite.ts';
import { checkSignature, type KeyPair, type MeshId, type PeerId } from '../trust/keys.ts';
import type { Role } from '../trust/roles.ts';
import { withTimeout } from '../util/async.ts';
import type { Clock, Timer } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { recordLimits } from '../util/limits/mesh.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import type { NodeConfig } from './config-schema.ts';
import { type EventLog, errorFields } from './events.ts';
import { listenOn } from './listen-port.ts';
import { type FactsSource, localFacts } from './local-facts.ts';
import { serveMeasure } from './measure.ts';
import { enterMesh, issuerOf, type MeshEntry } from './mesh-entry.ts';
import type { MeshFolder } from './mesh-folder.ts';
import { type MeshDispatch, MeshTraffic } from './mesh-traffic.ts';
import { PeerContacts } from './peer-contacts.ts';
import { PeerEvents, roundedMs } from './peer-events.ts';
import { PeerWatch } from './peer-watch.ts';

export interface MeshPartInit {
  readonly config: Pick<NodeConfig, 'client' | 'listenPort' | 'bind' | 'announce' | 'transport'>;
  /** The text of a token to join with. */
  readonly token: string | undefined;
  readonly folder: MeshFolder;
  readonly identity: KeyPair;
  /** What the node knows of itself at the moment. */
  readonly facts: () => FactsSource;
  readonly events: EventLog;
  /** This node must not go on: another process has its key. */
  readonly onConflict: (error: MeshnodeError) => void;
  /** Answers what peers ask, and is told of their models. */
  readonly dispatch: MeshDispatch;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** What runs between `start` and `stop`. */
export interface MeshParts {
  readonly network: Network;
  readonly membership: Membership;
  readonly mesh: Mesh;
  readonly watch: PeerWatch;
  readonly contacts: PeerContacts;
  readonly traffic: MeshTraffic;
}

export class MeshPart {
  readonly entry: MeshEntry;
  readonly #init: MeshPartInit;
  #parts: MeshParts | undefined;
  #hasJoined = false;
  #expelled: MeshnodeError | undefined;
  #toldFacts: LocalFacts | undefined;
  #hasWarned = false;
  #look: Timer | undefined;
  #hasLeft = false;
  #saving: Promise<void> = Promise.resolve();

  private constructor(init: MeshPartInit, entry: MeshEntry) {
    this.#init = init;
    this.entry = entry;
  }

  /**
   * Reads what the folder and the token say. Rejects with `token_invalid`, `config_invalid` or as enterMesh; nothing
   * is written, and nothing runs yet.
   */
  static async prepare(init: MeshPartInit): Promise<MeshPart> {
    const { folder, identity, random, clock, config } = init;
    const token: Token | undefined = init.token === undefined ? undefined : parseToken(init.token);
    const entry = enterMesh({
      identity,
      token,
      saved: await folder.membership(),
      meshKey: await folder.meshKey(),
      asClient: config.client,
      newMeshKey: () => random.bytes(32),
      nowMs: clock.wallMs(),
    });
    return new MeshPart(init, entry);
  }

  get meshId(): MeshId {
    return this.entry.meshId;
  }

  get role(): Role {
    return this.entry.role;
  }

  get state(): 'joining' | 'member' | 'expelled' {
    return this.#expelled !== undefined ? 'expelled' : this.#hasJoined ? 'member' : 'joining';
  }

  /** Why this node is out of the mesh, if it is. */
  get expelled(): MeshnodeError | undefined {
    return this.#expelled;
  }

  get isRunning(): boolean {
    return this.#parts !== undefined;
  }

  /** Throws `mesh_missing` unless the part runs. */
  get parts(): MeshParts {
    if (this.#parts === undefined) {
      throw new MeshnodeError('mesh_missing', 'This node takes part in no mesh at the moment.');
    }
    return this.#parts;
  }

  /**
   * Listens, and resolves when this node is a member. Rejects as Mesh.joined and createHost; nothing runs then.
   */
  async start(signal: AbortSignal): Promise<void> {
    try {
      await this.#join(signal);
    } catch (cause) {
      await this.stop();
      throw cause;
    }
    this.#hasJoined = true;
    const { name, version } = this.#init.facts();
    this.#init.events.emit({
      event: 'node',
      peerId: this.#init.identity.peerId,
      meshId: this.meshId,
      role: this.role,
      addresses: this.fullAddresses(),
      name,
      version,
    });
    this.#lookAround();
  }

  async #join(signal: AbortSignal): Promise<void> {
    const { folder } = this.#init;
    const { mesh, membership } = await this.#build();
    signal.throwIfAborted();
    if (this.entry.isFounder && this.entry.meshKey !== undefined) {
      await folder.saveMeshKey(this.entry.meshKey.seed);
    }
    mesh.onNotice((notice) => this.#hear(notice));
    await mesh.start();
    await mesh.joined(signal);
    // Later writings may fail and come again; a node that could not keep its membership has not joined.
    await this.#save(membership.memory());
  }

  /** Where others can dial this node, its peer id included. */
  fullAddresses(): string[] {
    const { network } = this.parts;
    return network.addresses().map((address) => `${address}/p2p/${network.peerId}`);
  }

  /** Tells the mesh if what this node says of itself has changed. */
  refreshFacts(): void {
    if (this.#parts !== undefined) {
      const facts = this.#facts(this.#parts.network);
      if (!isDeepStrictEqual(facts, this.#toldFacts)) {
        this.#toldFacts = facts;
        this.#parts.mesh.setFacts(facts);
      }
    }
  }

  /** Leaves the mesh for good: tells it, takes no more part, forgets it. */
  async leave(): Promise<void> {
    const { mesh } = this.parts;
    const neighbours = mesh.members().filter(({ isUp }) => isUp);
    await mesh.leave();
    // A round trip behind the last word: by then it has arrived.
    await Promise.all(neighbours.map(({ record }) => this.rttMs(record.peerId)));
    await this.#drain();
    this.#hasLeft = true;
    await this.stop();
    await this.#init.folder.forgetMesh();
  }

  /** Whoever was promised an answer gets it, if that does not take long. */
  async #drain(): Promise<void> {
    const { clock } = this.#init;
    const late = (): MeshnodeError => new MeshnodeError('shutting_down', 'The node leaves its mesh.');
    const drained = this.parts.traffic.drain();
    await withTimeout(clock, nodeLimits.drainMs, drained, late).catch(() => {}); // They are told so.
  }

  /** Ends the part; the mesh is told nothing, for the node may come back. Never rejects. */
  async stop(): Promise<void> {
    const parts = this.#parts;
    this.#parts = undefined;
    this.#look?.cancel();
    if (parts !== undefined) {
      const { clock, log } = this.#init;
      const slow = (): MeshnodeError => new MeshnodeError('internal', 'The network was slow to close.');
      const closing = parts.traffic
        .stop()
        .finally(() => parts.mesh.stop())
        .finally(() => parts.network.close());
      await withTimeout(clock, nodeLimits.networkCloseMs, closing, slow).catch((err: unknown) =>
        log.warn({ err }, 'the network did not close cleanly'),
      );
    }
  }

  /** One writing after the other. What is not a membership yet, or no more, leaves nothing behind. */
  #save(memory: MembershipMemory): Promise<void> {
    const saving = this.#saving
      .catch(() => {}) // Told to whoever asked for it.
      .then(async () => {
        if (memory.hasJoined && !this.#hasLeft) {
          await this.#init.folder.saveMembership({ meshId: this.meshId, memory });
        }
      });
    this.#saving = saving;
    return saving;
  }

  async #build(): Promise<MeshParts> {
    const { identity, dispatch, clock, random, log } = this.#init;
    const { entry } = this;
    let membership: Membership | undefined;
    const gate: Gate = (peer, protocol) => bothMayOpen(protocol, membership?.roleOf(peer), entry.role);
    const gossipsub = new GossipsubBroadcast({ gate, clock, log });
    const isClient = entry.role === 'client';
    const network = await this.#listen(gate, isClient ? {} : { gossipsub: gossipsub.service });
    const broadcast: Broadcast = isClient ? noBroadcast : gossipsub;
    const facts = this.#facts(network);
    this.#toldFacts = facts;
    const { memory, ...begin } = entry;
    const issuer = issuerOf(entry, identity, entry.certificate);
    membership = new Membership({
      ...begin,
      ...(memory === undefined ? {} : { memory }),
      ...(issuer === undefined ? {} : { issuer }),
      identity,
      facts,
      check: checkSignature,
      random,
      loads: () => dispatch.loads(),
    });
    serveMeasure(network, clock);
    const contacts = new PeerContacts(clock);
    const mesh = new Mesh({
      membership,
      network,
      broadcast,
      remember: (memory) => this.#save(memory),
      bootstrap: entry.bootstrap.map(({ peerId }) => peerId),
      isClient,
      contacts,
      clock,
      log,
    });
    const peerEvents = new PeerEvents({
      rttMs: (peer) => mesh.vitals(peer)?.rtt?.p50Ms,
      measure: (peer) => this.rttMs(peer),
      emit: (fact) => this.isRunning && this.#init.events.emit(fact),
    });
    const watch = new PeerWatch({
      self: network.peerId,
      members: () => mesh.members(),
      tell: (change) => peerEvents.tell(change),
    });
    const isUp = (peer: PeerId): boolean => membership.isUp(peer);
    const traffic = new MeshTraffic({ network, mesh, isUp, dispatch, isClient, clock, random, log });
    this.#parts = { network, membership, mesh, watch, contacts, traffic };
    return this.#parts;
  }

  #listen(gate: Gate, services: NonNullable<HostOptions['services']>): Promise<Network> {
    const { config, folder, identity, clock, random, log } = this.#init;
    const { bind, announce, listenPort, transport } = config;
    const open = (port: number): Promise<Network> =>
      openHost(
        transport,
        {
          keySeed: identity.seed,
          listen: { port, ...(bind === undefined ? {} : { host: bind }) },
          announce,
          gate,
          services,
        },
        { clock, random, log: log.child({ part: 'net' }) },
      );
    return listenOn(listenPort, folder, open);
  }

  #facts(network: Network): LocalFacts {
    return localFacts(this.#init.facts(), network.addresses(), this.#distances());
  }

  /** How far away the neighbours are, the nearest first. */
  #distances(): Neighbour[] {
    const { mesh } = this.#parts ?? {};
    const distances = (mesh?.members() ?? []).flatMap(({ record: { peerId }, isUp }) => {
      const rtt = isUp ? mesh?.vitals(peerId)?.rtt : undefined;
      return rtt === undefined ? [] : [{ peerId, rttP50Ms: rtt.p50Ms, rttP95Ms: rtt.p95Ms }];
    });
    return distances.sort((a, b) => a.rttP50Ms - b.rttP50Ms).slice(0, recordLimits.neighbours);
  }

  #hear(notice: MembershipNotice): void {
    this.#parts?.contacts.hear(notice);
    this.#parts?.watch.hear(notice);
    if (notice.type === 'key-conflict') {
      this.#init.onConflict(
        new MeshnodeError(
          'key_conflict',
          'Another process takes part in the mesh with the key of this node.',
        ),
      );
    } else if (notice.type === 'joined') {
      this.#expelled = undefined; // In again: the clock was wrong, or the revocation.
    } else if (notice.type === 'expelled') {
      this.#expelled = new MeshnodeError(notice.code, notice.message);
      this.#init.events.emit({ event: 'error', ...errorFields(this.#expelled) });
    } else if (notice.type === 'rejected') {
      const { peer, code, message } = notice;
      // While this node joins, it is the one that has come to the wrong door, and its caller is told so.
      const level = this.#hasJoined ? 'info' : 'debug';
      this.#init.log[level]({ peer, code }, `a peer was not let in: ${message}`);
    }
  }

  /** One round trip; undefined if the peer is slow to answer, or none of ours. */
  async rttMs(peer: PeerId): Promise<number | undefined> {
    const { clock } = this.#init;
    const slow = (): MeshnodeError => new MeshnodeError('peer_unreachable', 'The peer is slow to answer.');
    const ping = this.parts.network.ping(peer);
    const rttMs = await withTimeout(clock, nodeLimits.shownRttMs, ping, slow).catch(() => undefined);
    return rttMs === undefined ? undefined : roundedMs(rttMs);
  }

  /** Looks now and then at what changes without anybody saying so. */
  #lookAround(): void {
    this.refreshFacts();
    this.#warnOfExpiry();
    const again = (): void => this.#lookAround();
    this.#look = this.#init.clock.after(nodeLimits.meshLookMs, again, { keepAlive: false });
  }

  #warnOfExpiry(): void {
    const { clock, events, log } = this.#init;
    const { certificate } = this.parts.membership;
    if (this.#hasWarned || this.#expelled !== undefined || !expiryWarning(certificate, clock.wallMs())) {
      return;
    }
    this.#hasWarned = true;
    const end = new Date(certificate.expiresMs).toISOString();
    const message = `The membership of this node ends at ${end}.`;
    const hint = 'An admin that is online renews it; else join again with a new invite before.';
    log.warn({ end }, message);
    events.emit({ event: 'warning', message, hint });
  }
}

/** A stream is for the roles of both ends: neither opens what it may not, nor takes it from one that may not. */
function bothMayOpen(protocol: string, theirs: Role | undefined, own: Role): boolean {
  return mayOpen(theirs, protocol) && mayOpen(own, protocol);
}

/** The wanted transports; of all, those that there is a library for. */
async function openHost(
  transport: NodeConfig['transport'],
  options: Omit<HostOptions, 'transports'>,
  components: HostComponents,
): Promise<Network> {
  const transports = { quic: transport !== 'tcp', tcp: transport !== 'quic' };
  try {
    return await createHost({ ...options, transports }, components);
  } catch (thrown) {
    const error = asMeshnodeError(thrown);
    if (error.code !== 'quic_unavailable' || transport === 'quic') {
      throw error;
    }
    components.log.warn({ err: error }, 'other nodes are reached over TCP alone');
    return createHost({ ...options, transports: { quic: false, tcp: true } }, components);
  }
}
