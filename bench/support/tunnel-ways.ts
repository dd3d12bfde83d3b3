// The ways a stream can take to the other process: our hosts over QUIC, TCP with TLS and TCP with Noise, and a plain
// TCP connection, which is what all of them are compared with.
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { HostOptions, Libp2pHost } from '../../src/net/host.ts';
import { StartedProcess } from '../../test/support/started-process.ts';
import { testHost } from '../../test/support/test-host.ts';
import { type Pipe, type ServiceName, SocketPipe, services } from './tunnel-service.ts';

export type StreamWay = 'quic' | 'tls' | 'noise';

export const hostOptions: Readonly<Record<StreamWay, Partial<HostOptions>>> = {
  quic: { transports: { quic: true, tcp: false } },
  tls: { transports: { quic: false, tcp: true }, encryption: ['tls'] },
  noise: { transports: { quic: false, tcp: true }, encryption: ['noise'] },
};

export interface Way {
  readonly name: string;
  open(service: ServiceName): Promise<Pipe>;
}

/** A host of the serving process. */
export interface PeerAt {
  readonly peerId: string;
  readonly addresses: readonly string[];
}

export interface TunnelPeer {
  readonly process: StartedProcess;
  readonly at: Readonly<Record<StreamWay, PeerAt>>;
  /** Ports of plain TCP. */
  readonly ports: Readonly<Record<ServiceName, number>>;
}

export async function startTunnelPeer(): Promise<TunnelPeer> {
  const main = fileURLToPath(new URL('tunnel-peer.ts', import.meta.url));
  const started = new StartedProcess(process.execPath, [main]);
  const ready = (await started.event('ready')) as unknown as TunnelPeer['at'] & TunnelPeer['ports'];
  return { process: started, at: ready, ports: ready };
}

/** A host that is linked to the other process, at `addresses` if they are not its own. */
export async function linkedHost(
  way: StreamWay,
  { peerId, addresses }: PeerAt,
): Promise<{ host: Libp2pHost; way: Way }> {
  const host = await testHost(hostOptions[way]);
  await host.dial(peerId, addresses);
  const name = way === 'quic' ? 'QUIC' : way === 'tls' ? 'TCP+TLS' : 'TCP+Noise';
  return { host, way: { name, open: (service) => host.open(peerId, services[service].protocol) } };
}

/** A connection for each stream, as whoever uses plain TCP does. */
export function plainTcp(ports: TunnelPeer['ports']): Way {
  return {
    name: 'plain TCP',
    async open(service) {
      const options = { host: '127.0.0.1', port: ports[service], noDelay: true, allowHalfOpen: true };
      const socket = connect(options);
      await once(socket, 'connect');
      return new SocketPipe(socket);
    },
  };
}
