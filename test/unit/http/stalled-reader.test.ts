import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { cutUnlessTaken } from '../../../src/http/stalled-reader.ts';

let server: Server;
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

async function serve(answer: Buffer, stalledReaderMs: number): Promise<number> {
  server = createServer((_, response) => {
    cutUnlessTaken(response, stalledReaderMs);
    response.end(answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

it('cuts a client that does not read its whole answer', async () => {
  const port = await serve(Buffer.alloc(64 * 2 ** 20), 50);
  const client = connect(port, '127.0.0.1');
  const served = once(server, 'connection');
  client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  client.pause();
  const [socket] = await served;
  await once(socket, 'close');
  client.destroy();
});

it('lets a connection be used again that took its answer', async () => {
  const port = await serve(Buffer.from('well'), 50);
  const ask = async () => (await fetch(`http://127.0.0.1:${port}/`)).text();
  expect(await ask()).toBe('well');
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await ask()).toBe('well');
});
