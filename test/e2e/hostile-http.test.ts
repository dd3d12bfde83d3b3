// Clients that mean harm or are broken, on the real process: it lives, its memory stays bounded, and
// everybody else is answered.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { apiLimits } from '../../src/util/limits/api.ts';
import { rawConnect } from '../support/raw-http.ts';
import { type StartedNode, startNode } from '../support/started-process.ts';

const MiB = 1024 * 1024;

let node: StartedNode;
let port: number;
beforeAll(async () => {
  node = await startNode([]);
  port = Number(new URL(node.origin).port);
});
afterAll(() => node.stop('SIGKILL'));

async function residentBytes(): Promise<number> {
  const status = await readFile(`/proc/${node.process.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

async function expectOthersAnswered(): Promise<void> {
  for (const path of ['/health', '/v1/models']) {
    expect((await fetch(`${node.origin}${path}`)).status).toBe(200);
  }
}

describe.runIf(process.platform === 'linux')('the node', () => {
  afterEach(expectOthersAnswered);

  it.each([
    { what: 'random bytes', bytes: () => randomBytes(MiB) },
    { what: 'a TLS greeting', bytes: () => Buffer.from('16030100f8010000f40303', 'hex') },
    { what: 'a request line without end', bytes: () => Buffer.alloc(MiB, 'GET /') },
    { what: 'zeros', bytes: () => Buffer.alloc(MiB) },
  ])('closes on $what', async ({ bytes }) => {
    const { socket, closed } = await rawConnect(port);
    socket.write(bytes());
    expect(await closed).toMatch(/^(HTTP\/1\.1 4\d\d |$)/);
  });

  it('refuses headers that are too large', async () => {
    const { write, closed } = await rawConnect(port);
    write(`GET /health HTTP/1.1\r\nhost: localhost\r\nx-large: ${'x'.repeat(64 * 1024)}\r\n\r\n`);
    expect(await closed).toMatch(/^HTTP\/1\.1 431 .*"code":"headers_too_large"/s);
  });

  it('refuses a body that says it is too large before it is sent', async () => {
    const { write, until } = await rawConnect(port);
    const head = ['POST /v1/chat/completions HTTP/1.1', 'host: localhost', 'content-type: application/json'];
    write([...head, `content-length: ${10 ** 12}`, '', '{'].join('\r\n'));
    expect(await until('body_too_large')).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('refuses a chunked body once it is too large, without keeping it', async () => {
    const beforeBytes = await residentBytes();
    const { socket, write, closed } = await rawConnect(port);
    const head = ['POST /v1/chat/completions HTTP/1.1', 'host: localhost', 'content-type: application/json'];
    write([...head, 'transfer-encoding: chunked', '', ''].join('\r\n'));
    const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(MiB, ' '), Buffer.from('\r\n')]);
    while (!socket.destroyed) {
      if (!socket.write(chunk)) {
        await Promise.race([once(socket, 'drain').catch(() => {}), closed]);
      }
    }
    expect(await closed).toMatch(/^HTTP\/1\.1 413 /);
    expect((await residentBytes()) - beforeBytes).toBeLessThan(256 * MiB);
  });

  it('answers others beside a thousand idle connections and a hundred half requests', async () => {
    const beforeBytes = await residentBytes();
    const sockets = await Promise.all(Array.from({ length: 1000 }, () => idleConnection()));
    for (const socket of sockets.slice(0, 100)) {
      socket.write('POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-le');
    }
    await expectOthersAnswered();
    expect((await residentBytes()) - beforeBytes).toBeLessThan(64 * MiB);
    for (const socket of sockets) {
      socket.destroy();
    }
  });

  it('closes what comes above its bound of connections, and takes more once some are gone', async () => {
    const sockets = await Promise.all(Array.from({ length: 1100 }, () => idleConnection()));
    const open = (): number => sockets.filter(({ destroyed }) => !destroyed).length;
    await expect.poll(open).toBeLessThanOrEqual(apiLimits.connections);
    expect(open()).toBeGreaterThan(1000);
    for (const socket of sockets) {
      socket.destroy();
    }
    await expect
      .poll(() =>
        fetch(`${node.origin}/health`).then(
          ({ status }) => status,
          () => 0,
        ),
      )
      .toBe(200);
  });
});

async function idleConnection(): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.on('error', () => {}).resume();
  await once(socket, 'connect');
  return socket;
}
