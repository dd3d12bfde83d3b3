import { multiaddr } from '@multiformats/multiaddr';
import { expect, it } from 'vitest';
import { listeningAddresses, parseQuicAddress, quicAddresses } from '../../../../src/net/quic/addresses.ts';

const peer = '12D3KooWLckfbD7md35v71hX1quzHduWZhrsf3prW9PbFT5r88vU';

it.each([
  ['/ip4/1.2.3.4/udp/5/quic-v1', { family: 4, host: '1.2.3.4', port: 5, peer: undefined }],
  [`/ip6/::1/udp/5/quic-v1/p2p/${peer}`, { family: 6, host: '::1', port: 5, peer }],
])('reads %s', (address, expected) => {
  expect(parseQuicAddress(multiaddr(address))).toEqual(expected);
});

it('takes nothing that another transport is meant for', () => {
  const foreign = [
    '/ip4/1.2.3.4/tcp/5',
    '/ip4/1.2.3.4/udp/5',
    '/ip4/1.2.3.4/udp/5/quic',
    '/ip4/1.2.3.4/udp/5/quic-v1/webtransport',
    `/ip4/1.2.3.4/udp/5/quic-v1/p2p/${peer}/p2p-circuit`,
    '/dns4/example.com/udp/5/quic-v1',
    `/p2p/${peer}`,
  ];
  expect(quicAddresses(foreign.map((address) => multiaddr(address)))).toEqual([]);
});

it('names the real port, and real interfaces for a wildcard', () => {
  const one = listeningAddresses(multiaddr('/ip4/127.0.0.1/udp/0/quic-v1'), 4321);
  expect(one.map(String)).toEqual(['/ip4/127.0.0.1/udp/4321/quic-v1']);
  const all = listeningAddresses(multiaddr('/ip4/0.0.0.0/udp/0/quic-v1'), 4321).map(String);
  expect(all).toContain('/ip4/127.0.0.1/udp/4321/quic-v1');
  expect(all).not.toContain('/ip4/0.0.0.0/udp/4321/quic-v1');
});
