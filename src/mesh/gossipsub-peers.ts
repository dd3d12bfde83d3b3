// Whom gossipsub talks to. Left to itself it opens a stream to everybody who names its protocol, admitted or not,
// one peer after the other, and never again once that has broken. Here it sees a registrar of ours, and gets its
// streams from us: for peers that are up, side by side, and anew when they break.
import type { Connection, Stream, StreamHandler, Topology } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import type { Registrar } from '../net/gated-registrar.ts';
import type { Libp2pComponents } from '../net/libp2p-node.ts';
import type { Gate } from '../net/network.ts';
import { openStream } from '../net/open-stream.ts';
import type { PeerId } from '../trust/keys.ts';
import type { Clock, Timer } from '../util/clock.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { gossipsubLimits } from '../util/limits/mesh.ts';
import type { Logger } from '../util/logging.ts';

/** What this node opens; gossipsub serves older ones too. */
export const gossipsubProtocol = '/meshsub/1.2.0';

export interface GossipsubPeersInit {
  readonly components: Libp2pComponents;
  readonly gate: Gate;
  readonly clock: Clock;
  readonly log: Logger;
}

export class GossipsubPeers {
  /** For gossipsub, instead of libp2p's. */
  readonly registrar: Registrar;
  readonly #init: GossipsubPeersInit;
  /** What gossipsub wants to be told of peers. */
  #topology: Topology | undefined;
  readonly #admitted = new Set<PeerId>();
  readonly #silenced = new Set<PeerId>();
  readonly #opening = new Set<PeerId>();
  /** Gossipsub's, both ways: one each if all is well, more while streams or links replace each other. */
  readonly #streams = new Map<PeerId, Set<Stream>>();
  readonly #stopping = new AbortController();
  #tending: Timer | undefined;

  constructor(init: GossipsubPeersInit) {
    this.#init = init;
    this.registrar = this.#ownRegistrar(init.components.registrar);
    this.#tendLater();
  }

  admit(peer: PeerId): void {
    if (this.#init.gate(peer, gossipsubProtocol)) {
      this.#admitted.add(peer);
      this.#silenced.delete(peer);
      this.#tend(peer);
    }
  }

  drop(peer: PeerId): void {
    this.#admitted.delete(peer);
    this.#silenced.delete(peer);
    this.#cut(peer, new MeshnodeError('protocol_refused', 'The peer is up no more.'));
  }

  /** A peer floods us: neither talks to it nor listens to it until it is admitted anew. */
  silence(peer: PeerId): void {
    if (this.#silenced.has(peer)) {
      return;
    }
    this.#init.log.warn({ peer }, 'a peer floods the mesh with broadcasts and is heard no more');
    this.#admitted.delete(peer);
    this.#silenced.add(peer);
    this.#cut(peer, new MeshnodeError('protocol_refused', 'The peer says too much.'));
  }

  /** Listens no more and opens nothing; what gossipsub still has to say may leave. */
  stop(): void {
    const cause = new MeshnodeError('shutting_down', 'The node is stopping.');
    this.#stopping.abort(cause);
    this.#tending?.cancel();
    this.#abortAll((stream) => stream.direction === 'inbound', cause);
  }

  /** What is not said by now is not said. */
  abort(cause: Error): void {
    this.#abortAll(() => true, cause);
  }

  #ownRegistrar(registrar: Registrar): Registrar {
    const own: Pick<Registrar, 'handle' | 'register' | 'unregister'> = {
      handle: (protocol, handler, options) =>
        registrar.handle(
          protocol,
          (stream, connection) => this.#receive(stream, connection, handler),
          options,
        ),
      // Not handed on: libp2p knows nothing of who is admitted.
      register: async (_protocol, topology) => {
        this.#topology = topology;
        return '';
      },
      unregister: () => {},
    };
    return new Proxy(registrar, {
      get: (target, property) => Reflect.get(property in own ? own : target, property),
    });
  }

  #receive(stream: Stream, connection: Connection, handler: StreamHandler): void | Promise<void> {
    const peer = connection.remotePeer.toString();
    if (this.#silenced.has(peer) || this.#stopping.signal.aborted) {
      stream.abort(new MeshnodeError('protocol_refused', 'Nothing more is heard of this peer.'));
      return;
    }
    this.#watch(peer, stream);
    return handler(
      stream,
      withNewStream(connection, () =>
        Promise.reject(new MeshnodeError('protocol_refused', 'Gossipsub opens nothing by itself.')),
      ),
    );
  }

  #tendLater(): void {
    this.#tending = this.#init.clock.after(
      gossipsubLimits.tendMs,
      () => {
        for (const peer of this.#admitted) {
          this.#tend(peer);
        }
        this.#tendLater();
      },
      { keepAlive: false },
    );
  }

  /** Makes way for new streams where gossipsub has given up old ones, and opens what is missing. */
  #tend(peer: PeerId): void {
    // Gossipsub leaves such a stream half open: its other side would write to nobody for ever.
    const isGivenUp = ({ writeStatus, readStatus, direction }: Stream): boolean =>
      writeStatus !== 'writable' ||
      (direction === 'inbound' && readStatus !== 'readable' && readStatus !== 'paused');
    this.#abort(peer, isGivenUp, new MeshnodeError('stream_broken', 'Gossipsub has given this stream up.'));
    const hasOutbound = this.#of(peer).some(
      (stream) => stream.direction === 'outbound' && !isGivenUp(stream),
    );
    if (!hasOutbound && !this.#opening.has(peer)) {
      void this.#open(peer);
    }
  }

  /** Never rejects. */
  async #open(peer: PeerId): Promise<void> {
    const { components, clock, log } = this.#init;
    const { signal } = this.#stopping;
    const connection = components.connectionManager
      .getConnections(peerIdFromString(peer))
      .find(({ status }) => status === 'open');
    if (connection === undefined || signal.aborted) {
      return;
    }
    this.#opening.add(peer);
    try {
      const stream = await openStream(connection, gossipsubProtocol, clock, signal);
      if (!this.#admitted.has(peer)) {
        stream.abort(new MeshnodeError('cancelled', 'The peer is up no more.'));
        return;
      }
      this.#watch(peer, stream);
      this.#told().onConnect?.(
        connection.remotePeer,
        withNewStream(connection, async () => stream),
      );
    } catch (thrown) {
      log.debug({ err: thrown, peer }, 'no stream for broadcasts');
    } finally {
      this.#opening.delete(peer);
    }
  }

  #cut(peer: PeerId, cause: Error): void {
    this.#told().onDisconnect?.(peerIdFromString(peer));
    this.#abort(peer, () => true, cause);
  }

  #abortAll(isMeant: (stream: Stream) => boolean, cause: Error): void {
    for (const peer of this.#streams.keys()) {
      this.#abort(peer, isMeant, cause);
    }
  }

  #abort(peer: PeerId, isMeant: (stream: Stream) => boolean, cause: Error): void {
    for (const stream of this.#of(peer).filter(isMeant)) {
      stream.abort(cause);
    }
  }

  #of(peer: PeerId): Stream[] {
    return [...(this.#streams.get(peer) ?? [])];
  }

  /** Remembers a stream for as long as it is open. */
  #watch(peer: PeerId, stream: Stream): void {
    const streams = this.#streams.get(peer) ?? new Set();
    this.#streams.set(peer, streams.add(stream));
    stream.addEventListener('close', () => {
      streams.delete(stream);
      if (streams.size === 0 && this.#streams.get(peer) === streams) {
        this.#streams.delete(peer);
      }
    });
  }

  #told(): Topology {
    assertInvariant(this.#topology !== undefined, 'gossipsub has been started');
    return this.#topology;
  }
}

function withNewStream(connection: Connection, newStream: Connection['newStream']): Connection {
  return new Proxy(connection, {
    get(target, property) {
      const value: unknown = property === 'newStream' ? newStream : Reflect.get(target, property);
      return typeof value === 'function' && property !== 'newStream' ? value.bind(target) : value;
    },
  });
}
