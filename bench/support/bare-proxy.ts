// The least that a proxy in Node.js can do: passes a request on and the answer's bytes back, reading neither.
// What it adds is the floor of what any node in the same place adds. Prints {"port":N}; ends on SIGTERM.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { Pool } from 'undici';

const [origin = ''] = process.argv.slice(2);
const pool = new Pool(origin, { connections: 64 });

async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const answer = await pool.request({
    path: request.url ?? '/',
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: await buffer(request),
  });
  response.writeHead(answer.statusCode, { 'content-type': 'text/event-stream' });
  await pipeline(answer.body, response);
}

const server = createServer((request, response) => {
  pass(request, response).catch(() => response.destroy());
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
});
