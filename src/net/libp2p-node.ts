// Assembles libp2p: encryption, muxer, limits, and the services that others bring. Of its own initiative it dials,
// reconnects, asks and announces nothing; listeners and dials are ours.
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import { type Identify, identify } from '@libp2p/identify';
import type {
  ComponentLogger,
  ConnectionEncrypter,
  Libp2p,
  Logger as LibraryLogger,
  MessageStream,
  SecureConnectionOptions,
  SecuredConnection,
  StreamMuxerFactory,
} from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { createLibp2p, type Libp2pOptions } from 'libp2p';
import { KeyPair } from '../trust/keys.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import { type Admission, gatedRegistrar } from './gated-registrar.ts';
import { handshakeGater } from './handshake-gater.ts';
import { quic } from './quic/transport.ts';
import { sparingUpdates } from './window-updates.ts';

/** What libp2p hands to its parts. */
export type Libp2pComponents = Parameters<NonNullable<Libp2pOptions['streamMuxers']>[number]>[0];

/** Makes a libp2p service, e.g. `gossipsub(options)`. Its `registrar` stands behind our gate. */
export type ServiceFactory = (components: Libp2pComponents) => unknown;

export const identifyProtocol = '/ipfs/id/1.0.0';

export type Encryption = 'tls' | 'noise';

export interface Libp2pNodeOptions {
  readonly keySeed: Uint8Array;
  readonly transports: { readonly quic: boolean; readonly tcp: boolean };
  /** Offered to and accepted from peers on TCP, best first. */
  readonly encryption: readonly Encryption[];
  readonly services: Readonly<Record<string, ServiceFactory>>;
  readonly admits: Admission;
  readonly clock: Clock;
}

export interface Libp2pNode {
  readonly node: Libp2p;
  /** What is registered through these is behind the gate. */
  readonly components: Libp2pComponents;
  readonly identify: Identify;
}

const encrypters = { tls: tls(), noise: noise() } as const;

/** A node that has not been started. */
export async function createLibp2pNode(options: Libp2pNodeOptions): Promise<Libp2pNode> {
  const inside = Promise.withResolvers<Omit<Libp2pNode, 'node'>>();
  const behindGate =
    (make: ServiceFactory): ServiceFactory =>
    (components) =>
      make(withGate(components, options.admits));
  const { seed, publicKey } = KeyPair.fromSeed(options.keySeed);
  const node = await createLibp2p({
    start: false,
    privateKey: privateKeyFromRaw(Buffer.concat([seed, publicKey])),
    logger: silentLogger,
    addresses: { listen: [] },
    transports: [
      ...(options.transports.tcp ? [tcp()] : []),
      ...(options.transports.quic ? [quic({ clock: options.clock })] : []),
    ],
    connectionEncrypters: options.encryption.map(
      (name) => (components) => new NamingEncrypter(encrypters[name](components)),
    ),
    streamMuxers: [() => new SafeMuxers(yamux(yamuxOptions)())],
    connectionManager: {
      maxConnections: netLimits.connections,
      inboundConnectionThreshold: netLimits.inboundPerSecond,
      maxIncomingPendingConnections: netLimits.pendingInbound,
      inboundUpgradeTimeout: netLimits.upgradeMs,
      inboundStreamProtocolNegotiationTimeout: netLimits.negotiationMs,
      outboundStreamProtocolNegotiationTimeout: netLimits.openMs,
      reconnectRetries: 0,
    },
    connectionGater: handshakeGater(),
    connectionMonitor: { enabled: false },
    services: {
      ...Object.fromEntries(Object.entries(options.services).map(([name, make]) => [name, behindGate(make)])),
      identify: behindGate((components) => {
        const service = identify({ runOnConnectionOpen: false })(components);
        inside.resolve({ components, identify: service });
        return service;
      }),
    },
  });
  return { node, ...(await inside.promise) };
}

const yamuxOptions = {
  maxInboundStreams: netLimits.streams,
  maxOutboundStreams: netLimits.streams,
  streamOptions: {
    maxStreamWindowSize: netLimits.windowBytes,
    maxReadBufferLength: netLimits.readBufferBytes,
  },
};

function withGate(components: Libp2pComponents, admits: Admission): Libp2pComponents {
  const registrar = gatedRegistrar(components.registrar, admits);
  return new Proxy(components, {
    get: (target, property) => (property === 'registrar' ? registrar : Reflect.get(target, property)),
  });
}

/**
 * Cuts a connection whose peer makes yamux answer, and reads none of the answers. Drops what yamux still sends over
 * one that has closed: it does so from events and microtasks of its own, where a throw would end the process.
 */
class SafeMuxers implements StreamMuxerFactory {
  readonly protocol: string;
  readonly #muxers: StreamMuxerFactory;

  constructor(muxers: StreamMuxerFactory) {
    this.protocol = muxers.protocol;
    this.#muxers = muxers;
  }

  createStreamMuxer(connection: MessageStream): ReturnType<StreamMuxerFactory['createStreamMuxer']> {
    connection.maxWriteBufferLength = netLimits.connectionUnsentBytes;
    const send = connection.send.bind(connection);
    let unsentFrames = 0;
    connection.send = (frame) => {
      if (connection.status !== 'open') {
        return true;
      }
      const flows = send(frame);
      unsentFrames = flows ? 0 : unsentFrames + 1;
      if (unsentFrames > netLimits.connectionUnsentFrames) {
        connection.abort(new MeshnodeError('stream_broken', 'The peer reads nothing of what it asks for.'));
      }
      return flows;
    };
    return sparingUpdates(this.#muxers.createStreamMuxer(connection));
  }
}

/** The message of the one failure of a handshake that must be told from others: libp2p keeps nothing but messages. */
export const wrongKeyMessage = 'another key answered';

/** Gives a wrong key the same message whatever encryption found it. */
class NamingEncrypter implements ConnectionEncrypter {
  readonly protocol: string;
  readonly #encrypter: ConnectionEncrypter;

  constructor(encrypter: ConnectionEncrypter) {
    this.protocol = encrypter.protocol;
    this.#encrypter = encrypter;
  }

  secureInbound(connection: MessageStream, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    return this.#encrypter.secureInbound(connection, options);
  }

  async secureOutbound(
    connection: MessageStream,
    options?: SecureConnectionOptions,
  ): Promise<SecuredConnection> {
    try {
      return await this.#encrypter.secureOutbound(connection, options);
    } catch (cause) {
      if (cause instanceof Error && cause.name === 'UnexpectedPeerError') {
        throw new MeshnodeError('peer_key_mismatch', wrongKeyMessage, { cause });
      }
      throw cause;
    }
  }
}

/** libp2p makes a logger for every stream; what it would say reaches us as errors. */
const silent: LibraryLogger = Object.assign(() => {}, {
  error: () => {},
  trace: () => {},
  enabled: false,
  newScope: () => silent,
});
const silentLogger: ComponentLogger = { forComponent: () => silent };
