import { describe, expect, it, onTestFinished } from 'vitest';
import { BodyReader } from '../../../src/http/body.ts';
import type { HttpHandler } from '../../../src/http/exchange.ts';
import { type ErrorBody, sendError, sendJson } from '../../../src/http/json-answer.ts';
import { type HttpLimits, startHttpServer } from '../../../src/http/server.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { asMeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { rawConnect, rawGet, rawPost } from '../../support/raw-http.ts';

const echoPath: HttpHandler = async ({ request, response }) => {
  sendJson(response, 200, { path: request.url });
};

async function startServer(handler: HttpHandler, limits: Partial<HttpLimits> = {}, port = 0) {
  const server = await startHttpServer({
    host: '127.0.0.1',
    port,
    handler,
    limits,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  onTestFinished(() => server.close(0));
  return server;
}

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as ErrorBody).error.code;
}

function bodyHandler(bodyBytes: number, bodiesBytes = 1_000_000): HttpHandler {
  const bodies = new BodyReader({ bodyBytes, bodiesBytes, jsonDepth: 8 });
  return async (exchange) => {
    try {
      sendJson(exchange.response, 200, { body: await bodies.readJson(exchange) });
    } catch (error) {
      sendError(exchange.response, asMeshnodeError(error));
    }
  };
}

describe('the HTTP server', () => {
  it('keeps a connection for many requests', async () => {
    const server = await startServer(echoPath);
    const connection = await rawConnect(server.port);
    for (const path of ['/1', '/2', '/3']) {
      connection.write(rawGet(path));
      await connection.until(`{"path":"${path}"}`);
    }
    expect(connection.received().match(/connection: keep-alive/gi)).toHaveLength(3);
  });

  it('answers pipelined requests in their order, however long each takes', async () => {
    const first = Promise.withResolvers<void>();
    const server = await startServer(async ({ request, response }) => {
      if (request.url === '/slow') {
        await first.promise;
      } else {
        first.resolve();
      }
      sendJson(response, 200, request.url);
    });
    const connection = await rawConnect(server.port);
    connection.write(rawGet('/slow') + rawGet('/quick') + rawGet('/last'));
    const text = await connection.until('"/last"');
    expect(text.match(/"\/\w+"/g)).toEqual(['"/slow"', '"/quick"', '"/last"']);
  });

  it('says which port is taken', async () => {
    const server = await startServer(echoPath);
    await expect(startServer(echoPath, {}, server.port)).rejects.toMatchObject({
      code: 'port_in_use',
      message: expect.stringContaining(String(server.port)),
    });
  });

  it('says that an address is not of this machine', async () => {
    const started = startHttpServer({
      host: '203.0.113.1',
      port: 0,
      handler: echoPath,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    await expect(started).rejects.toMatchObject({ code: 'config_invalid' });
  });

  it('answers what is no HTTP with a JSON 400', async () => {
    const server = await startServer(echoPath);
    const connection = await rawConnect(server.port);
    connection.write('\x16\x03\x01 hello TLS\r\n\r\n');
    const text = await connection.closed;
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toMatch(/x-request-id: req_/);
    expect(JSON.parse(text.split('\r\n\r\n')[1] ?? '').error.code).toBe('invalid_request');
  });

  it('answers a request without Host with a JSON 400', async () => {
    const server = await startServer(echoPath);
    const connection = await rawConnect(server.port);
    connection.write('GET / HTTP/1.1\r\n\r\n');
    expect(await connection.until('Host header')).toMatch(/^HTTP\/1\.1 400 /);
  });

  it('answers headers that are too large with 431', async () => {
    const server = await startServer(echoPath, { headerBytes: 2_000 });
    const connection = await rawConnect(server.port);
    connection.write(`GET / HTTP/1.1\r\nHost: localhost\r\nx-long: ${'x'.repeat(3_000)}\r\n\r\n`);
    expect(await connection.until('headers_too_large')).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('answers headers that never end with 408', async () => {
    const server = await startServer(echoPath, { headersTimeoutMs: 100, requestTimeoutMs: 5_000 });
    const connection = await rawConnect(server.port);
    connection.write('GET / HTTP/1.1\r\nHost: localhost\r\nx-slow: ');
    expect(await connection.closed).toMatch(/^HTTP\/1\.1 408 .*request_timeout/s);
  });

  it('answers a body that never ends with 408', async () => {
    const server = await startServer(bodyHandler(1_000), { headersTimeoutMs: 100, requestTimeoutMs: 150 });
    const connection = await rawConnect(server.port);
    connection.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"a"');
    expect(await connection.closed).toMatch(/^HTTP\/1\.1 408 .*request_timeout/s);
  });

  it('closes connections above its limit', async () => {
    const server = await startServer(echoPath, { connections: 1 });
    const first = await rawConnect(server.port);
    first.write(rawGet('/first'));
    await first.until('/first');
    const second = await rawConnect(server.port);
    expect(await second.closed).toBe('');
  });

  it('repeats a harmless request id and replaces any other', async () => {
    const server = await startServer(echoPath);
    const idFor = async (given: string) => {
      const response = await fetch(server.url, { headers: { 'x-request-id': given } });
      return response.headers.get('x-request-id');
    };
    expect(await idFor('trace-1:a/b=c')).toBe('trace-1:a/b=c');
    expect(await idFor('x'.repeat(129))).toMatch(/^req_[a-z0-9]{24}$/);
    expect(await idFor('a b')).toMatch(/^req_[a-z0-9]{24}$/);
    expect(await idFor('"><script>')).toMatch(/^req_[a-z0-9]{24}$/);
  });

  it('tells a handler at once that its client has left', async () => {
    const started = Promise.withResolvers<void>();
    const left = Promise.withResolvers<unknown>();
    const server = await startServer(async ({ signal }) => {
      started.resolve();
      signal.addEventListener('abort', () => left.resolve(signal.reason));
      await left.promise;
    });
    const connection = await rawConnect(server.port);
    connection.write(rawGet('/'));
    await started.promise;
    connection.socket.destroy();
    expect(await left.promise).toMatchObject({ code: 'cancelled' });
  });

  it('tells the handlers of pipelined requests too', async () => {
    const started = Promise.withResolvers<void>();
    const left: string[] = [];
    const server = await startServer(async ({ request, signal }) => {
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          left.push(String(request.url));
          resolve();
        });
        if (request.url === '/second') {
          started.resolve();
        }
      });
    });
    const connection = await rawConnect(server.port);
    connection.write(rawGet('/first') + rawGet('/second'));
    await started.promise;
    connection.socket.destroy();
    await expect.poll(() => left.toSorted()).toEqual(['/first', '/second']);
  });

  it('breaks the connection of a handler that fails, and lives on', async () => {
    const server = await startServer(async ({ request, response }) => {
      if (request.url === '/bad') {
        throw new Error('a bug');
      }
      sendJson(response, 200, 'fine');
    });
    await expect(fetch(`${server.url}/bad`)).rejects.toThrow();
    expect(await (await fetch(`${server.url}/good`)).json()).toBe('fine');
  });
});

describe('closing the HTTP server', () => {
  it('closes idle connections at once and lets running answers end', async () => {
    const running = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    const server = await startServer(async ({ request, response }) => {
      if (request.url === '/running') {
        running.resolve();
        await finish.promise;
      }
      sendJson(response, 200, request.url);
    });
    const idle = await rawConnect(server.port);
    idle.write(rawGet('/idle'));
    await idle.until('"/idle"');
    const busy = await rawConnect(server.port);
    busy.write(rawGet('/running'));
    await running.promise;

    const closed = server.close(10_000);
    await idle.closed;
    await expect(fetch(server.url)).rejects.toThrow();
    finish.resolve();
    expect(await busy.closed).toContain('"/running"');
    await closed;
  });

  it('breaks answers that run longer than the drain time', async () => {
    const running = Promise.withResolvers<void>();
    const server = await startServer(async ({ signal }) => {
      running.resolve();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    });
    const busy = await rawConnect(server.port);
    busy.write(rawGet('/running'));
    await running.promise;
    await server.close(20);
    expect(await busy.closed).toBe('');
  });
});

describe('request bodies', () => {
  const post = (url: string, init: RequestInit) => fetch(url, { method: 'POST', ...init });

  it.each([
    ['{"a":1}', 'application/json'],
    ['{"a":1}', 'application/json; charset=utf-8'],
    ['{"a":1}', 'Application/JSON;charset="UTF-8"'],
    ['\ufeff{"a":1}', 'application/json'],
  ])('reads %j sent as %s', async (body, type) => {
    const server = await startServer(bodyHandler(100));
    const response = await post(server.url, { body, headers: { 'content-type': type } });
    expect(await response.json()).toEqual({ body: { a: 1 } });
  });

  it('reads JSON that comes without a content type', async () => {
    const server = await startServer(bodyHandler(100));
    const connection = await rawConnect(server.port);
    connection.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\ntrue');
    expect(await connection.until('{"body":true}')).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ['text/plain', undefined, 415, 'unsupported_media_type'],
    ['multipart/form-data; boundary=x', undefined, 415, 'unsupported_media_type'],
    ['application/json; charset=latin1', undefined, 415, 'unsupported_media_type'],
    ['application/jsonx', undefined, 415, 'unsupported_media_type'],
    ['application/json', 'gzip', 415, 'unsupported_media_type'],
  ])('refuses %s with encoding %s', async (type, encoding, status, code) => {
    const server = await startServer(bodyHandler(100));
    const headers = { 'content-type': type, ...(encoding ? { 'content-encoding': encoding } : {}) };
    const response = await post(server.url, { body: '{}', headers });
    expect([response.status, await codeOf(response)]).toEqual([status, code]);
  });

  it.each([
    ['an empty body', new Uint8Array()],
    ['half an object', Buffer.from('{"a":')],
    ['invalid UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
    ['JSON that nests too deep', Buffer.from('['.repeat(9) + ']'.repeat(9))],
  ])('refuses %s as invalid JSON', async (_name, body) => {
    const server = await startServer(bodyHandler(100));
    const response = await post(server.url, { body, headers: { 'content-type': 'application/json' } });
    expect([response.status, await codeOf(response)]).toEqual([400, 'invalid_json']);
  });

  it('refuses a large body by its announced length, before it is sent', async () => {
    const server = await startServer(bodyHandler(10));
    const connection = await rawConnect(server.port);
    connection.write('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n');
    expect(await connection.until('body_too_large')).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('asks for a body that the client holds back, but not for one too large', async () => {
    const server = await startServer(bodyHandler(10));
    const head = (length: number) =>
      `POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;
    const small = await rawConnect(server.port);
    small.write(head(4));
    await small.until('100 Continue');
    small.write('null');
    await small.until('{"body":null}');
    const large = await rawConnect(server.port);
    large.write(head(11));
    expect(await large.until('body_too_large')).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('refuses a chunked body as soon as it is too large, and drops the rest for a while', async () => {
    const server = await startServer(bodyHandler(10), { lingerMs: 30 });
    const connection = await rawConnect(server.port);
    connection.write('POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n');
    connection.write('6\r\n[1,2,3\r\n6\r\n,4,5,6\r\n');
    await connection.until('body_too_large');
    connection.write('6\r\n,4,5,6\r\n');
    expect(await connection.closed).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('bounds all bodies together', async () => {
    const server = await startServer(bodyHandler(100, 60));
    const first = await rawConnect(server.port);
    first.write(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\n"${'x'.repeat(49)}`);
    const second = await rawConnect(server.port);
    // Which of the two is over the bound depends on which arrives first.
    second.write(`POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\n"${'x'.repeat(49)}`);
    const refused = await Promise.race([first.until('queue_full'), second.until('queue_full')]);
    expect(refused).toMatch(/^HTTP\/1\.1 429 .*retry-after: 1/s);
    const after = await rawConnect(server.port);
    after.write(rawPost('/', 'small'));
    expect(await after.until('{"body":"small"}')).toMatch(/^HTTP\/1\.1 200 /);
  });
});
