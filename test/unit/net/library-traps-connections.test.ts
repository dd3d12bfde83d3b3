// What stock libp2p does with connections: how many may come, how long it dials, when it gives one up, how one is
// encrypted, and at which addresses it says that it can be reached. The host differs in each.
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { type AddressInfo, connect, createServer } from 'node:net';
import os from 'node:os';
import type { Connection, Libp2p } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p, type Libp2pOptions } from 'libp2p';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Libp2pHost } from '../../../src/net/host.ts';
import { pingProtocol } from '../../../src/net/ping.ts';
import { KeyPair } from '../../../src/trust/keys.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { hurriedClock } from '../../support/hurried-clock.ts';
import { stockNode } from '../../support/stock-libp2p.ts';
import { testHost } from '../../support/test-host.ts';
import { rejectionOf } from '../../support/thrown.ts';

describe('connections', () => {
  const closing: Array<() => unknown> = [];
  afterEach(async () => {
    vi.restoreAllMocks();
    syncBuiltinESMExports();
    await Promise.all(closing.splice(0).map((close) => close()));
  });
  const makeHost = async (...options: Parameters<typeof testHost>): Promise<Libp2pHost> => {
    const host = await testHost(...options);
    closing.push(() => host.close());
    return host;
  };
  /** Stock but for `options`. */
  const makeStock = async (options: Libp2pOptions = {}): Promise<Libp2p> => {
    const node = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      ...options,
    });
    closing.push(() => node.stop());
    return node;
  };
  /** A place that takes connections and never says a word. */
  const silentPlace = async (): Promise<{ address: string; taken: () => number }> => {
    let taken = 0;
    const server = createServer((socket) => {
      taken++;
      socket.on('error', () => {});
      closing.push(() => socket.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closing.push(() => server.close());
    return { address: `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`, taken: () => taken };
  };
  const silentClients = async (address: string, count: number): Promise<void> => {
    for (let clients = 0; clients < count; clients++) {
      const socket = connect(portOf(address), '127.0.0.1');
      socket.on('error', () => {});
      closing.push(() => socket.destroy());
      await once(socket, 'connect');
    }
  };

  describe('that prove no key yet', () => {
    it('keep everybody else out of stock libp2p when there are ten', async () => {
      // Its other bound, five of one host a second, would get in first.
      const listener = await makeStock({ connectionManager: { inboundConnectionThreshold: 1_000 } });
      const dialer = await makeStock();
      await silentClients(addressOf(listener), 9);
      await dialer.dial(listener.getMultiaddrs());
      await until(() => listener.getConnections().length === 1);
      await silentClients(addressOf(listener), 1);
      const late = await makeStock();
      await expect(late.dial(listener.getMultiaddrs())).rejects.toThrow();
      expect(listener.getConnections()).toHaveLength(1);
    });

    it('keep nobody out of the host when there are twelve', async () => {
      const host = await makeHost();
      await silentClients(host.addresses()[0] ?? '', 12);
      const dialer = await makeHost();
      await dialer.dial(host.peerId, host.addresses());
      expect(dialer.links()).toHaveLength(1);
    });
  });

  describe('to a peer some of whose addresses are silent', () => {
    it('are dialled by stock libp2p one after the other, six seconds each and ten in all', async () => {
      const there = await makeStock();
      const here = await makeStock();
      const places = [await silentPlace(), await silentPlace()];
      const addresses = [...places.map(({ address }) => address), addressOf(there)];
      // A fifth of the time that it asks for: what it waits for is the same.
      const { timeout } = AbortSignal;
      const waitsMs: number[] = [];
      vi.spyOn(AbortSignal, 'timeout').mockImplementation((ms) => {
        waitsMs.push(ms);
        return timeout.call(AbortSignal, ms / 5);
      });
      const target = addresses.map((address) => multiaddr(`${address}/p2p/${there.peerId}`));
      await expect(here.dial(target)).rejects.toThrow();
      await until(() => places.every(({ taken }) => taken() > 0));
      expect(places.map(({ taken }) => taken())).toEqual([1, 1]);
      expect(there.getConnections()).toEqual([]);
      expect(waitsMs).toEqual(expect.arrayContaining([10_000, 6_000]));
    });

    it('are dialled by the host side by side, and each given up after one and a half', async () => {
      const there = await makeHost();
      const here = await makeHost();
      // One after the other they would take longer than a whole dial may.
      const places = await Promise.all(Array.from({ length: 4 }, () => silentPlace()));
      const silent = places.map(({ address }) => address);
      expect(silent.length * netLimits.dialAddressMs).toBeGreaterThan(netLimits.dialMs);
      await here.dial(there.peerId, [...silent, ...there.addresses()]);
      expect(here.links()).toHaveLength(1);
      const nobody = KeyPair.fromSeed(systemRandom.bytes(32)).peerId;
      const startMs = systemClock.monotonicMs();
      const failure = await rejectionOf(here.dial(nobody, silent));
      // All together take less than one of libp2p's.
      expect(systemClock.monotonicMs() - startMs).toBeLessThan(6_000);
      expect(failure.details.data?.['attempts']).toEqual(
        expect.arrayContaining(
          silent.map((address) => ({ address, reason: `No answer within ${netLimits.dialAddressMs} ms.` })),
        ),
      );
    });
  });

  describe('whose peer lets nobody ping it', () => {
    const refusesPings = async (): Promise<{ host: Libp2pHost; asked: () => number }> => {
      let asked = 0;
      const host = await makeHost({
        gate: (_, protocol) => {
          asked += Number(protocol === pingProtocol);
          return protocol !== pingProtocol;
        },
      });
      return { host, asked: () => asked };
    };
    /** Every interval of libp2p's passes two hundred times as fast, the ten seconds of its monitor as well. */
    const hurryIntervals = (): void => {
      const { setInterval } = globalThis;
      vi.spyOn(globalThis, 'setInterval').mockImplementation((work, ms) =>
        setInterval(work, (ms ?? 0) / 200),
      );
    };

    it('are cut by the monitor of stock libp2p', async () => {
      const { host, asked } = await refusesPings();
      hurryIntervals();
      const node = await makeStock();
      const connection = await node.dial(multiaddr(host.addresses()[0]));
      await closeOf(connection);
      expect(asked()).toBeGreaterThan(0);
      // By itself: the other side would have reset it.
      expect(connection.status).toBe('aborted');
    });

    it('are kept by the host: a refusal is an answer, and it has no such monitor', async () => {
      const { host, asked } = await refusesPings();
      hurryIntervals();
      const here = await makeHost({}, hurriedClock(200, netLimits.linkPingMs));
      await here.dial(host.peerId, host.addresses());
      const [link] = here.links();
      await until(() => asked() >= 10);
      expect(here.links()).toEqual([link]);
    });
  });

  describe('over TCP', () => {
    /** A host, and how its connections are encrypted. */
    const spiedHost = async (): Promise<{
      host: Libp2pHost;
      encryptions: () => Array<string | undefined>;
    }> => {
      let connections = (): Connection[] => [];
      const host = await makeHost({
        services: {
          spy: ({ connectionManager }) => {
            connections = () => connectionManager.getConnections();
            return {};
          },
        },
      });
      return { host, encryptions: () => connections().map(({ encryption }) => encryption) };
    };

    it('are encrypted with what the dialler of stock libp2p names first, whatever the other side prefers', async () => {
      for (const [encrypters, chosen] of [
        [[noise(), tls()], '/noise'],
        [[tls(), noise()], '/tls/1.0.0'],
      ] as const) {
        const there = await spiedHost();
        const here = await makeStock({ connectionEncrypters: [...encrypters] });
        await here.dial(multiaddr(there.host.addresses()[0]));
        await until(() => there.host.links().length === 1);
        expect(there.encryptions()).toEqual([chosen]);
      }
    });

    it('are encrypted with TLS between two hosts', async () => {
      const [here, there] = [await spiedHost(), await spiedHost()];
      await here.host.dial(there.host.peerId, there.host.addresses());
      await until(() => there.host.links().length === 1);
      expect([here.encryptions(), there.encryptions()]).toEqual([['/tls/1.0.0'], ['/tls/1.0.0']]);
    });

    it('are encrypted with Noise where a peer has nothing else, whoever dials', async () => {
      const there = await spiedHost();
      const peer = await stockNode();
      closing.push(() => peer.stop());
      await peer.dial(multiaddr(there.host.addresses()[0]));
      await until(() => there.host.links().length === 1);
      expect(there.encryptions()).toEqual(['/noise']);

      const here = await spiedHost();
      await here.host.dial(
        peer.peerId.toString(),
        peer.getMultiaddrs().map((address) => address.toString().split('/p2p/')[0] ?? ''),
      );
      expect(here.encryptions()).toEqual(['/noise']);
    });
  });

  it('to a machine with a public address are told of by the host; libp2p waits for others to confirm it', async () => {
    const publicAddress = '5.5.5.1';
    vi.spyOn(os, 'networkInterfaces').mockReturnValue({
      eth0: [
        {
          ...{ address: publicAddress, netmask: '255.255.255.0', cidr: `${publicAddress}/24` },
          ...{ family: 'IPv4', mac: '02:00:00:00:00:01', internal: false },
        },
      ],
    });
    syncBuiltinESMExports();
    const stock = await makeStock({ addresses: { listen: ['/ip4/0.0.0.0/tcp/0'] } });
    // It listens there, and knows it.
    const { transportManager } = (stock as Libp2p & { components: ListeningComponents }).components;
    expect(transportManager.getAddrs().map(String)).toEqual([expect.stringContaining(publicAddress)]);
    expect(stock.getMultiaddrs()).toEqual([]);
    const host = await makeHost({ listen: { port: 0 } });
    expect(host.addresses()).toEqual([expect.stringMatching(/^\/ip4\/5\.5\.5\.1\/tcp\/\d+$/)]);
  });
});

/** Of libp2p's inside. */
interface ListeningComponents {
  readonly transportManager: { getAddrs(): readonly unknown[] };
}

function addressOf(node: Libp2p): string {
  return node.getMultiaddrs()[0]?.toString().split('/p2p/')[0] ?? '';
}

function portOf(address: string): number {
  return Number(/tcp\/(\d+)/.exec(address)?.[1]);
}

function closeOf(connection: Connection): Promise<void> {
  return new Promise((resolve) => {
    connection.addEventListener('close', () => resolve(), { once: true });
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 800 && !condition(); tries++) {
    await sleep(systemClock, 10);
  }
  expect(condition()).toBe(true);
}
