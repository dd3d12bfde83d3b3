// The host speaks with a libp2p that is not JavaScript: smoldot, a light client written in Rust, dials it over TCP
// with Noise and yamux, as it dials the nodes of the chain that it is told to follow.
import { westend2 } from '@substrate/connect-known-chains';
import { start } from 'smoldot';
import { expect, it } from 'vitest';
import { testHost } from '../../support/test-host.ts';

const identify = '/ipfs/id/1.0.0';
const ping = '/ipfs/ping/1.0.0';

// Not tested: identify from here to there. smoldot puts its answer and its end into one yamux frame, and libp2p then
// drops the answer; nodes of meshnode never do.
it('is dialled, identified and pinged by smoldot, and pings it', { timeout: 15_000 }, async () => {
  const asked: string[] = [];
  const linked = Promise.withResolvers<string>();
  const host = await testHost({
    gate: (_, protocol) => {
      asked.push(protocol);
      return protocol === identify || protocol === ping;
    },
  });
  host.onLink(({ type, link }) => {
    if (type === 'opened') {
      linked.resolve(link.peer);
    }
  });
  const smoldot = start({ maxLogLevel: 0, logCallback: () => {} });
  try {
    const bootNodes = [`${host.addresses()[0]}/p2p/${host.peerId}`];
    await smoldot.addChain({ chainSpec: JSON.stringify({ ...JSON.parse(westend2), bootNodes }) });
    const peer = await linked.promise;
    expect(host.links()).toMatchObject([{ peer, path: 'tcp', direction: 'inbound' }]);
    await expect.poll(() => asked, { timeout: 8_000 }).toEqual(expect.arrayContaining([identify, ping]));
    for (let round = 0; round < 3; round++) {
      expect(await host.ping(peer)).toBeGreaterThan(0);
    }
    expect(host.links()).toHaveLength(1);
  } finally {
    await smoldot.terminate();
    await host.close();
  }
});
