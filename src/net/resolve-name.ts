// The IP behind a name in an address, for QUIC, whose sockets know no names. TCP's look them up themselves.
import { lookup } from 'node:dns/promises';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { DialAddress } from './dial-address.ts';

/** The address to hand to a transport. Rejects if the name has no address of the wanted kind. */
export async function withoutName({ multiaddr: address, path }: DialAddress): Promise<Multiaddr> {
  const [host, ...above] = address.getComponents();
  if (path !== 'quic' || host?.value === undefined || !host.name.startsWith('dns')) {
    return address;
  }
  const family = host.name === 'dns4' ? 4 : host.name === 'dns6' ? 6 : 0;
  const found = await lookup(host.value, { family });
  const ip = multiaddr(`/${found.family === 6 ? 'ip6' : 'ip4'}/${found.address}`);
  return multiaddr([...ip.getComponents(), ...above]);
}
