// The serving process of the tunnel bench: a host for each way streams can go, and plain TCP beside them. Prints
// where they are; ends on SIGTERM, and with whoever started it.
import { type AddressInfo, createServer } from 'node:net';
import { testHost } from '../../test/support/test-host.ts';
import { type ServiceName, SocketPipe, services } from './tunnel-service.ts';
import { hostOptions, type StreamWay } from './tunnel-ways.ts';

/** More than the bench has open at once, those that are still ending included. */
const streamsPerPeer = 1024;
const names = Object.keys(services) as ServiceName[];

async function serveStreams(way: StreamWay) {
  const host = await testHost(hostOptions[way]);
  for (const name of names) {
    const { protocol, serve } = services[name];
    host.handle(protocol, serve, { streamsPerPeer });
  }
  return { peerId: host.peerId, addresses: host.addresses() };
}

async function serveTcp(name: ServiceName): Promise<number> {
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    services[name].serve(new SocketPipe(socket)).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const ready = {
  event: 'ready',
  quic: await serveStreams('quic'),
  tls: await serveStreams('tls'),
  noise: await serveStreams('noise'),
  echo: await serveTcp('echo'),
  source: await serveTcp('source'),
};
process.stdout.write(`${JSON.stringify(ready)}\n`);
process.stdin.resume().once('end', () => process.exit());
