// Every inbound stream's way in: the connection's guard, the gate, the limits of its protocol, its handler. Streams
// of libp2p's own services pass the first two.
import type { Connection, StreamHandler as Libp2pHandler, Stream } from '@libp2p/interface';
import { protocols } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import type { Logger } from '../util/logging.ts';
import { ConnectionGuard } from './connection-guard.ts';
import type { Admission } from './gated-registrar.ts';
import type { Gate } from './network.ts';
import { MuxedStream } from './peer-stream.ts';
import { ServedProtocols } from './served-protocols.ts';

export class InboundStreams {
  readonly #gate: Gate;
  readonly #clock: Clock;
  readonly #served: ServedProtocols;
  readonly #guards = new WeakMap<Connection, ConnectionGuard>();
  /** Inbound connections whose peer was no member when last looked at, oldest first. */
  readonly #strangers = new Set<Connection>();

  constructor(gate: Gate, clock: Clock, log: Logger) {
    this.#gate = gate;
    this.#clock = clock;
    this.#served = new ServedProtocols(clock, log);
  }

  /** Guards a connection from now on: to be called within its 'connection:open' event. */
  watch(connection: Connection): void {
    const peer = connection.remotePeer.toString();
    const guard = new ConnectionGuard(connection, () => this.#isAdmitted(peer), this.#clock);
    this.#guards.set(connection, guard);
    if (connection.direction === 'inbound') {
      this.#strangers.add(connection);
      connection.addEventListener('close', () => this.#strangers.delete(connection));
      this.#closeSurplusStrangers();
    }
  }

  /** What libp2p is to call for streams of `protocol`, behind the gate. */
  handler<Protocol extends string>(
    protocol: Protocol,
    handler: (stream: MuxedStream<Protocol>) => Promise<void>,
    streamsPerPeer: number,
  ): Libp2pHandler {
    const serve = this.#served.add(protocol, handler, streamsPerPeer);
    return (stream, connection) => {
      const peer = connection.remotePeer.toString();
      const unreadLimit = this.#isAdmitted(peer) ? netLimits.unreadBytes : netLimits.unadmittedBytes;
      if (!serve(new MuxedStream(stream, peer, protocol, { link: connection.id, unreadLimit }))) {
        this.#guards.get(connection)?.offended();
      }
    };
  }

  readonly admits: Admission = (protocol, stream, connection) => {
    const peer = connection.remotePeer.toString();
    const guard = this.#guards.get(connection);
    if (guard !== undefined && this.#gate(peer, protocol)) {
      guard.reached(stream);
      return true;
    }
    refuse(stream, peer, protocol);
    return false;
  };

  /** Strangers cannot take all connections: the newest wait longest. */
  #closeSurplusStrangers(): void {
    for (const connection of this.#strangers) {
      if (this.#strangers.size <= netLimits.strangers) {
        return;
      }
      this.#strangers.delete(connection);
      if (!this.#isAdmitted(connection.remotePeer.toString())) {
        connection.abort(
          new MeshnodeError('protocol_refused', 'There are too many peers that are no members.'),
        );
      }
    }
  }

  /** Any member may open a heartbeat, and nobody else. */
  #isAdmitted(peer: PeerId): boolean {
    return this.#gate(peer, protocols.heartbeat);
  }
}

/** The stream has reached no handler, which its guard counts when it closes. */
function refuse(stream: Stream, peer: PeerId, protocol: string): void {
  stream.abort(new MeshnodeError('protocol_refused', `${peer} may not open ${protocol}.`));
}
