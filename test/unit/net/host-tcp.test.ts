// The host over TCP, with each of the two encryptions.
import { describeNetwork } from '../../support/network-compliance.ts';
import { testHost } from '../../support/test-host.ts';

for (const encryption of ['tls', 'noise'] as const) {
  describeNetwork(`the host over TCP and ${encryption}`, {
    path: 'tcp',
    deadAddresses: ['/ip4/127.0.0.1/tcp/9', '/ip4/127.0.0.1/tcp/10', '/ip4/127.0.0.2/tcp/9'],
    make: (keySeed, gate) => testHost({ keySeed, gate, encryption: [encryption] }),
  });
}
