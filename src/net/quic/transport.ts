// Our QUIC transport for libp2p: dials, and makes listeners, over the native library. Encryption, streams and the
// proof of who a peer is are QUIC's own; libp2p adds none.
import {
  AbortError,
  type ComponentLogger,
  type Connection,
  type CreateListenerOptions,
  type DialTransportOptions,
  type Listener,
  type Logger,
  type PrivateKey,
  type Startable,
  serviceCapabilities,
  type Transport,
  transportSymbol,
} from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import type { Multiaddr } from '@multiformats/multiaddr';
import { raceSignal } from '../../util/async.ts';
import type { Clock } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { quicLimits } from '../../util/limits/net.ts';
import { parseQuicAddress, type QuicAddress, quicAddresses } from './addresses.ts';
import { QuicConnection } from './connection.ts';
import { QuicEndpoint } from './endpoint.ts';
import { QuicListener } from './listener.ts';
import type { NativeClient, NativeConnection } from './native.ts';

export interface QuicOptions {
  readonly clock: Clock;
  /** Streams a peer may have open on one connection; QUIC makes it wait with more. */
  readonly maxInboundStreams?: number;
}

export interface QuicComponents {
  readonly privateKey: PrivateKey;
  readonly logger: ComponentLogger;
}

/**
 * The transport for `createLibp2p({ transports: [quic({ clock })] })`. Where the native library is missing, dialling
 * and listening reject with `quic_unavailable`; `loadNativeQuic` tells beforehand.
 */
export function quic(options: QuicOptions): (components: QuicComponents) => Transport {
  return (components) => new QuicTransport(components, options);
}

class QuicTransport implements Transport, Startable {
  readonly [transportSymbol] = true;
  readonly [Symbol.toStringTag] = 'quic';
  readonly [serviceCapabilities] = ['@libp2p/transport'];
  readonly listenFilter = quicAddresses;
  readonly dialFilter = quicAddresses;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #maxInboundStreams: number;
  readonly #endpoint: QuicEndpoint;
  readonly #clients = new Map<4 | 6, Promise<NativeClient>>();

  constructor(components: QuicComponents, options: QuicOptions) {
    this.#log = components.logger.forComponent('meshnode:quic');
    this.#clock = options.clock;
    this.#maxInboundStreams = options.maxInboundStreams ?? quicLimits.inboundStreams;
    this.#endpoint = new QuicEndpoint(components.privateKey, this.#maxInboundStreams);
  }

  start(): void {}

  stop(): void {}

  /** Closes the sockets dialled from: after `stop`, in which the host closes its connections in order. */
  async afterStop(): Promise<void> {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    for (const client of await Promise.allSettled(clients)) {
      if (client.status === 'fulfilled') {
        client.value.abort();
      }
    }
  }

  /**
   * Rejects with `peer_unreachable`, with `peer_key_mismatch` if another peer than the address names answers, with
   * `quic_unavailable`, or with libp2p's AbortError as soon as the signal aborts.
   */
  async dial(address: Multiaddr, options: DialTransportOptions): Promise<Connection> {
    const place = parseQuicAddress(address);
    if (place === undefined) {
      throw new MeshnodeError('peer_unreachable', `${address} is no QUIC address.`);
    }
    const connection = new QuicConnection({
      native: await this.#connect(address, place, options.signal),
      direction: 'outbound',
      log: this.#log,
      clock: this.#clock,
      maxInboundStreams: this.#maxInboundStreams,
    });
    try {
      requirePeer(connection, place);
      return await options.upgrader.upgradeOutbound(connection, {
        skipEncryption: true,
        skipProtection: true,
        remotePeer: connection.remotePeer,
        muxerFactory: connection.muxerFactory,
        signal: options.signal,
      });
    } catch (cause) {
      connection.abort(cause instanceof Error ? cause : new MeshnodeError('internal', String(cause)));
      throw cause;
    }
  }

  createListener(options: CreateListenerOptions): Listener {
    return new QuicListener({
      endpoint: this.#endpoint,
      upgrader: options.upgrader,
      log: this.#log,
      clock: this.#clock,
      maxInboundStreams: this.#maxInboundStreams,
    });
  }

  async #connect(address: Multiaddr, place: QuicAddress, signal: AbortSignal): Promise<NativeConnection> {
    if (signal.aborted) {
      throw new AbortError();
    }
    const client = await this.#client(place.family);
    const dialling = client.outboundConnection(place.host, place.port);
    try {
      return await raceSignal(dialling, signal);
    } catch (cause) {
      // A native dial cannot be called back: should it still succeed, nobody wants it.
      dialling.then(
        (late) => late.abort(),
        () => {},
      );
      throw signal.aborted ? new AbortError() : unreachable(address, cause);
    }
  }

  #client(family: 4 | 6): Promise<NativeClient> {
    const existing = this.#clients.get(family);
    if (existing !== undefined) {
      return existing;
    }
    const client = this.#endpoint.client(family);
    this.#clients.set(family, client);
    client.catch(() => this.#clients.delete(family));
    return client;
  }
}

function requirePeer(connection: QuicConnection, place: QuicAddress): void {
  if (place.peer !== undefined && !connection.remotePeer.equals(peerIdFromString(place.peer))) {
    throw new MeshnodeError(
      'peer_key_mismatch',
      `Expected ${place.peer} at ${place.host} port ${place.port}, but ${connection.remotePeer} answered.`,
    );
  }
}

function unreachable(address: Multiaddr, cause: unknown): MeshnodeError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return new MeshnodeError('peer_unreachable', `No QUIC connection to ${address}: ${said}.`, { cause });
}
