// The in-process network of tests keeps what the real one promises.
import { KeyPair } from '../../../src/trust/keys.ts';
import { InProcessNetworks } from '../../support/in-process-network.ts';
import { describeNetwork } from '../../support/network-compliance.ts';

const networks = new InProcessNetworks();

describeNetwork('the in-process network', {
  path: 'memory',
  deadAddresses: ['/memory/100001', '/memory/100002'],
  make: async (keySeed, gate) => networks.create({ peerId: KeyPair.fromSeed(keySeed).peerId, gate }),
});
