// libp2p hosts that speak QUIC only, on loopback, with limits wide enough for a test: over our transport, or over
// the one that the native package ships, whose faults ours must not have.
import { quic as stockQuic } from '@chainsafe/libp2p-quic';
import { generateKeyPair } from '@libp2p/crypto/keys';
import {
  type ComponentLogger,
  type Connection,
  type Libp2p,
  type Logger,
  type Stream,
  stop,
  type Transport,
  type Upgrader,
} from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2pOptions } from 'libp2p';
import { onTestFinished } from 'vitest';
import { type QuicComponents, quic } from '../../src/net/quic/transport.ts';
import { Channel } from '../../src/util/async.ts';
import { systemClock } from '../../src/util/clock.ts';
import { assertInvariant } from '../../src/util/errors.ts';

export type QuicKind = 'ours' | 'stock';

/** The protocol of `openPair`. */
const protocol = '/test/1';

export function quicTransport(
  kind: QuicKind,
  maxInboundStreams?: number,
): (components: QuicComponents) => Transport {
  if (kind === 'stock') {
    // Idle as long as ours, so that what a test leaves behind is gone as soon.
    return stockQuic({ maxIdleTimeout: 3_500, keepAliveInterval: 1_000 });
  }
  return quic({ clock: systemClock, ...(maxInboundStreams === undefined ? {} : { maxInboundStreams }) });
}

/** Options for `createLibp2p`: listens on a free port of 127.0.0.1. */
export function quicHostOptions(kind: QuicKind = 'ours', maxInboundStreams?: number): Libp2pOptions {
  return {
    addresses: { listen: ['/ip4/127.0.0.1/udp/0/quic-v1'] },
    transports: [quicTransport(kind, maxInboundStreams)],
    connectionManager: { inboundConnectionThreshold: 1000, maxIncomingPendingConnections: 1000 },
    connectionMonitor: { enabled: false },
    connectionGater: { denyDialMultiaddr: () => false },
  };
}

/** A started host that stops with the test. */
export async function startQuicHost(kind: QuicKind = 'ours', maxInboundStreams?: number): Promise<Libp2p> {
  const host = await createLibp2p(quicHostOptions(kind, maxInboundStreams));
  onTestFinished(async () => {
    await host.stop();
  });
  return host;
}

/** The UDP port a host listens at. */
export function portOf(host: Libp2p): number {
  const udp = host
    .getMultiaddrs()[0]
    ?.getComponents()
    .find(({ name }) => name === 'udp');
  assertInvariant(udp?.value !== undefined, 'the host listens');
  return Number(udp.value);
}

export interface ConnectedHosts {
  readonly dialler: Libp2p;
  readonly listener: Libp2p;
  readonly connection: Connection;
  /** Opens a stream and resolves with both ends of it. The listener's is handed over in its handler. */
  openPair(options?: { signal?: AbortSignal }): Promise<[local: Stream, remote: Stream]>;
}

/** Two hosts, the first connected to the second. `dialAt` may lead the way past something in between. */
export async function connectQuicHosts(
  kind: QuicKind = 'ours',
  {
    dialAt,
    maxInboundStreams,
  }: { dialAt?: (port: number) => Promise<number>; maxInboundStreams?: number } = {},
): Promise<ConnectedHosts> {
  const [dialler, listener] = await Promise.all([
    startQuicHost(kind),
    startQuicHost(kind, maxInboundStreams),
  ]);
  const streams = new Channel<Stream>(1);
  const arrived = streams[Symbol.asyncIterator]();
  await listener.handle(protocol, (stream) => void streams.push(stream), { maxInboundStreams: 1000 });
  const port = (await dialAt?.(portOf(listener))) ?? portOf(listener);
  const connection = await dialler.dial(quicAddress(port, listener));
  return {
    dialler,
    listener,
    connection,
    openPair: async (options) => {
      const local = await connection.newStream(protocol, { maxOutboundStreams: 1000, ...options });
      const { value: remote } = await arrived.next();
      assertInvariant(remote !== undefined, 'the stream arrived');
      return [local, remote];
    },
  };
}

/** Where `host`, or whom its address says, answers at a loopback port. */
export function quicAddress(port: number, host?: Libp2p) {
  return multiaddr(`/ip4/127.0.0.1/udp/${port}/quic-v1${host === undefined ? '' : `/p2p/${host.peerId}`}`);
}

/** A transport without a host, stopped with the test. */
export async function bareTransport(kind: QuicKind) {
  const privateKey = await generateKeyPair('Ed25519');
  const transport = quicTransport(kind)({ privateKey, logger: silentLogger });
  onTestFinished(async () => {
    await stop(transport);
  });
  return { transport };
}

/** For dials that must not get so far. */
export const noUpgrader: Upgrader = {
  upgradeOutbound: () => Promise.reject(new Error('nothing was to be upgraded')),
  upgradeInbound: () => Promise.reject(new Error('nothing was to be upgraded')),
  createInboundAbortSignal: () => {
    throw new Error('nothing was to be upgraded');
  },
  getStreamMuxers: () => new Map(),
  getConnectionEncrypters: () => new Map(),
};

/** A logger for libp2p that says nothing. */
const silentLogger: ComponentLogger = { forComponent: () => silent };

const silent: Logger = Object.assign(() => {}, {
  error: () => {},
  trace: () => {},
  enabled: false,
  newScope: () => silent,
});
