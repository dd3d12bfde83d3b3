// Peers that are no members and behave badly: what they cost is bounded, and others do not notice.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { afterEach, describe, expect, it } from 'vitest';
import { AbuseMeter } from '../../../src/net/connection-guard.ts';
import { createHost, type Libp2pHost } from '../../../src/net/host.ts';
import { InboundStreams } from '../../../src/net/inbound-streams.ts';
import type { Gate } from '../../../src/net/network.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { hurriedClock } from '../../support/hurried-clock.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { stockNode } from '../../support/stock-libp2p.ts';
import { testHost } from '../../support/test-host.ts';

describe('a host under abuse', () => {
  const closing: Array<() => unknown> = [];
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });

  /** A host whose members are those of the returned set; anybody may join. */
  const guarded = async (): Promise<{ host: Libp2pHost; members: Set<string>; joins: () => number }> => {
    const members = new Set<string>();
    const gate: Gate = (peer, protocol) => protocol === protocols.join || members.has(peer);
    const host = await testHost({ gate });
    closing.push(() => host.close());
    let joins = 0;
    host.handle(
      protocols.join,
      async (stream) => {
        joins++;
        await stream.closed;
      },
      { streamsPerPeer: 4 },
    );
    return { host, members, joins: () => joins };
  };
  const stranger = async (host: Libp2pHost): Promise<{ node: Libp2p; connection: Connection }> => {
    const node = await stockNode();
    closing.push(() => node.stop());
    const connection = await node.dial(multiaddr(host.addresses()[0]));
    await until(() => host.links().length > 0);
    return { node, connection };
  };

  it('closes a connection that opens streams without end', async () => {
    const { host } = await guarded();
    const { connection } = await stranger(host);
    let opened = 0;
    const flood = async (): Promise<void> => {
      while (connection.status === 'open' && opened < 5_000) {
        opened++;
        void connection.newStream('/nobody/serves/this').catch(() => {});
        await Promise.resolve();
      }
    };
    await flood();
    await until(() => host.links().length === 0);
    expect(opened).toBeGreaterThan(netLimits.abuses);
  });

  it('keeps sixteen streams of a stranger that negotiates nothing, and drops them in time', async () => {
    const { host } = await guarded();
    const { connection } = await stranger(host);
    const muxer = muxerOf(connection);
    const streams: Stream[] = [];
    for (let count = 0; count < netLimits.unadmittedStreams + 10; count++) {
      streams.push(await muxer.createStream());
    }
    const open = (): number => streams.filter(({ status }) => status === 'open').length;
    await until(() => open() === netLimits.unadmittedStreams);
    await until(() => open() === 0, netLimits.negotiationMs + 3_000);
  }, 15_000);

  it('resets a stream of garbage, and closes the connection if it goes on', async () => {
    const { host, joins } = await guarded();
    const { connection } = await stranger(host);
    const muxer = muxerOf(connection);
    for (let count = 0; count < 10 * netLimits.abuses && connection.status === 'open'; count++) {
      try {
        const stream = await muxer.createStream();
        stream.send(new Uint8Array(netLimits.unadmittedBytes + 1).fill(0xff));
        await closeOf(stream);
      } catch {
        break;
      }
    }
    await until(() => host.links().length === 0);
    expect(joins()).toBe(0);
  });

  it('lets a stranger leave few bytes unread', async () => {
    const { host, joins } = await guarded();
    const { connection } = await stranger(host);
    const stream = await connection.newStream(protocols.join);
    await until(() => joins() === 1);
    const closed = closeOf(stream);
    for (let sent = 0; sent < 64 && stream.status === 'open'; sent++) {
      stream.send(new Uint8Array(64 * 1024));
      await sleep(systemClock, 1);
    }
    await closed;
    expect(stream.status).not.toBe('open');
  });

  it('cuts a peer that makes the host answer and reads nothing of it', async () => {
    const { host, members } = await guarded();
    const { node, connection } = await stranger(host);
    members.add(node.peerId.toString());
    const muxer = muxerOf(connection) as ReturnType<typeof muxerOf> & {
      send(frame: Uint8Array): boolean;
      maConn: { pause(): void };
    };
    muxer.maConn.pause();
    // A yamux ping asks for an answer of twelve bytes.
    const pings = Buffer.concat(
      Array.from({ length: 5_000 }, () => Buffer.from('000200010000000000000001', 'hex')),
    );
    for (let round = 0; round < 2_000 && host.links().length > 0; round++) {
      if (connection.status === 'open') {
        muxer.send(new Uint8Array(pings));
      }
      await sleep(systemClock, 1);
    }
    expect(host.links()).toEqual([]);
  }, 30_000);

  it('closes a connection whose peer never becomes a member', async () => {
    const host = await createHost(
      {
        keySeed: systemRandom.bytes(32),
        listen: { host: '127.0.0.1', port: 0 },
        announce: [],
        transports: { tcp: true, quic: false },
        gate: (_, protocol) => protocol === protocols.join,
      },
      { clock: hurriedClock(100), random: systemRandom, log: silentLogger },
    );
    closing.push(() => host.close());
    await stranger(host);
    await until(() => host.links().length === 0);
  });

  it('closes the oldest connection of a stranger when there are too many, and none of a member', () => {
    const members = new Set<string>();
    const gate: Gate = (peer) => members.has(peer);
    const inbound = new InboundStreams(gate, new ManualClock(), silentLogger);
    const connections = Array.from({ length: netLimits.strangers + 3 }, (_, index) =>
      fakeConnection(`peer ${index}`),
    );
    members.add('peer 1');
    for (const { connection } of connections) {
      inbound.watch(connection);
    }
    const aborted = connections.flatMap(({ connection, aborts }) =>
      aborts() > 0 ? [connection.remotePeer.toString()] : [],
    );
    expect(aborted).toEqual(['peer 0', 'peer 2']);
  });

  it('gives one peer so many connections and no more', async () => {
    const { host } = await guarded();
    const { node } = await stranger(host);
    for (let count = 0; count < 2 * netLimits.linksPerPeer; count++) {
      await node.dial(multiaddr(host.addresses()[0]), { force: true }).catch(() => {});
    }
    await until(() => host.links().length === netLimits.linksPerPeer);
    expect(host.links().length).toBe(netLimits.linksPerPeer);
  });

  it('gives sockets that say nothing, or nonsense, a few seconds', async () => {
    const { host } = await guarded();
    const port = Number(/tcp\/(\d+)/.exec(host.addresses()[0] ?? '')?.[1]);
    const silent = await socketTo(port);
    const loud = await socketTo(port);
    closing.push(
      () => silent.destroy(),
      () => loud.destroy(),
    );
    loud.write(new Uint8Array(100_000).fill(0x16));
    await closedSocket(loud);
    const startMs = systemClock.monotonicMs();
    await closedSocket(silent);
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(netLimits.upgradeMs + 2_000);
    expect(host.links()).toEqual([]);
  }, 15_000);

  it('gives one host so many places to prove a key in, and no more, until they are free again', async () => {
    const { host } = await guarded();
    const port = Number(/tcp\/(\d+)/.exec(host.addresses()[0] ?? '')?.[1]);
    const silent: Socket[] = [];
    for (let count = 0; count < netLimits.pendingInboundPerHost; count++) {
      silent.push(await socketTo(port));
    }
    const startMs = systemClock.monotonicMs();
    const surplus = connect(port, '127.0.0.1');
    surplus.on('error', () => {});
    await closedSocket(surplus);
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(netLimits.upgradeMs / 2);
    expect(silent.every(({ destroyed }) => !destroyed)).toBe(true);
    await Promise.all(silent.map((socket) => closedSocket(socket.destroy())));
    const newcomer = await testHost();
    closing.push(() => newcomer.close());
    const dial = (): Promise<void> => newcomer.dial(host.peerId, host.addresses());
    await dial().catch(dial); // The host may not have heard yet that the places are free.
  });

  it('answers members as quickly as before', async () => {
    const { host, members } = await guarded();
    const member = await testHost();
    closing.push(() => member.close());
    members.add(member.peerId);
    await member.dial(host.peerId, host.addresses());
    await until(() => host.links().length === 1);
    const { connection } = await stranger(host);
    const muxer = muxerOf(connection);
    let flooding = true;
    const flood = (async () => {
      while (flooding) {
        const stream = await muxer.createStream().catch(() => undefined);
        stream?.send(new Uint8Array(netLimits.unadmittedBytes + 1).fill(0xff));
        await sleep(systemClock, 1);
      }
    })();
    const times: number[] = [];
    for (let round = 0; round < 30; round++) {
      times.push(await member.ping(host.peerId));
    }
    flooding = false;
    await flood;
    expect(times.sort((one, other) => one - other)[15]).toBeLessThan(50);
    expect(host.links().some(({ peer }) => peer === member.peerId)).toBe(true);
  });
});

describe('the count of offences', () => {
  it('forgives a burst, and one a second for ever', () => {
    const meter = new AbuseMeter(0);
    for (let second = 0; second < 10_000; second++) {
      expect(meter.add(second * 1_000)).toBe(false);
    }
    const burst = Array.from({ length: netLimits.abuses + 1 }, () => meter.add(10_000_000));
    expect(burst.indexOf(true)).toBe(netLimits.abuses);
  });
});

/** As much of a connection as is needed to watch it. */
function fakeConnection(peer: string): { connection: Connection; aborts: () => number } {
  let aborts = 0;
  const connection = Object.assign(new EventTarget(), {
    remotePeer: { toString: () => peer },
    direction: 'inbound',
    status: 'open',
    streams: [],
    muxer: new EventTarget(),
    abort: () => {
      aborts++;
    },
  });
  return { connection: connection as unknown as Connection, aborts: () => aborts };
}

interface Muxer {
  createStream(): Promise<Stream>;
}

function muxerOf(connection: Connection): Muxer {
  return (connection as Connection & { muxer: Muxer }).muxer;
}

function closeOf(stream: Stream): Promise<void> {
  return new Promise((resolve) => {
    stream.addEventListener('close', () => resolve(), { once: true });
  });
}

function closedSocket(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
    socket.resume();
  });
}

async function socketTo(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

async function until(condition: () => boolean, withinMs = 5_000): Promise<void> {
  for (let waitedMs = 0; waitedMs < withinMs && !condition(); waitedMs += 10) {
    await sleep(systemClock, 10);
  }
  expect(condition()).toBe(true);
}
