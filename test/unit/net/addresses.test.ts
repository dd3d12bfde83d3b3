// Which addresses are announced, for machines of many kinds.
import { describe, expect, it } from 'vitest';
import {
  announcedAddresses,
  type InterfaceAddress,
  isPublic,
  type ListeningSockets,
  requireAnnounceable,
} from '../../../src/net/addresses.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { thrownBy } from '../../support/thrown.ts';

const loopback = [on('lo', '127.0.0.1', true), on('lo', '::1', true)];
const everywhere: ListeningSockets = { hosts: ['0.0.0.0', '::'], tcpPort: 7 };

function on(name: string, address: string, internal = false): InterfaceAddress {
  return { name, address, internal };
}

describe('announced addresses', () => {
  const cases: Array<{
    what: string;
    interfaces: InterfaceAddress[];
    sockets?: ListeningSockets;
    named?: string[];
    announced: string[];
  }> = [
    {
      what: 'a machine at home: its LAN address, not loopback',
      interfaces: [...loopback, on('eth0', '192.168.1.5')],
      announced: ['/ip4/192.168.1.5/tcp/7'],
    },
    {
      what: 'TCP before QUIC, on the same port',
      interfaces: [on('eth0', '192.168.1.5')],
      sockets: { hosts: ['0.0.0.0'], tcpPort: 7, quicPort: 7 },
      announced: ['/ip4/192.168.1.5/tcp/7', '/ip4/192.168.1.5/udp/7/quic-v1'],
    },
    {
      what: 'QUIC alone',
      interfaces: [on('eth0', '192.168.1.5')],
      sockets: { hosts: ['0.0.0.0'], quicPort: 7 },
      announced: ['/ip4/192.168.1.5/udp/7/quic-v1'],
    },
    {
      what: 'a server with a public address, which libp2p itself would not tell of: public before private',
      interfaces: [...loopback, on('eth1', '10.0.0.4'), on('eth0', '5.9.1.2'), on('eth0', '2a01:4f8::2')],
      announced: ['/ip4/5.9.1.2/tcp/7', '/ip6/2a01:4f8::2/tcp/7', '/ip4/10.0.0.4/tcp/7'],
    },
    {
      what: 'a host of each class before a second of any, each with both transports: a token holds eight addresses',
      interfaces: [
        ...['2a01::1', '2a01::2', '2a01::3', '2a01::4', 'fd00::1', 'fd00::2'].map((ip) => on('eth0', ip)),
        ...['192.168.1.5', '10.8.0.2', '5.9.1.2', '5.9.1.3'].map((ip) => on('eth0', ip)),
      ],
      sockets: { hosts: ['0.0.0.0', '::'], tcpPort: 7, quicPort: 7 },
      announced: [
        ...['/ip4/5.9.1.2', '/ip6/2a01::1', '/ip4/192.168.1.5', '/ip6/fd00::1'],
        ...['/ip4/5.9.1.3', '/ip6/2a01::2', '/ip4/10.8.0.2', '/ip6/fd00::2'],
      ].flatMap((host) => [`${host}/tcp/7`, `${host}/udp/7/quic-v1`]),
    },
    {
      what: 'no networks of containers and virtual machines',
      interfaces: [
        on('docker0', '172.17.0.1'),
        on('br-1f2e3d', '172.18.0.1'),
        on('veth12ab', '172.19.0.1'),
        on('virbr0', '192.168.122.1'),
        on('vboxnet0', '192.168.56.1'),
        on('cni0', '10.244.0.1'),
        on('flannel.1', '10.244.0.0'),
        on('br0', '192.168.1.9'),
      ],
      announced: ['/ip4/192.168.1.9/tcp/7'],
    },
    {
      what: 'VPNs stay',
      interfaces: [on('tailscale0', '100.101.102.103'), on('utun3', '10.8.0.2'), on('wg0', '10.9.0.2')],
      announced: ['/ip4/100.101.102.103/tcp/7', '/ip4/10.8.0.2/tcp/7', '/ip4/10.9.0.2/tcp/7'],
    },
    {
      what: 'no link-local addresses, with or without a zone',
      interfaces: [
        on('eth0', '169.254.3.4'),
        on('eth0', 'fe80::1'),
        on('eth0', 'fe80::2%eth0'),
        on('en0', 'febf::1'),
      ],
      announced: [],
    },
    {
      what: 'loopback if the node listens there and nowhere else',
      interfaces: [...loopback, on('eth0', '192.168.1.5')],
      sockets: { hosts: ['127.0.0.1'], tcpPort: 7 },
      announced: ['/ip4/127.0.0.1/tcp/7'],
    },
    {
      what: 'the one address that the node listens at, whatever its interface',
      interfaces: [on('docker0', '172.17.0.1'), on('eth0', '192.168.1.5')],
      sockets: { hosts: ['172.17.0.1'], tcpPort: 7 },
      announced: ['/ip4/172.17.0.1/tcp/7'],
    },
    {
      what: 'IPv4 alone where the machine has no IPv6',
      interfaces: [on('eth0', '192.168.1.5'), on('eth0', '2a01:4f8::2')],
      sockets: { hosts: ['0.0.0.0'], tcpPort: 7 },
      announced: ['/ip4/192.168.1.5/tcp/7'],
    },
    {
      what: 'what the owner named comes first, once',
      interfaces: [on('eth0', '192.168.1.5')],
      named: ['/dns/node.example/tcp/9', '/ip4/192.168.1.5/tcp/7'],
      announced: ['/dns/node.example/tcp/9', '/ip4/192.168.1.5/tcp/7'],
    },
    { what: 'nothing on a machine without a network', interfaces: loopback, announced: [] },
  ];

  it.each(cases)('$what', ({ interfaces, sockets = everywhere, named = [], announced }) => {
    expect(announcedAddresses(interfaces, sockets, named)).toEqual(announced);
  });

  it('are bounded', () => {
    const interfaces = Array.from({ length: 100 }, (_, index) => on(`eth${index}`, `10.0.0.${index}`));
    expect(announcedAddresses(interfaces, everywhere, [])).toHaveLength(netLimits.announced);
  });
});

describe('an address', () => {
  it.each([
    ['8.8.8.8', true],
    ['10.1.2.3', false],
    ['172.15.0.1', true],
    ['172.16.0.1', false],
    ['172.31.0.1', false],
    ['172.32.0.1', true],
    ['192.168.0.1', false],
    ['100.64.0.1', false],
    ['100.127.0.1', false],
    ['100.128.0.1', true],
    ['127.0.0.1', false],
    ['169.254.1.1', false],
    ['224.0.0.1', false],
    ['2a01::1', true],
    ['fd00::1', false],
    ['fe80::1', false],
    ['::1', false],
    ['nonsense', false],
  ])('%s is public: %s', (address, expected) => {
    expect(isPublic(address)).toBe(expected);
  });

  it.each(['/ip4/1.2.3.4/tcp/5', '/ip6/2a01::1/udp/5/quic-v1', '/dns/a.example/tcp/5'])(
    '%s can be announced',
    (text) => {
      requireAnnounceable(text);
    },
  );

  it.each([
    'nonsense',
    '1.2.3.4:5',
    '/ip4/1.2.3.4',
    '/ip4/1.2.3.4/tcp/0',
    '/ip4/1.2.3.4/udp/5',
    '/ip4/1.2.3.4/tcp/5/ws',
    '/ip4/1.2.3.4/tcp/5/p2p/12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu',
  ])('%s cannot be announced', (text) => {
    expect(thrownBy(() => requireAnnounceable(text))).toMatchObject({ code: 'config_invalid' });
  });
});
