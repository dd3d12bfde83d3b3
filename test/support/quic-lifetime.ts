// A process that dials itself over QUIC, says what came back, stops, and must then end by itself.
import { generateKeyPair } from '@libp2p/crypto/keys';
import { createLibp2p } from 'libp2p';
import { quic } from '../../src/net/quic/transport.ts';
import { systemClock } from '../../src/util/clock.ts';

const start = async () =>
  createLibp2p({
    privateKey: await generateKeyPair('Ed25519'),
    addresses: { listen: ['/ip4/127.0.0.1/udp/0/quic-v1'] },
    transports: [quic({ clock: systemClock })],
    connectionGater: { denyDialMultiaddr: () => false },
  });

const [dialler, listener] = await Promise.all([start(), start()]);
await listener.handle('/test/1', (stream) => {
  stream.send(Buffer.from('hello'));
  stream.close().catch(() => {});
});
const stream = await dialler.dialProtocol(listener.getMultiaddrs(), '/test/1');
const said = new Promise<string>((resolve) => {
  stream.addEventListener('message', ({ data }) => resolve(Buffer.from(data.subarray()).toString()));
});
process.stdout.write(`${await said}\n`);
// The stream is left open on one side: closing the hosts has to end it.
await Promise.all([dialler.stop(), listener.stop()]);
process.stdout.write('stopped\n');
