// Which multiaddrs are dialled: an IP or a name with TCP or QUIC, and the key that has to answer there. Pure;
// addresses come from peers, so nothing else of the many kinds of multiaddr gets near a transport.
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { PeerId } from '../trust/keys.ts';
import type { PathKind } from './network.ts';

export interface DialAddress {
  /** As it was given. */
  readonly text: string;
  /** With the peer that must answer. */
  readonly multiaddr: Multiaddr;
  readonly path: PathKind;
}

const hosts = new Set<string>(['ip4', 'ip6', 'dns', 'dns4', 'dns6']);

/** The address at which `peer` may be dialled, or undefined if `text` is none, or names another peer. */
export function parseDialAddress(text: string, peer: PeerId): DialAddress | undefined {
  const parsed = parse(text);
  if (parsed === undefined) {
    return undefined;
  }
  const path = pathOf(parsed);
  const [named, ...rest] = parsed.getComponents().slice(path === 'quic' ? 3 : 2);
  if (path === undefined || rest.length > 0) {
    return undefined;
  }
  if (named === undefined) {
    return { text, multiaddr: parsed.encapsulate(`/p2p/${peer}`), path };
  }
  return named.name === 'p2p' && named.value === peer ? { text, multiaddr: parsed, path } : undefined;
}

/** Whether `text` is an address without a peer that nodes dial. */
export function isDialable(text: string): boolean {
  const parsed = parse(text);
  const path = parsed === undefined ? undefined : pathOf(parsed);
  return path !== undefined && parsed?.getComponents().length === (path === 'quic' ? 3 : 2);
}

/** Which kind of path an address begins with. */
export function pathOf(address: Multiaddr): PathKind | undefined {
  const [host, transport, above] = address.getComponents();
  if (host === undefined || !hosts.has(host.name) || Number(transport?.value) === 0) {
    return undefined;
  }
  if (transport?.name === 'tcp') {
    return 'tcp';
  }
  return transport?.name === 'udp' && above?.name === 'quic-v1' ? 'quic' : undefined;
}

function parse(text: string): Multiaddr | undefined {
  try {
    return multiaddr(text);
  } catch {
    return undefined;
  }
}
