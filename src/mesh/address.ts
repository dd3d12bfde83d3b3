// The addresses that nodes tell each other: which texts are one, and which of them this version can dial.
import { isIPv4, isIPv6 } from 'node:net';

/**
 * What a text is: an address this version can dial (`/ip4`, `/ip6`, `/dns`, `/dns4` or `/dns6` with `/tcp/PORT` or
 * `/udp/PORT/quic-v1`), a multiaddr of some `other` kind that a later version may know, or `invalid`.
 */
export function addressKind(text: string): 'dialable' | 'other' | 'invalid' {
  if (!/^(?:\/[\x21-\x2e\x30-\x7e]+)+$/.test(text)) {
    return 'invalid';
  }
  const [, hostKind = '', host = '', transport, port = '', ...rest] = text.split('/');
  const isHost = hosts.get(hostKind);
  const known =
    (transport === 'tcp' && rest.length === 0) || (transport === 'udp' && rest.join('/') === 'quic-v1');
  if (isHost === undefined || !known) {
    return 'other';
  }
  return isHost(host) && isPort(port) ? 'dialable' : 'invalid';
}

const isDnsName = (host: string): boolean =>
  /^(?!.{254})[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i.test(host);

const hosts: ReadonlyMap<string, (host: string) => boolean> = new Map([
  ['ip4', isIPv4],
  // A zone says something only to the machine that wrote it.
  ['ip6', (host: string) => isIPv6(host) && !host.includes('%')],
  ['dns', isDnsName],
  ['dns4', isDnsName],
  ['dns6', isDnsName],
]);

const isPort = (text: string): boolean => /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535;
