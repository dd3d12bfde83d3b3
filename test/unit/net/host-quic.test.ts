// The host over QUIC.
import { describeNetwork } from '../../support/network-compliance.ts';
import { testHost } from '../../support/test-host.ts';

describeNetwork('the host over QUIC', {
  path: 'quic',
  deadAddresses: ['/ip4/127.0.0.1/udp/9/quic-v1', '/ip4/127.0.0.1/udp/10/quic-v1'],
  make: (keySeed, gate) => testHost({ keySeed, gate, transports: { tcp: false, quic: true } }),
});
