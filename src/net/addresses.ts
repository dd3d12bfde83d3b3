// Which addresses this node tells others to dial, best first. Pure: interfaces and ports are handed in. libp2p's
// own list is never asked: it stays empty on a public address until other peers have confirmed that.
import { isIPv4, isIPv6 } from 'node:net';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import { isDialable } from './dial-address.ts';

/** One address of one network interface, as the operating system lists it. */
export interface InterfaceAddress {
  readonly name: string;
  readonly address: string;
  readonly internal: boolean;
}

/** What the node listens on. Addresses are IPs; `0.0.0.0` and `::` stand for every interface. */
export interface ListeningSockets {
  readonly hosts: readonly string[];
  /** Absent: no listener of this kind. */
  readonly tcpPort?: number;
  readonly quicPort?: number;
}

/** Bridges and cables between this machine and its own containers: nobody else can dial them. VPNs are not among them. */
const virtualInterface =
  /^(?:docker|br-|veth|virbr|vboxnet|vmnet|cni|flannel|cali|weave|podman|lxcbr|lxdbr|vEthernet)/;

/**
 * The multiaddrs to announce: those the owner named, then those of the machine that others can reach. Loopback
 * is told only if the node listens on nothing else.
 */
export function announcedAddresses(
  interfaces: readonly InterfaceAddress[],
  sockets: ListeningSockets,
  named: readonly string[],
): string[] {
  const reachable = interfaces.filter(isReachable).map((one) => withoutZone(one.address));
  const hosts = sockets.hosts.flatMap((host) => hostsBehind(host, reachable));
  const own = inTurn([...new Set(hosts)]).flatMap((host) => multiaddrsOf(host, sockets));
  return [...new Set([...named, ...own])].slice(0, netLimits.announced);
}

/** Throws `config_invalid` unless `address` is a multiaddr that other nodes can dial. */
export function requireAnnounceable(address: string): void {
  if (!isDialable(address)) {
    throw new MeshnodeError('config_invalid', `${address} is no multiaddr with TCP or QUIC.`);
  }
}

/** Whether an address can be reached from outside the machine's own networks. */
export function isPublic(address: string): boolean {
  return isIPv4(address) ? !privateIpv4.test(address) : isIPv6(address) && !/^(?:f[cde]|::)/i.test(address);
}

/** RFC 1918, shared address space, loopback, link-local and what is never a host. */
const privateIpv4 =
  /^(?:10\.|127\.|0\.|169\.254\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|(?:22[4-9]|2[3-5]\d)\.)/;

function isReachable({ name, address, internal }: InterfaceAddress): boolean {
  return !internal && !virtualInterface.test(name) && !isLinkLocal(address);
}

function isLinkLocal(address: string): boolean {
  return /^(?:169\.254\.|fe[89ab])/i.test(address);
}

function withoutZone(address: string): string {
  return address.split('%')[0] ?? address;
}

function hostsBehind(host: string, reachable: readonly string[]): readonly string[] {
  if (host === '0.0.0.0') {
    return reachable.filter((address) => isIPv4(address));
  }
  return host === '::' ? reachable.filter((address) => isIPv6(address)) : [host];
}

/**
 * One host of each class, then a second of each: a token holds few addresses, and whoever it is for may reach hosts
 * of one class alone.
 */
function inTurn(hosts: readonly string[]): string[] {
  const classes = Map.groupBy(hosts, rank);
  const turn = (host: string): number => classes.get(rank(host))?.indexOf(host) ?? 0;
  return hosts.toSorted((one, other) => turn(one) - turn(other) || rank(one) - rank(other));
}

/** Its class: public before private, IPv4 before IPv6. */
function rank(address: string): number {
  return (isPublic(address) ? 0 : 2) + (isIPv4(address) ? 0 : 1);
}

function multiaddrsOf(host: string, { tcpPort, quicPort }: ListeningSockets): string[] {
  const ip = `/${isIPv4(host) ? 'ip4' : 'ip6'}/${host}`;
  return [
    ...(tcpPort === undefined ? [] : [`${ip}/tcp/${tcpPort}`]),
    ...(quicPort === undefined ? [] : [`${ip}/udp/${quicPort}/quic-v1`]),
  ];
}
