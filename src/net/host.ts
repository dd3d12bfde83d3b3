// The network of a real node: libp2p with our gate, limits, dialling and streams around it. Decides nothing about
// membership; it asks the gate for every stream, in both directions.
import { networkInterfaces } from 'node:os';
import type { Connection, Stream } from '@libp2p/interface';
import { CODE_P2P } from '@multiformats/multiaddr';
import type { ProtocolId } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import { background } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import { announcedAddresses, requireAnnounceable } from './addresses.ts';
import { Connector } from './connector.ts';
import { pathOf } from './dial-address.ts';
import type { Registrar } from './gated-registrar.ts';
import { InboundStreams } from './inbound-streams.ts';
import {
  createLibp2pNode,
  type Encryption,
  identifyProtocol,
  type Libp2pNode,
  type ServiceFactory,
} from './libp2p-node.ts';
import { isSilent, LinkPulse } from './link-pulse.ts';
import { doubtfulBeside, type LinkedConnection, Links } from './links.ts';
import { Listening, type ListenOptions } from './listening.ts';
import type {
  Gate,
  HandlerOptions,
  Link,
  LinkEvent,
  Network,
  OpenOptions,
  PathKind,
  PeerStream,
  StreamHandler,
} from './network.ts';
import { asStreamError, openStream } from './open-stream.ts';
import { PathPolicy } from './path-policy.ts';
import { MuxedStream } from './peer-stream.ts';
import { echo, pingProtocol, RepeatedPing, roundTripMs } from './ping.ts';

export interface HostOptions {
  /** 32 bytes of secret randomness: the node's key. */
  readonly keySeed: Uint8Array;
  readonly listen: ListenOptions;
  /** Multiaddrs at which the owner says this node can be dialled. */
  readonly announce: readonly string[];
  readonly transports: { readonly quic: boolean; readonly tcp: boolean };
  /** Who may open what. A peer that may open heartbeats counts as a member. */
  readonly gate: Gate;
  /** libp2p services beside identify, e.g. gossipsub, each behind the gate. */
  readonly services?: Readonly<Record<string, ServiceFactory>>;
  /** For TCP, best first; TLS before Noise if absent. */
  readonly encryption?: readonly Encryption[];
}

export interface HostComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Whoever measures paths shares it with the host. Absent: the host's pings alone feed one. */
  readonly pathPolicy?: PathPolicy;
}

/** A host that listens. Rejects with `port_in_use`, `quic_unavailable` or `config_invalid`. */
export async function createHost(options: HostOptions, components: HostComponents): Promise<Libp2pHost> {
  options.announce.forEach(requireAnnounceable);
  const inbound = new InboundStreams(options.gate, components.clock, components.log);
  const libp2p = await createLibp2pNode({
    keySeed: options.keySeed,
    transports: options.transports,
    encryption: options.encryption ?? ['tls', 'noise'],
    services: options.services ?? {},
    admits: inbound.admits,
    clock: components.clock,
  });
  const listening = new Listening(libp2p.components);
  const host = new Libp2pHost(options, components, { libp2p, inbound, listening });
  try {
    await libp2p.node.start();
    await listening.open(options.listen, [
      ...(options.transports.tcp ? (['tcp'] as const) : []),
      ...(options.transports.quic ? (['quic'] as const) : []),
    ]);
  } catch (cause) {
    await host.close();
    throw cause;
  }
  return host;
}

interface HostParts {
  readonly libp2p: Libp2pNode;
  readonly inbound: InboundStreams;
  readonly listening: Listening;
}

export class Libp2pHost implements Network {
  readonly peerId: PeerId;
  readonly #options: HostOptions;
  readonly #components: HostComponents;
  readonly #parts: HostParts;
  readonly #policy: PathPolicy;
  readonly #registrar: Registrar;
  readonly #links: Links;
  readonly #connector: Connector;
  #closing: Promise<void> | undefined;

  constructor(options: HostOptions, components: HostComponents, parts: HostParts) {
    const { node, components: inside } = parts.libp2p;
    this.peerId = node.peerId.toString();
    this.#options = options;
    this.#components = components;
    this.#parts = parts;
    this.#policy = components.pathPolicy ?? new PathPolicy();
    this.#registrar = inside.registrar;
    this.#links = new Links(components.log);
    this.#connector = new Connector(inside, this.#links, components.clock);
    node.addEventListener('connection:open', (event) => this.#onOpen(event.detail));
    node.addEventListener('connection:close', (event) => this.#onClose(event.detail));
    this.#register(pingProtocol, echo, { streamsPerPeer: netLimits.pingsPerPeer });
  }

  addresses(): readonly string[] {
    const interfaces = Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
      addresses.map(({ address, internal }) => ({ name, address, internal })),
    );
    return announcedAddresses(interfaces, this.#parts.listening.sockets, this.#options.announce);
  }

  links(): readonly Link[] {
    return this.#links.all().map(({ link }) => link);
  }

  onLink(listener: (event: LinkEvent) => void): () => void {
    return this.#links.listen(listener);
  }

  handle(protocol: ProtocolId, handler: StreamHandler, options: HandlerOptions): void {
    this.#register<ProtocolId>(protocol, handler, options);
  }

  dial(peer: PeerId, addresses: readonly string[], signal?: AbortSignal): Promise<void> {
    return this.#link(peer, addresses, undefined, signal);
  }

  /** As `dial`, over `path`: does nothing only if the peer is linked by it. */
  addPath(peer: PeerId, addresses: readonly string[], path: PathKind, signal?: AbortSignal): Promise<void> {
    return this.#link(peer, addresses, path, signal);
  }

  async open(peer: PeerId, protocol: ProtocolId, options: OpenOptions = {}): Promise<PeerStream> {
    const { connection, link } = this.#choose(peer, options);
    const stream = await this.#open(connection, protocol, options.signal);
    return new MuxedStream(stream, peer, protocol, { link: link.id });
  }

  async disconnect(peer: PeerId): Promise<void> {
    const cause = new MeshnodeError('stream_broken', 'This node has closed the connection.');
    for (const { connection } of this.#links.to(peer)) {
      connection.abort(cause);
    }
  }

  async ping(peer: PeerId, options: OpenOptions = {}): Promise<number> {
    return this.#ping(this.#choose(peer, options), options.signal);
  }

  /**
   * Asks an admitted peer for its protocols, which tells libp2p's services (gossipsub) that they may talk to it:
   * nothing does so by itself. Rejects with `peer_unreachable`, `protocol_refused` or `stream_broken`.
   */
  async identify(peer: PeerId, signal?: AbortSignal): Promise<void> {
    const { connection } = this.#choose(peer);
    this.#requireOpen(peer, identifyProtocol);
    try {
      await this.#parts.libp2p.identify.identify(connection, signal === undefined ? {} : { signal });
    } catch (cause) {
      signal?.throwIfAborted();
      throw asStreamError(cause, identifyProtocol);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const { libp2p, listening } = this.#parts;
    const cause = new MeshnodeError('shutting_down', 'This node is stopping.');
    for (const { connection } of this.#links.all()) {
      connection.abort(cause);
    }
    await listening.close();
    await libp2p.node.stop();
  }

  #register<Protocol extends string>(
    protocol: Protocol,
    handler: (stream: MuxedStream<Protocol>) => Promise<void>,
    { streamsPerPeer }: HandlerOptions,
  ): void {
    const registering = this.#registrar.handle(
      protocol,
      this.#parts.inbound.handler(protocol, handler, streamsPerPeer),
      { maxInboundStreams: netLimits.streams, maxOutboundStreams: netLimits.streams },
    );
    background(registering, `serve ${protocol}`, this.#components.log);
  }

  async #link(
    peer: PeerId,
    addresses: readonly string[],
    path?: PathKind,
    signal?: AbortSignal,
  ): Promise<void> {
    this.#requireDialable(peer);
    await this.#connector.link(peer, addresses, path, signal);
  }

  #requireDialable(peer: PeerId): void {
    if (peer === this.peerId) {
      throw new MeshnodeError('peer_unreachable', 'That is this node itself.');
    }
    if (this.#closing !== undefined) {
      throw new MeshnodeError('shutting_down', 'This node is stopping.');
    }
  }

  #onOpen(connection: Connection): void {
    const linked = this.#linkOf(connection);
    const others = this.#links.to(linked.link.peer);
    if (this.#closing !== undefined || others.length >= netLimits.linksPerPeer) {
      connection.abort(new MeshnodeError('peer_unreachable', 'No more connections to this peer.'));
      return;
    }
    this.#parts.inbound.watch(connection);
    this.#links.add(linked);
    for (const doubtful of doubtfulBeside(linked, others)) {
      background(this.#closeIfSilent(doubtful), 'ask an older link', this.#components.log);
    }
    const ping = new RepeatedPing((signal) => this.#openPing(linked, signal), this.#components);
    new LinkPulse(connection, {
      clock: this.#components.clock,
      ping: async (signal) => this.#observe(linked, await ping.next(signal)),
    });
  }

  async #closeIfSilent(linked: LinkedConnection): Promise<void> {
    const ping = (signal: AbortSignal): Promise<number> => this.#ping(linked, signal);
    if (await isSilent(ping, netLimits.doubtMs, this.#components.clock)) {
      linked.connection.abort(new MeshnodeError('stream_broken', 'The peer has connected anew.'));
    }
  }

  #linkOf(connection: Connection): LinkedConnection {
    const { clock } = this.#components;
    return {
      connection,
      sinceMs: clock.monotonicMs(),
      link: {
        id: connection.id,
        peer: connection.remotePeer.toString(),
        path: pathOf(connection.remoteAddr) ?? 'memory',
        direction: connection.direction,
        remoteAddress: connection.remoteAddr.decapsulateCode(CODE_P2P).toString(),
        openedMs: clock.wallMs(),
      },
    };
  }

  #onClose(connection: Connection): void {
    const closed = this.#links.remove(connection);
    if (closed === undefined) {
      return;
    }
    const { peer, path } = closed.link;
    if (this.#links.by(peer, path) === undefined) {
      this.#policy.lost(peer, path);
    }
    if (closed.remaining === 0) {
      // libp2p remembers every peer it ever met, strangers too.
      const forgetting = this.#parts.libp2p.node.peerStore.delete(connection.remotePeer);
      background(forgetting, 'forget a peer', this.#components.log);
    }
  }

  #choose(peer: PeerId, { path: wanted, link }: OpenOptions = {}): LinkedConnection {
    const links = this.#links.to(peer);
    const named = link === undefined ? undefined : links.find((one) => one.link.id === link);
    if (named !== undefined) {
      return named;
    }
    if (link !== undefined) {
      throw new MeshnodeError('peer_unreachable', `That link to ${peer} is gone.`);
    }
    const available = [...new Set(links.map(({ link }) => link.path))];
    const path =
      wanted !== undefined && available.includes(wanted)
        ? wanted
        : this.#policy.choose(peer, available, this.#components.clock.monotonicMs())?.path;
    const linked = path === undefined ? undefined : this.#links.by(peer, path);
    if (linked === undefined) {
      throw new MeshnodeError('peer_unreachable', `There is no link to ${peer}.`);
    }
    return linked;
  }

  async #ping(linked: LinkedConnection, signal: AbortSignal | undefined): Promise<number> {
    const stream = await this.#openPing(linked, signal);
    const rttMs = await roundTripMs(stream, this.#components, signal);
    this.#observe(linked, rttMs);
    stream.end(signal).catch((cause: Error) => stream.abort(cause));
    return rttMs;
  }

  async #openPing({ connection, link }: LinkedConnection, signal: AbortSignal | undefined) {
    const opened = await this.#open(connection, pingProtocol, signal);
    return new MuxedStream(opened, link.peer, pingProtocol);
  }

  #observe({ link }: LinkedConnection, rttMs: number): void {
    this.#policy.observe(link.peer, link.path, { rttMs }, this.#components.clock.monotonicMs());
  }

  #open(connection: Connection, protocol: string, signal: AbortSignal | undefined): Promise<Stream> {
    this.#requireOpen(connection.remotePeer.toString(), protocol);
    return openStream(connection, protocol, this.#components.clock, signal);
  }

  #requireOpen(peer: PeerId, protocol: string): void {
    if (!this.#options.gate(peer, protocol)) {
      throw new MeshnodeError('protocol_refused', `${protocol} may not be opened to ${peer}.`);
    }
  }
}
