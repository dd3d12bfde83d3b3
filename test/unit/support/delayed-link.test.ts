// The slow links of other tests: how late things arrive, in which order, and how the link breaks.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startDelayedTcp, startDelayedUdp } from '../../support/delayed-link.ts';

const oneWayMs = 20;

/** A server that sends back what it gets; its sockets end with the test. */
async function tcpEcho(): Promise<{ port: number; accepted: Socket[] }> {
  const accepted: Socket[] = [];
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    accepted.push(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of accepted) {
      socket.destroy();
    }
  });
  return { port: (server.address() as AddressInfo).port, accepted };
}

async function tcpClient(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, allowHalfOpen: true });
  socket.on('error', () => {});
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  return socket;
}

async function tcpLink() {
  const { port, accepted } = await tcpEcho();
  const link = await startDelayedTcp(port, oneWayMs);
  onTestFinished(() => link.close());
  return { link, accepted };
}

async function udpLink() {
  const echo = createSocket('udp4');
  echo.on('message', (packet, { port, address }) => echo.send(packet, port, address));
  echo.bind(0, '127.0.0.1');
  await once(echo, 'listening');
  const link = await startDelayedUdp(echo.address().port, oneWayMs);
  const client = createSocket('udp4');
  onTestFinished(async () => {
    client.close();
    await link.close();
    echo.close();
  });
  return { link, client };
}

async function medianOf(count: number, measure: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const startMs = performance.now();
    await measure();
    times.push(performance.now() - startMs);
  }
  return times.sort((a, b) => a - b)[Math.floor(count / 2)] ?? Number.NaN;
}

/** Whether it broke, once it is closed. */
function closeOf(socket: Socket | undefined): Promise<boolean> {
  return new Promise((resolve) => socket?.once('close', resolve));
}

/** Everything `socket` sends until its end. */
async function allOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

describe('a delayed TCP link', () => {
  test('makes a round trip take twice its delay', async () => {
    const { link } = await tcpLink();
    const client = await tcpClient(link.port);
    const roundTripMs = await medianOf(15, async () => {
      client.write('ping');
      await once(client, 'data');
    });
    expect(roundTripMs / (2 * oneWayMs)).toBeGreaterThan(0.95);
    expect(roundTripMs / (2 * oneWayMs)).toBeLessThan(1.5);
  });

  test('keeps every byte in order on many connections at once, and passes the end on', async () => {
    const { link } = await tcpLink();
    const sent = Buffer.from(Uint32Array.from({ length: 100_000 }, (_, index) => index).buffer);
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const client = await tcpClient(link.port);
        client.end(sent);
        expect((await allOf(client)).equals(sent)).toBe(true);
      }),
    );
  });

  test('holds a sender back whose bytes nobody takes', async () => {
    const { link, accepted } = await tcpLink();
    const client = await tcpClient(link.port);
    client.write('x');
    await once(client, 'data');
    link.freeze();
    const piece = Buffer.alloc(1024 * 1024);
    let isHeldBack = false;
    for (let mebibytes = 0; mebibytes < 64 && !isHeldBack; mebibytes++) {
      isHeldBack =
        !client.write(piece) &&
        !(await Promise.race([
          once(client, 'drain'),
          new Promise((resolve) => setTimeout(resolve, 50, undefined)),
        ]));
    }
    expect(isHeldBack).toBe(true);
    expect(accepted).toHaveLength(1);
  });

  test('lets nothing pass while frozen, and everything afterwards', async () => {
    const { link } = await tcpLink();
    const client = await tcpClient(link.port);
    link.freeze();
    let received = 0;
    client.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    client.write('held');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(received).toBe(0);
    link.thaw();
    await once(client, 'data');
    expect(received).toBe(4);
  });

  test('resets its connections when cut, and refuses new ones', async () => {
    const { link, accepted } = await tcpLink();
    const client = await tcpClient(link.port);
    client.write('ping');
    await once(client, 'data');
    const [server] = accepted;
    const broken = Promise.all([closeOf(client), closeOf(server)]);
    link.cut();
    expect(await broken).toEqual([true, true]);
    await expect(once(connect({ host: '127.0.0.1', port: link.port }), 'connect')).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });

  test('passes a break of one side on to the other', async () => {
    const { link, accepted } = await tcpLink();
    const client = await tcpClient(link.port);
    client.write('ping');
    await once(client, 'data');
    const closed = closeOf(client);
    accepted[0]?.resetAndDestroy();
    expect(await closed).toBe(true);
  });
});

describe('a delayed UDP link', () => {
  test('makes a round trip take twice its delay', async () => {
    const { link, client } = await udpLink();
    const roundTripMs = await medianOf(15, async () => {
      client.send('ping', link.port, '127.0.0.1');
      await once(client, 'message');
    });
    expect(roundTripMs / (2 * oneWayMs)).toBeGreaterThan(0.95);
    expect(roundTripMs / (2 * oneWayMs)).toBeLessThan(1.5);
  });

  test('keeps packets in order and whole, and loses every nth when told to', async () => {
    const { link, client } = await udpLink();
    const received: string[] = [];
    const { promise: last, resolve } = Promise.withResolvers<void>();
    client.on('message', (packet) => {
      received.push(packet.toString());
      if (packet.toString() === 'last') {
        resolve();
      }
    });
    link.dropEvery(3); // All nine go there before the first comes back: two, five and eight are lost.
    for (let index = 0; index < 9; index++) {
      client.send(`packet ${index}`, link.port, '127.0.0.1');
    }
    await new Promise((done) => setTimeout(done, oneWayMs / 2));
    link.dropEvery(0);
    client.send('last', link.port, '127.0.0.1');
    await last;
    expect(received).toEqual([0, 1, 3, 4, 6, 7].map((index) => `packet ${index}`).concat('last'));
  });

  test('carries nothing while frozen, everything afterwards, and nothing once it is cut', async () => {
    const { link, client } = await udpLink();
    let received = 0;
    client.on('message', () => {
      received++;
    });
    link.freeze();
    client.send('held', link.port, '127.0.0.1');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(received).toBe(0);
    link.thaw();
    await once(client, 'message');
    link.cut();
    client.send('lost', link.port, '127.0.0.1');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(received).toBe(1);
  });
});
