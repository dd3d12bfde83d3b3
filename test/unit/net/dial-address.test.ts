// Which addresses from others are dialled at all.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDialAddress } from '../../../src/net/dial-address.ts';

const peer = '12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu';
const other = '12D3KooWBVen8ekWFReTPjgRNmBxbkJQAph4V4Ea294wq7An9QZe';

describe('a dialled address', () => {
  it.each([
    ['/ip4/1.2.3.4/tcp/5', 'tcp'],
    ['/ip6/2a01::1/tcp/5', 'tcp'],
    ['/dns/node.example/tcp/5', 'tcp'],
    ['/dns4/node.example/tcp/5', 'tcp'],
    ['/dns6/node.example/tcp/5', 'tcp'],
    ['/ip4/1.2.3.4/udp/5/quic-v1', 'quic'],
    [`/ip4/1.2.3.4/tcp/5/p2p/${peer}`, 'tcp'],
    [`/ip4/1.2.3.4/udp/5/quic-v1/p2p/${peer}`, 'quic'],
  ] as const)('%s goes by %s, to the peer that is wanted', (text, path) => {
    const address = parseDialAddress(text, peer);
    expect(address).toMatchObject({ text, path });
    expect(address?.multiaddr.toString().endsWith(`/p2p/${peer}`)).toBe(true);
  });

  it.each([
    '',
    'nonsense',
    '/ip4/1.2.3.4',
    '/ip4/1.2.3.4/tcp/0',
    '/ip4/1.2.3.4/udp/5',
    '/ip4/1.2.3.4/udp/5/quic',
    '/ip4/1.2.3.4/tcp/5/ws',
    '/ip4/1.2.3.4/tcp/5/http',
    '/unix/%2Ftmp%2Fsocket',
    '/memory/1',
    `/p2p/${peer}`,
    `/ip4/1.2.3.4/tcp/5/p2p/${other}`,
    `/ip4/1.2.3.4/tcp/5/p2p/${peer}/p2p-circuit`,
    `/ip4/1.2.3.4/tcp/5/p2p/${other}/p2p-circuit/p2p/${peer}`,
  ])('is never %j', (text) => {
    expect(parseDialAddress(text, peer)).toBeUndefined();
  });

  it('is found in no text that is none, and looking never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webUrl()), (text) => {
        expect(parseDialAddress(text, peer)).toBeUndefined();
      }),
    );
  });
});
