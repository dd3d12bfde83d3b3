// One UDP socket that accepts QUIC connections and hands them to libp2p's upgrader.
import { setMaxListeners } from 'node:events';
import {
  type Listener,
  type ListenerEvents,
  type Logger,
  TypedEventEmitter,
  type Upgrader,
} from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { Clock } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { quicLimits } from '../../util/limits/net.ts';
import { listeningAddresses, parseQuicAddress } from './addresses.ts';
import { QuicConnection } from './connection.ts';
import type { QuicEndpoint } from './endpoint.ts';
import type { NativeConnection, NativeServer } from './native.ts';

export interface QuicListenerInit {
  readonly endpoint: QuicEndpoint;
  readonly upgrader: Upgrader;
  readonly log: Logger;
  readonly clock: Clock;
  readonly maxInboundStreams: number;
}

/** What the native library says once a server accepts no more, be it by us or because its socket failed. */
const serverClosed = 'server closed';

export class QuicListener extends TypedEventEmitter<ListenerEvents> implements Listener {
  readonly #init: QuicListenerInit;
  readonly #connections = new Set<QuicConnection>();
  readonly #closing = new AbortController();
  #server: NativeServer | undefined;
  #address: Multiaddr | undefined;

  constructor(init: QuicListenerInit) {
    super();
    this.#init = init;
    setMaxListeners(Number.POSITIVE_INFINITY, this.#closing.signal);
  }

  /** Rejects with `quic_unavailable` or `port_in_use`. */
  async listen(address: Multiaddr): Promise<void> {
    const place = parseQuicAddress(address);
    if (place === undefined) {
      throw new MeshnodeError('config_invalid', `${address} is no QUIC address.`);
    }
    this.#server = await this.#init.endpoint.server(place.host, place.port).catch((cause: unknown) => {
      throw listenError(address, cause);
    });
    this.#address = address;
    for (let accepting = 0; accepting < quicLimits.accepts; accepting++) {
      void this.#acceptAll(this.#server);
    }
    this.safeDispatchEvent('listening');
  }

  getAddrs(): Multiaddr[] {
    return this.#server === undefined || this.#address === undefined
      ? []
      : listeningAddresses(this.#address, this.#server.port());
  }

  updateAnnounceAddrs(): void {}

  /** Closes every connection that came by the socket, in order, and then the socket. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === undefined) {
      return;
    }
    this.#server = undefined;
    this.#closing.abort();
    await Promise.all([...this.#connections].map((connection) => connection.closeAndWait()));
    await server.abort();
    this.safeDispatchEvent('close');
  }

  /** One of several side by side: a call covers the handshake too, and a peer that never goes on holds it up. */
  async #acceptAll(server: NativeServer): Promise<void> {
    while (this.#server === server) {
      try {
        this.#upgrade(await server.inboundConnection());
      } catch (cause) {
        if (cause instanceof Error && cause.message === serverClosed) {
          await this.close();
        }
        this.#init.log('a connection was not accepted - %e', cause);
      }
    }
  }

  #upgrade(native: NativeConnection): void {
    const { upgrader, log, clock, maxInboundStreams } = this.#init;
    const connection = new QuicConnection({ native, direction: 'inbound', log, clock, maxInboundStreams });
    this.#connections.add(connection);
    connection.addEventListener('close', () => this.#connections.delete(connection));
    const upgrade = upgrader.upgradeInbound(connection, {
      skipEncryption: true,
      skipProtection: true,
      remotePeer: connection.remotePeer,
      muxerFactory: connection.muxerFactory,
      signal: this.#closing.signal,
    });
    upgrade.catch((cause: Error) => {
      log('%a was not admitted - %e', connection.remoteAddr, cause);
      connection.abort(cause);
    });
  }
}

function listenError(address: Multiaddr, cause: unknown): MeshnodeError {
  if (cause instanceof MeshnodeError) {
    return cause;
  }
  const said = cause instanceof Error ? cause.message : String(cause);
  return new MeshnodeError('port_in_use', `Cannot listen at ${address}: ${said}.`, { cause });
}
