// What the real host does beyond a Network: ports and addresses, two paths to one peer, libp2p's own services behind
// the gate, and an end that leaves nothing.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join as joinPath } from 'node:path';
import { type GossipSub, gossipsub } from '@libp2p/gossipsub';
import { multiaddr } from '@multiformats/multiaddr';
import { afterEach, describe, expect, it } from 'vitest';
import type { Libp2pHost } from '../../../src/net/host.ts';
import type { LinkEvent } from '../../../src/net/network.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { KeyPair } from '../../../src/trust/keys.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { startDelayedTcp, startDelayedUdp } from '../../support/delayed-link.ts';
import { stockNode } from '../../support/stock-libp2p.ts';
import { testHost } from '../../support/test-host.ts';
import { rejectionOf } from '../../support/thrown.ts';

const both = { tcp: true, quic: true };

describe('a host', () => {
  const hosts: Libp2pHost[] = [];
  afterEach(async () => {
    await Promise.all(hosts.splice(0).map((host) => host.close()));
  });
  const make = async (...options: Parameters<typeof testHost>): Promise<Libp2pHost> => {
    const host = await testHost(...options);
    hosts.push(host);
    return host;
  };
  const pair = async (...options: Parameters<typeof testHost>): Promise<[Libp2pHost, Libp2pHost]> => {
    const [here, there] = [await make(...options), await make(...options)];
    const linked = nextLink(there, 'opened');
    await here.dial(there.peerId, there.addresses());
    await linked;
    return [here, there];
  };

  it('has the name of its key', async () => {
    const keySeed = systemRandom.bytes(32);
    expect((await make({ keySeed })).peerId).toBe(KeyPair.fromSeed(keySeed).peerId);
  });

  it('listens for TCP and QUIC at the same port, and tells what the owner named first', async () => {
    const host = await make({ transports: both, announce: ['/dns/node.example/tcp/9337'] });
    const [named, tcp, quic] = host.addresses();
    expect(named).toBe('/dns/node.example/tcp/9337');
    const port = tcp?.match(/^\/ip4\/127\.0\.0\.1\/tcp\/(\d+)$/)?.[1];
    expect(quic).toBe(`/ip4/127.0.0.1/udp/${port}/quic-v1`);
  });

  it('listens on every interface if it is told none', async () => {
    const host = await make({ listen: { port: 0 } });
    expect(host.addresses().join()).not.toContain('127.0.0.1');
    const other = await make();
    const port = /tcp\/(\d+)/.exec(host.addresses()[0] ?? '')?.[1];
    if (port !== undefined) {
      await other.dial(host.peerId, [`/ip4/127.0.0.1/tcp/${port}`]);
    }
  });

  it('takes the port that it is given, or says that it is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const refused = await rejectionOf(make({ listen: { host: '127.0.0.1', port } }));
    expect(refused).toMatchObject({ code: 'port_in_use' });
    server.close();
    await once(server, 'close');
    expect((await make({ listen: { host: '127.0.0.1', port } })).addresses()).toEqual([
      `/ip4/127.0.0.1/tcp/${port}`,
    ]);
  });

  it('refuses to listen at a name, and to announce what nobody can dial', async () => {
    expect(await rejectionOf(make({ listen: { host: 'localhost', port: 0 } }))).toMatchObject({
      code: 'config_invalid',
    });
    expect(await rejectionOf(make({ announce: ['1.2.3.4:5'] }))).toMatchObject({ code: 'config_invalid' });
  });

  it('keeps two paths to one peer, uses the one that is asked for, and loses one at a time', async () => {
    const [here, there] = await pair({ transports: both });
    await here.addPath(there.peerId, there.addresses(), 'tcp');
    await here.addPath(there.peerId, there.addresses(), 'quic');
    await here.addPath(there.peerId, there.addresses(), 'quic');
    expect(
      here
        .links()
        .map(({ path }) => path)
        .sort(),
    ).toEqual(['quic', 'tcp']);
    expect(await here.ping(there.peerId, { path: 'quic' })).toBeGreaterThan(0);
    expect(await here.ping(there.peerId, { path: 'tcp' })).toBeGreaterThan(0);
    const events: LinkEvent[] = [];
    here.onLink((event) => events.push(event));
    await here.disconnect(there.peerId);
    await until(() => events.length === 2);
    expect(events.map(({ type, remaining }) => [type, remaining])).toEqual([
      ['closed', 1],
      ['closed', 0],
    ]);
  });

  it.each(['quic', 'tcp'] as const)(
    'asks an older %s link of a peer that dials again, and closes it only if it is silent',
    async (path) => {
      let laterMs = 0;
      const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + laterMs };
      const keySeed = systemRandom.bytes(32);
      const transports = { quic: path === 'quic', tcp: path === 'tcp' };
      const here = await make({ transports }, clock);
      const port = Number(/\d+(?=\/quic|$)/.exec(here.addresses()[0] ?? '')?.[0]);
      const relay = await (path === 'quic' ? startDelayedUdp(port, 0) : startDelayedTcp(port, 0));
      const through = `/ip4/127.0.0.1/${path === 'quic' ? 'udp' : 'tcp'}/${relay.port}`;
      const events: LinkEvent[] = [];
      here.onLink((event) => events.push(event));
      /** One process after the other with the same key; each is forgotten by the next, not by us. */
      const linkFrom = async (address: string): Promise<void> => {
        const opened = nextLink(here, 'opened');
        await (await make({ transports, keySeed })).dial(here.peerId, [address]);
        await opened;
        laterMs += netLimits.twinLinksMs + 1;
      };
      await linkFrom(path === 'quic' ? `${through}/quic-v1` : through);
      await linkFrom(here.addresses()[0] ?? '');
      expect(await here.ping(events[0]?.link.peer ?? '')).toBeGreaterThan(0);
      expect(here.links()).toHaveLength(2);
      relay.freeze();
      const closed = nextLink(here, 'closed');
      await linkFrom(here.addresses()[0] ?? '');
      await closed;
      expect(here.links()).toEqual([events[1]?.link, events[2]?.link]);
      await relay.close();
    },
  );

  it('answers identify and ping to members only', async () => {
    const joinOnly = (_: string, protocol: string): boolean => protocol === protocols.join;
    const stranger = await make();
    const guarded = await make({ gate: joinOnly });
    await stranger.dial(guarded.peerId, guarded.addresses());
    expect((await rejectionOf(stranger.ping(guarded.peerId))).code).toMatch(/protocol_refused|stream_broken/);
    await expect(stranger.identify(guarded.peerId)).rejects.toThrow();
    await until(() => guarded.links().length === 1);
    expect(await rejectionOf(guarded.ping(stranger.peerId))).toMatchObject({ code: 'protocol_refused' });
    expect(await rejectionOf(guarded.identify(stranger.peerId))).toMatchObject({ code: 'protocol_refused' });
    const member = await make();
    await stranger.dial(member.peerId, member.addresses());
    await stranger.identify(member.peerId);
    expect(await stranger.ping(member.peerId)).toBeGreaterThan(0);
  });

  it('gives the services of others a registrar behind the gate', async () => {
    const asked: string[] = [];
    let handled = 0;
    const serving = await make({
      gate: (_, protocol) => {
        asked.push(protocol);
        return !protocol.startsWith('/service/closed');
      },
      services: {
        service: (components) => ({
          start: async () => {
            for (const protocol of ['/service/open/1', '/service/closed/1']) {
              await components.registrar.handle(protocol, (stream) => {
                handled++;
                void stream.close();
              });
            }
          },
          stop: () => {},
        }),
      },
    });
    const stock = await stockNode();
    const connection = await stock.dial(multiaddr(serving.addresses()[0]));
    await connection.newStream('/service/open/1');
    const refused = await connection.newStream('/service/closed/1').catch(() => undefined);
    await until(() => refused === undefined || refused.status !== 'open');
    expect(handled).toBe(1);
    expect(asked).toEqual(expect.arrayContaining(['/service/open/1', '/service/closed/1']));
    await stock.stop();
  });

  it('survives a disconnect at any moment while a stream is being opened', async () => {
    const [here, there] = await pair();
    there.handle(protocols.infer, async (stream) => void (await stream.read()), { streamsPerPeer: 10 });
    for (let turns = 0; turns < 8; turns++) {
      await here.dial(there.peerId, there.addresses());
      // Once yamux knows the round trip it grows windows, on streams that have just been aborted as well.
      await here.ping(there.peerId);
      const opening = here.open(there.peerId, protocols.infer).then((stream) => stream.read());
      for (let turn = 0; turn < turns; turn++) {
        await Promise.resolve();
      }
      await here.disconnect(there.peerId);
      expect((await rejectionOf(opening)).code).toMatch(/stream_broken|peer_unreachable|protocol_refused/);
    }
  });

  it('carries gossipsub between members, once they are identified', async () => {
    const topic = 'test';
    const heard = Promise.withResolvers<string>();
    const pubsubs: GossipSub[] = [];
    const options = (): Parameters<typeof testHost>[0] => ({
      services: {
        pubsub: (components) => {
          const pubsub = gossipsub({ allowPublishToZeroTopicPeers: true })(components);
          pubsubs.push(pubsub);
          return pubsub;
        },
      },
    });
    const [here, there] = [await make(options()), await make(options())];
    const [sender, receiver] = pubsubs;
    receiver?.addEventListener('message', ({ detail }) =>
      heard.resolve(new TextDecoder().decode(detail.data)),
    );
    receiver?.subscribe(topic);
    await here.dial(there.peerId, there.addresses());
    await until(() => there.links().length === 1);
    await Promise.all([here.identify(there.peerId), there.identify(here.peerId)]);
    await until(() => (sender?.getSubscribers(topic).length ?? 0) > 0);
    await sender?.publish(topic, new TextEncoder().encode('news'));
    expect(await heard.promise).toBe('news');
  });

  it('dials names over both transports', async () => {
    const there = await make({ transports: both });
    const port = /tcp\/(\d+)/.exec(there.addresses()[0] ?? '')?.[1];
    const here = await make({ transports: both });
    await here.addPath(there.peerId, [`/dns4/localhost/tcp/${port}`], 'tcp');
    await here.addPath(there.peerId, [`/dns4/localhost/udp/${port}/quic-v1`], 'quic');
    expect(here.links()).toHaveLength(2);
  });

  it('forgets a peer that is gone: libp2p alone would remember every stranger', async () => {
    let known: () => Promise<number> = async () => -1;
    const there = await make({
      services: {
        spy: ({ peerStore }) => {
          known = async () =>
            (await peerStore.all()).filter(({ id }) => id.toString() !== there.peerId).length;
          return {};
        },
      },
    });
    const here = await make();
    await here.dial(there.peerId, there.addresses());
    await here.ping(there.peerId);
    expect(await known()).toBe(1);
    await here.close();
    await until(async () => (await known()) === 0);
  });

  it('closes twice, and answers no dial afterwards', async () => {
    const [here, there] = await pair();
    const gone = nextLink(there, 'closed');
    await Promise.all([here.close(), here.close()]);
    await gone;
    expect(await rejectionOf(here.dial(there.peerId, there.addresses()))).toMatchObject({
      code: 'shutting_down',
    });
    expect(await rejectionOf(there.dial(here.peerId, here.addresses()))).toMatchObject({
      code: 'peer_unreachable',
    });
  });

  it.each([
    ['TCP', '0'],
    ['TCP and QUIC', '1'],
  ])('over %s leaves nothing that keeps its process alive', { timeout: 20_000 }, async (_, quic) => {
    const script = joinPath(import.meta.dirname, '../../support/short-lived-host.ts');
    const child = spawn(process.execPath, [script], {
      env: { ...process.env, TEST_QUIC: quic },
      stdio: 'inherit',
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
    const [code] = await once(child, 'exit');
    clearTimeout(timer);
    expect(code).toBe(0);
  });
});

function nextLink(host: Libp2pHost, type: LinkEvent['type']): Promise<LinkEvent> {
  return new Promise((resolve) => {
    const stop = host.onLink((event) => {
      if (event.type === type) {
        stop();
        resolve(event);
      }
    });
  });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200 && !(await condition()); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(await condition()).toBe(true);
}
