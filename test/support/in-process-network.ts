// Networks in memory for tests: the same promises as the real host, no sockets, and links that a test can cut.
import type {
  Gate,
  HandlerOptions,
  Link,
  LinkEvent,
  Network,
  OpenOptions,
  PeerStream,
  StreamHandler,
} from '../../src/net/network.ts';
import { type Serve, ServedProtocols } from '../../src/net/served-protocols.ts';
import type { ProtocolId } from '../../src/trust/gate.ts';
import type { PeerId } from '../../src/trust/keys.ts';
import { Emitter } from '../../src/util/async.ts';
import { type Clock, systemClock } from '../../src/util/clock.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { type MemoryStream, memoryStreams } from './memory-stream.ts';

export interface InProcessOptions {
  readonly peerId: PeerId;
  /** Absent: everything is allowed. */
  readonly gate?: Gate;
}

/** Who can reach whom. */
export class InProcessNetworks {
  readonly #clock: Clock;
  readonly #byAddress = new Map<string, InProcessNetwork>();
  readonly #cuts = new Set<string>();
  #lastAddress = 0;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  create({ peerId, gate = () => true }: InProcessOptions): InProcessNetwork {
    this.#lastAddress++;
    const address = `/memory/${this.#lastAddress}`;
    const network = new InProcessNetwork(this, { peerId, address, gate, clock: this.#clock });
    this.#byAddress.set(address, network);
    return network;
  }

  /** Breaks the links between two peers, with their streams; they cannot dial each other until `heal`. */
  cut(one: PeerId, other: PeerId): void {
    this.#cuts.add(pairOf(one, other));
    for (const network of this.#byAddress.values()) {
      if (network.peerId === one) {
        network.breakLinks(other);
      }
    }
  }

  heal(one: PeerId, other: PeerId): void {
    this.#cuts.delete(pairOf(one, other));
  }

  /** Who answers at an address if `from` calls. */
  at(address: string, from: PeerId): InProcessNetwork | undefined {
    const network = this.#byAddress.get(address);
    return network === undefined || this.#cuts.has(pairOf(from, network.peerId)) ? undefined : network;
  }

  remove(address: string): void {
    this.#byAddress.delete(address);
  }
}

interface MemoryLink {
  readonly link: Link;
  readonly other: InProcessNetwork;
  /** Streams of this link; the other side has the same set. */
  readonly streams: Set<MemoryStream>;
}

interface NetworkParts {
  readonly peerId: PeerId;
  readonly address: string;
  readonly gate: Gate;
  readonly clock: Clock;
}

export class InProcessNetwork implements Network {
  readonly peerId: PeerId;
  readonly #networks: InProcessNetworks;
  readonly #parts: NetworkParts;
  readonly #links = new Map<PeerId, MemoryLink>();
  readonly #listeners = new Emitter<LinkEvent>();
  readonly #served: ServedProtocols;
  readonly #handlers = new Map<ProtocolId, Serve<PeerStream>>();

  constructor(networks: InProcessNetworks, parts: NetworkParts) {
    this.peerId = parts.peerId;
    this.#networks = networks;
    this.#parts = parts;
    this.#served = new ServedProtocols(parts.clock, silentLogger);
  }

  addresses(): readonly string[] {
    return [this.#parts.address];
  }

  links(): readonly Link[] {
    return [...this.#links.values()].map(({ link }) => link);
  }

  onLink(listener: (event: LinkEvent) => void): () => void {
    return this.#listeners.listen(listener);
  }

  handle(protocol: ProtocolId, handler: StreamHandler, options: HandlerOptions): void {
    this.#handlers.set(protocol, this.#served.add(protocol, handler, options.streamsPerPeer));
  }

  async dial(peer: PeerId, addresses: readonly string[], signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await Promise.resolve();
    if (this.#links.has(peer)) {
      return;
    }
    const answers = addresses.map((address) => this.#networks.at(address, this.peerId));
    const other = answers.find((network) => network?.peerId === peer);
    if (other === undefined || other === this) {
      const data = { attempts: addresses.map((address) => ({ address, reason: 'nobody answers' })) };
      throw answers.some((network) => network !== undefined)
        ? new MeshnodeError('peer_key_mismatch', 'Another peer answers.', { data })
        : new MeshnodeError('peer_unreachable', 'Nobody answers.', { data });
    }
    const streams = new Set<MemoryStream>();
    other.connect(this, 'inbound', streams);
    this.connect(other, 'outbound', streams);
  }

  async open(peer: PeerId, protocol: ProtocolId, { signal }: OpenOptions = {}): Promise<PeerStream> {
    signal?.throwIfAborted();
    this.#require(this.#parts.gate(peer, protocol), 'protocol_refused');
    await Promise.resolve();
    const linked = this.#linked(peer);
    this.#require(linked.other.serves(protocol), 'protocol_refused');
    const [stream, served] = memoryStreams(protocol, this.peerId, peer);
    for (const one of [stream, served]) {
      linked.streams.add(one);
      void one.closed.then(() => linked.streams.delete(one));
    }
    linked.other.accept(served);
    return stream;
  }

  async disconnect(peer: PeerId): Promise<void> {
    this.breakLinks(peer);
  }

  async ping(peer: PeerId, { signal }: OpenOptions = {}): Promise<number> {
    signal?.throwIfAborted();
    const startMs = this.#parts.clock.monotonicMs();
    await Promise.resolve();
    this.#linked(peer);
    return this.#parts.clock.monotonicMs() - startMs;
  }

  async close(): Promise<void> {
    this.#networks.remove(this.#parts.address);
    for (const peer of [...this.#links.keys()]) {
      this.breakLinks(peer);
    }
  }

  /** For the other side of a dial. */
  connect(other: InProcessNetwork, direction: Link['direction'], streams: Set<MemoryStream>): void {
    const link: Link = {
      id: `${this.peerId}-${other.peerId}`,
      peer: other.peerId,
      path: 'memory',
      direction,
      remoteAddress: other.addresses()[0] ?? '',
      openedMs: this.#parts.clock.wallMs(),
    };
    this.#links.set(other.peerId, { link, other, streams });
    this.#listeners.emit({ type: 'opened', link, remaining: 1 });
  }

  serves(protocol: ProtocolId): boolean {
    return this.#handlers.has(protocol);
  }

  /** A peer that is refused finds its stream aborted, as with the real host, which negotiates before it asks. */
  accept(stream: MemoryStream): void {
    if (this.#parts.gate(stream.peer, stream.protocol)) {
      this.#handlers.get(stream.protocol)?.(stream);
    } else {
      stream.abort(new MeshnodeError('protocol_refused', 'The gate is closed.'));
    }
  }

  breakLinks(peer: PeerId): void {
    const linked = this.#links.get(peer);
    if (linked === undefined) {
      return;
    }
    this.#links.delete(peer);
    for (const stream of [...linked.streams]) {
      stream.abort(new MeshnodeError('stream_broken', 'The link is gone.'));
    }
    linked.other.breakLinks(this.peerId);
    this.#listeners.emit({ type: 'closed', link: linked.link, remaining: 0 });
  }

  #linked(peer: PeerId): MemoryLink {
    const linked = this.#links.get(peer);
    this.#require(linked !== undefined, 'peer_unreachable');
    return linked;
  }

  #require(condition: boolean, code: 'protocol_refused' | 'peer_unreachable'): asserts condition {
    if (!condition) {
      throw new MeshnodeError(code, 'The in-process network says so.');
    }
  }
}

function pairOf(one: PeerId, other: PeerId): string {
  return [one, other].sort().join(' ');
}
