// The management API over real sockets: who may call, what it tells and does.
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ManagedNode, startConsole } from '../../../src/console/console.ts';
import type { ManagedMesh } from '../../../src/console/mesh-port.ts';
import type { NodeStatus } from '../../../src/console/status.ts';
import type { HttpServer } from '../../../src/http/server.ts';
import { Emitter } from '../../../src/util/async.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { apiLimits } from '../../../src/util/limits/api.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';

const token = 'f'.repeat(64);

/** A node that remembers what it was told to do. */
class NodeDouble implements ManagedNode {
  readonly asked: string[] = [];
  readonly #events = new Emitter<{ id: number; event: object }>();
  listeners = 0;

  status(): NodeStatus {
    return {
      name: 'attic',
      peerId: 'p1',
      version: '1.0.0',
      pid: 1,
      uptimeSeconds: 2,
      apiUrl: 'http://127.0.0.1:9337',
      ready: true,
      requestsInFlight: 0,
      requestsOfPeers: 0,
      residentBytes: 3,
      models: [],
    };
  }

  models() {
    return [
      {
        name: 'demo',
        reference: 'demo',
        aliases: [],
        stage: 'ready' as const,
        createdAt: '2026-01-01T00:00:00.000Z',
      },
    ];
  }

  async cluster(wanted: object) {
    this.asked.push(`cluster ${JSON.stringify(wanted)}`);
    return { nodes: [], links: [] };
  }

  load(reference: string): void {
    if (reference === '?') {
      throw new MeshnodeError('model_ref_invalid', 'That is no reference.');
    }
    this.asked.push(`load ${reference}`);
  }

  async unload(name: string): Promise<void> {
    if (name !== 'demo') {
      throw new MeshnodeError('model_not_found', `No ${name} here.`);
    }
    this.asked.push(`unload ${name}`);
  }

  stop(): void {
    this.asked.push('stop');
  }

  mesh(): ManagedMesh {
    throw new MeshnodeError('mesh_missing', 'There is no mesh.');
  }

  follow(listener: (numbered: { id: number; event: object }) => void, afterId: number): () => void {
    this.listeners++;
    for (let id = afterId + 1; id <= 3; id++) {
      listener({ id, event: { event: 'kept', number: id } });
    }
    const stop = this.#events.listen(listener);
    return () => {
      this.listeners--;
      stop();
    };
  }

  emit(id: number): void {
    this.#events.emit({ id, event: { event: 'fresh', number: id } });
  }
}

let node: NodeDouble;
let server: HttpServer;

beforeEach(async () => {
  node = new NodeDouble();
  server = await startConsole({
    node,
    port: 0,
    token,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
});
afterEach(() => server.close(0));

interface Call {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
}

/** Sends a request as the owner of the token, unless told otherwise. */
async function send(
  path: string,
  { method = 'GET', headers = {}, body }: Call = {},
): Promise<IncomingMessage> {
  const outgoing = request(`${server.url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
  });
  outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = await once(outgoing, 'response');
  return response;
}

async function call(
  path: string,
  options: Call = {},
): Promise<{ status: number | undefined; json: unknown }> {
  const response = await send(path, options);
  let text = '';
  for await (const chunk of response) {
    text += chunk;
  }
  return { status: response.statusCode, json: JSON.parse(text) };
}

const errorCode = (code: string) => ({ error: expect.objectContaining({ code }) });

describe('who may call', () => {
  it.each([
    { name: 'nobody without the token', headers: { authorization: '' } },
    { name: 'nobody with another token', headers: { authorization: `Bearer ${'0'.repeat(64)}` } },
  ])('$name', async ({ headers }) => {
    const answer = await call('/api/status', { headers });
    expect(answer).toEqual({ status: 401, json: errorCode('invalid_api_key') });
  });

  it('nobody by the name of another host, even with the token', async () => {
    const answer = await call('/api/stop', { method: 'POST', headers: { host: 'evil.example:3131' } });
    expect(answer).toEqual({ status: 403, json: errorCode('forbidden_origin') });
    expect(node.asked).toEqual([]);
  });

  it('no page of another origin, even with the token', async () => {
    const answer = await call('/api/stop', { method: 'POST', headers: { origin: 'https://evil.example' } });
    expect(answer).toEqual({ status: 403, json: errorCode('forbidden_origin') });
    expect(node.asked).toEqual([]);
  });

  it('only this machine', () => {
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  });

  it('no page may read an answer across origins', async () => {
    const response = await send('/api/status', { headers: { origin: 'http://localhost:5173' } });
    response.resume();
    expect(response.headers['access-control-allow-origin']).toBeUndefined();
  });
});

describe('what it tells', () => {
  it('the state of the node', async () => {
    expect(await call('/api/status')).toEqual({ status: 200, json: node.status() });
  });

  it('the models', async () => {
    expect(await call('/api/models')).toEqual({ status: 200, json: { models: node.models() } });
  });

  it('that a route does not exist, or takes another method', async () => {
    expect(await call('/v1/chat/completions')).toMatchObject({ status: 404, json: errorCode('unknown_url') });
    expect(await call('/api/stop')).toMatchObject({ status: 405, json: errorCode('method_not_allowed') });
  });
});

describe('what it does', () => {
  it('begins to load a model', async () => {
    const answer = await call('/api/models/load', { method: 'POST', body: { reference: './a.gguf' } });
    expect(answer.status).toBe(202);
    expect(node.asked).toEqual(['load ./a.gguf']);
  });

  it('unloads a model', async () => {
    expect((await call('/api/models/unload', { method: 'POST', body: { name: 'demo' } })).status).toBe(200);
    expect(node.asked).toEqual(['unload demo']);
  });

  it('stops the node, after it has answered', async () => {
    expect((await call('/api/stop', { method: 'POST' })).status).toBe(202);
    expect(node.asked).toEqual(['stop']);
  });

  it.each([
    { path: '/api/models/load', body: { reference: '?' }, status: 400, code: 'model_ref_invalid' },
    { path: '/api/models/load', body: { reference: 7 }, status: 400, code: 'invalid_request' },
    { path: '/api/models/load', body: { reference: 'demo', more: 1 }, status: 400, code: 'invalid_request' },
    { path: '/api/models/load', body: [], status: 400, code: 'invalid_request' },
    { path: '/api/models/unload', body: { name: 'other' }, status: 404, code: 'model_not_found' },
    {
      path: '/api/models/load',
      body: { reference: 'x'.repeat(apiLimits.managementBodyBytes) },
      status: 413,
      code: 'body_too_large',
    },
  ])('refuses $code with $status', async ({ path, body, status, code }) => {
    expect(await call(path, { method: 'POST', body })).toEqual({ status, json: errorCode(code) });
    expect(node.asked).toEqual([]);
  });
});

describe('the stream of events', () => {
  /** The next `count` lines that are neither empty nor comments. */
  async function lines(response: IncomingMessage, count: number): Promise<string[]> {
    const found: string[] = [];
    for await (const line of createInterface(response)) {
      if (line !== '' && !line.startsWith(':') && found.push(line) === count) {
        break;
      }
    }
    return found;
  }

  it('replays what the client has not seen, then goes on', async () => {
    const response = await send('/api/events', { headers: { 'last-event-id': '2' } });
    expect(response.headers['content-type']).toContain('text/event-stream');
    node.emit(4);
    expect(await lines(response, 4)).toEqual([
      'id: 3',
      'data: {"event":"kept","number":3}',
      'id: 4',
      'data: {"event":"fresh","number":4}',
    ]);
    response.destroy();
  });

  it('begins at the beginning for a client that says nothing sensible', async () => {
    const response = await send('/api/events', { headers: { 'last-event-id': 'x' } });
    expect((await lines(response, 1))[0]).toBe('id: 1');
    response.destroy();
  });

  it('is let go of when the client leaves', async () => {
    const response = await send('/api/events');
    expect(node.listeners).toBe(1);
    response.destroy();
    await expect.poll(() => node.listeners, { interval: 5 }).toBe(0);
  });

  it('cuts a client that does not keep up', async () => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write(`GET /api/events HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${token}\r\n\r\n`);
    await once(socket, 'data');
    socket.pause();
    for (let id = 4; node.listeners > 0 && id < 1_000_000; id++) {
      node.emit(id);
      if (id % 1000 === 0) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    expect(node.listeners).toBe(0);
    socket.destroy();
  });
});
