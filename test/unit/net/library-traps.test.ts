// What the libraries do by themselves at the versions in use, each shown on stock libp2p. The host is built around
// these; the tests of the same names in the compliance suite, and those below, show that it does not do it. When one
// of these fails after an upgrade, the trap is gone and what guards against it may go too.
import type { Connection, Libp2p } from '@libp2p/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { protocols } from '../../../src/trust/gate.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import {
  closeOf,
  sendAll,
  servedStream,
  stockNode,
  stockPair,
  testProtocol,
} from '../../support/stock-libp2p.ts';
import { testHost } from '../../support/test-host.ts';

const MiB = 2 ** 20;

describe('stock libp2p', () => {
  const nodes: Array<{ stop(): unknown }> = [];
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.stop()));
  });
  const pairOfNodes = async (windows: 'stock' | 'host' = 'stock') => {
    const pair = await stockPair(windows);
    nodes.push(pair.here, pair.there);
    return pair;
  };

  it('runs a handler behind a middleware once more for every stream before; the gate of the host does not', async () => {
    const { there, connection } = await pairOfNodes();
    let calls = 0;
    await there.handle(testProtocol, () => {
      calls++;
    });
    there.use(testProtocol, (stream, on, next) => next(stream, on));
    for (let streams = 0; streams < 4; streams++) {
      await connection.newStream(testProtocol);
    }
    await reaches(() => calls, 1 + 2 + 3 + 4);

    const host = await testHost();
    const opener = await testHost();
    nodes.push({ stop: () => host.close() }, { stop: () => opener.close() });
    let served = 0;
    host.handle(
      protocols.infer,
      async () => {
        served++;
      },
      { streamsPerPeer: 100 },
    );
    await opener.dial(host.peerId, host.addresses());
    for (let streams = 0; streams < 4; streams++) {
      const stream = await opener.open(host.peerId, protocols.infer);
      await stream.read();
    }
    expect(served).toBe(4);
  });

  it('resets a paused yamux stream whose window has grown', async () => {
    const { there, connection } = await pairOfNodes();
    const serving = servedStream(there);
    const stream = await connection.newStream(testProtocol);
    const served = await serving;
    let received = 0;
    served.addEventListener('message', (event) => {
      received += event.data.byteLength;
      if (received > 32 * MiB) {
        served.pause();
      }
    });
    const error = closeOf(served);
    void sendAll(stream, 128 * MiB);
    expect((await error)?.message).toMatch(/^Read buffer length of \d+ exceeded limit of 4194304/);
  });

  it('forgets a pause that is asked for while resume() delivers, with the windows of the host as well', async () => {
    const { there, connection } = await pairOfNodes('host');
    const serving = servedStream(there);
    const stream = await connection.newStream(testProtocol);
    const served = await serving;
    served.addEventListener('message', () => served.pause());
    const error = closeOf(served);
    void sendAll(stream, 64 * MiB);
    await reaches(() => Number(served.readStatus === 'paused' && served.readBufferLength > 0), 1);
    served.resume();
    expect((await error)?.message).toMatch(/^Read buffer length of \d+ exceeded limit of 8388608/);
  });

  it('waits for onDrain() once only, and queues without bound afterwards', async () => {
    const { there, connection } = await pairOfNodes();
    const serving = servedStream(there);
    const stream = await connection.newStream(testProtocol);
    const served = await serving;
    let drained = false;
    served.addEventListener('message', () => {
      // The reader takes what makes the first drain, then no more.
      if (drained) {
        served.pause();
      }
    });
    stream.addEventListener('drain', () => {
      drained = true;
    });
    const piece = new Uint8Array(64 * 1024);
    for (let sent = 0; sent < 64 * MiB; sent += piece.length) {
      if (!stream.send(piece)) {
        await stream.onDrain();
      }
    }
    expect(stream.writeBufferLength).toBeGreaterThan(32 * MiB);
  });

  it('lets five peers of one address in a second; the compliance suite has twelve at once', async () => {
    const listener = await stockNode();
    const dialers = await Promise.all(Array.from({ length: 12 }, () => stockNode()));
    nodes.push(listener, ...dialers);
    const dials = await Promise.allSettled(dialers.map((node) => dialOnce(node, listener)));
    expect(dials.filter((dial) => dial.status === 'fulfilled').length).toBeLessThan(12);
  });

  it('says an end on every stream of a connection that is closed', async () => {
    const { there, connection } = await pairOfNodes();
    const serving = servedStream(there);
    await connection.newStream(testProtocol);
    const served = await serving;
    const ended = new Promise<string>((resolve) => {
      served.addEventListener('remoteCloseWrite', () => resolve('end'), { once: true });
      served.addEventListener('close', () => resolve('close'), { once: true });
    });
    void connection.close();
    expect(await ended).toBe('end');
  });

  it('destroys a TCP connection with the signal of its dial, long after the dial', async () => {
    const { here, there } = await pairOfNodes();
    await here.hangUp(there.peerId);
    const dialling = new AbortController();
    const transports = (here as Libp2p & { components: { transportManager: TransportManager } }).components;
    const [address] = there.getMultiaddrs();
    const connection = await transports.transportManager.dial(address, { signal: dialling.signal });
    const closed = new Promise<void>((resolve) => {
      connection.addEventListener('close', () => resolve(), { once: true });
    });
    dialling.abort();
    await closed;
    expect(connection.status).not.toBe('open');
  });
});

describe('the host', () => {
  it('keeps a connection when the signal of its dial aborts later', async () => {
    const here = await testHost();
    const there = await testHost();
    const dialling = new AbortController();
    await here.dial(there.peerId, there.addresses(), dialling.signal);
    dialling.abort();
    await sleep(systemClock, 20);
    expect(await here.ping(there.peerId)).toBeGreaterThan(0);
    await Promise.all([here.close(), there.close()]);
  });
});

interface TransportManager {
  dial(address: unknown, options: { signal: AbortSignal }): Promise<Connection>;
}

function dialOnce(from: Libp2p, to: Libp2p): Promise<Connection> {
  return from.dial(to.getMultiaddrs(), { signal: AbortSignal.timeout(1_000) });
}

async function reaches(count: () => number, wanted: number): Promise<void> {
  for (let tries = 0; tries < 200 && count() < wanted; tries++) {
    await sleep(systemClock, 10);
  }
  expect(count()).toBe(wanted);
}
