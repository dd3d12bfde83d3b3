// Which multiaddrs are QUIC addresses, and what they say. Names are resolved elsewhere: an address here is an IP.
import { getThinWaistAddresses } from '@libp2p/utils';
import type { Multiaddr } from '@multiformats/multiaddr';

export interface QuicAddress {
  readonly family: 4 | 6;
  readonly host: string;
  readonly port: number;
  /** The peer expected there, as the address has it. */
  readonly peer: string | undefined;
}

/** Reads `/ip4|ip6/HOST/udp/PORT/quic-v1` with or without `/p2p/ID`; anything else is undefined. */
export function parseQuicAddress(address: Multiaddr): QuicAddress | undefined {
  const [ip, udp, quic, peer, ...rest] = address.getComponents();
  const isQuic =
    (ip?.name === 'ip4' || ip?.name === 'ip6') && udp?.name === 'udp' && quic?.name === 'quic-v1';
  const endsThere = rest.length === 0 && (peer === undefined || peer.name === 'p2p');
  if (!isQuic || !endsThere || ip.value === undefined) {
    return undefined;
  }
  return { family: ip.name === 'ip4' ? 4 : 6, host: ip.value, port: Number(udp.value), peer: peer?.value };
}

/** Those of `addresses` that this transport dials and listens at. */
export function quicAddresses(addresses: readonly Multiaddr[]): Multiaddr[] {
  return addresses.filter((address) => parseQuicAddress(address) !== undefined);
}

/** Where a socket listening at `address` can be dialled: its real port, and every interface for a wildcard. */
export function listeningAddresses(address: Multiaddr, port: number): Multiaddr[] {
  return getThinWaistAddresses(address, port).map((thinWaist) => thinWaist.encapsulate('/quic-v1'));
}
