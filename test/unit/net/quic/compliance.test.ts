// libp2p's own suite for transports, run against ours. Every test of it runs.
import { generateKeyPair } from '@libp2p/crypto/keys';
import transportSuite from '@libp2p/interface-compliance-tests/transport';
import type { Multiaddr } from '@multiformats/multiaddr';
import { describe } from 'vitest';
import { parseQuicAddress } from '../../../../src/net/quic/addresses.ts';
import { provideMochaGlobals } from '../../../support/libp2p-compliance.ts';
import { quicHostOptions } from '../../../support/quic-host.ts';

const isQuic = (address: Multiaddr): boolean => parseQuicAddress(address) !== undefined;
const quicMatcher = { matchers: [], matches: isQuic, exactMatch: isQuic };

describe('the QUIC transport, as libp2p wants it', () => {
  provideMochaGlobals();
  transportSuite({
    setup: async () => ({
      dialer: { ...quicHostOptions(), privateKey: await generateKeyPair('Ed25519'), addresses: {} },
      listener: {
        ...quicHostOptions(),
        addresses: { listen: ['/ip4/127.0.0.1/udp/0/quic-v1', '/ip4/127.0.0.1/udp/0/quic-v1'] },
      },
      dialMultiaddrMatcher: quicMatcher,
      listenMultiaddrMatcher: quicMatcher,
    }),
    teardown: async () => {},
  });
});
