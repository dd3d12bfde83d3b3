// The sockets a node is dialled at: TCP and QUIC on one port number, on every host asked for. TCP is bound first and
// QUIC follows; where that number is taken for QUIC, any free one means another try.

import { isIPv4, isIPv6 } from 'node:net';
import type { Listener } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import type { ListeningSockets } from './addresses.ts';
import type { Libp2pComponents } from './libp2p-node.ts';

export interface ListenOptions {
  /** An IP. Absent: every interface, IPv4 and IPv6. */
  readonly host?: string;
  /** 0: any. */
  readonly port: number;
}

type Kind = 'tcp' | 'quic';

export class Listening {
  readonly #components: Libp2pComponents;
  readonly #listeners: Listener[] = [];
  #sockets: ListeningSockets = { hosts: [] };

  constructor(components: Libp2pComponents) {
    this.#components = components;
  }

  get sockets(): ListeningSockets {
    return this.#sockets;
  }

  /** Rejects with `port_in_use`, `quic_unavailable`, or `config_invalid` if the host is no IP. */
  async open({ host, port }: ListenOptions, kinds: readonly Kind[]): Promise<void> {
    const hosts = host === undefined ? ['0.0.0.0', '::'] : [host];
    if (!hosts.every((one) => isIPv4(one) || isIPv6(one))) {
      throw new MeshnodeError('config_invalid', `${host} is no IP address to listen at.`);
    }
    let cause: unknown;
    for (let tries = port === 0 ? netLimits.portTries : 1; tries > 0; tries--) {
      try {
        this.#sockets = await this.#openAll(hosts, port, kinds);
        return;
      } catch (failure) {
        cause = failure;
        await this.close();
        if (failure instanceof MeshnodeError && failure.code !== 'port_in_use') {
          throw failure;
        }
      }
    }
    throw new MeshnodeError('port_in_use', `Port ${port} cannot be listened at.`, { cause });
  }

  /** Closes the listeners with every connection that came by them. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#listeners.splice(0).map((listener) => listener.close()));
  }

  async #openAll(hosts: readonly string[], port: number, kinds: readonly Kind[]): Promise<ListeningSockets> {
    const bound = new Set<string>();
    let chosen = port;
    for (const host of hosts) {
      for (const kind of kinds) {
        try {
          chosen = await this.#openOne(host, chosen, kind);
          bound.add(host);
        } catch (cause) {
          // A machine without IPv6 listens on IPv4 alone.
          if (host !== '::' || bound.size === 0 || !isUnsupported(cause)) {
            throw cause;
          }
        }
      }
    }
    return {
      hosts: [...bound],
      ...(kinds.includes('tcp') ? { tcpPort: chosen } : {}),
      ...(kinds.includes('quic') ? { quicPort: chosen } : {}),
    };
  }

  /** The port it listens at. */
  async #openOne(host: string, port: number, kind: Kind): Promise<number> {
    const { transportManager, upgrader } = this.#components;
    const ip = `/${isIPv4(host) ? 'ip4' : 'ip6'}/${host}`;
    const address = multiaddr(kind === 'tcp' ? `${ip}/tcp/${port}` : `${ip}/udp/${port}/quic-v1`);
    const transport = transportManager.listenTransportForMultiaddr(address);
    assertInvariant(transport !== undefined, `a transport listens at ${address}`);
    const listener = transport.createListener({ upgrader });
    await listener.listen(address);
    this.#listeners.push(listener);
    return port === 0 ? portOf(listener) : port;
  }
}

function portOf(listener: Listener): number {
  const [address] = listener.getAddrs();
  const port = Number(address?.getComponents()[1]?.value);
  assertInvariant(port > 0, 'a listener has a port');
  return port;
}

function isUnsupported(cause: unknown): boolean {
  return /EAFNOSUPPORT|EADDRNOTAVAIL|not supported|not available/i.test(String(cause));
}
