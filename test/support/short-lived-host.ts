// A process of its own: opens two hosts, lets them talk, closes them, and has to end by itself.
import { protocols } from '../../src/trust/gate.ts';
import { testHost } from './test-host.ts';

const transports = { tcp: true, quic: process.env['TEST_QUIC'] === '1' };
const here = await testHost({ transports });
const there = await testHost({ transports });
there.handle(protocols.infer, async (stream) => void (await stream.read()), { streamsPerPeer: 1 });
for (const path of transports.quic ? (['tcp', 'quic'] as const) : (['tcp'] as const)) {
  await here.addPath(there.peerId, there.addresses(), path);
  await here.ping(there.peerId, { path });
}
const left = await here.open(there.peerId, protocols.infer);
await left.write(new Uint8Array(10));
await here.dial(here.peerId, ['/ip4/127.0.0.1/tcp/9']).catch(() => {});
await there.close();
await here.close();
