import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Exchange } from '../../../src/http/exchange.ts';
import { startHttpServer } from '../../../src/http/server.ts';
import { SseWriter } from '../../../src/http/sse.ts';
import { type Clock, systemClock } from '../../../src/util/clock.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rawConnect, rawGet } from '../../support/raw-http.ts';

async function startStream(
  write: (sse: SseWriter, exchange: Exchange) => Promise<void>,
  clock: Clock = systemClock,
) {
  const server = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    handler: async (exchange) => {
      await write(
        new SseWriter(exchange.response, { clock, pingMs: 10_000, stalledReaderMs: 1_000 }),
        exchange,
      );
    },
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  onTestFinished(() => server.close(0));
  return server;
}

describe('the event stream writer', () => {
  it('writes what a parser reads back', async () => {
    let payloads: string[] = [];
    const server = await startStream(async (sse) => {
      sse.open();
      for (const payload of payloads) {
        sse.data(payload);
        sse.ping();
      }
      sse.end();
    });
    const json = fc.jsonValue().map((value) => JSON.stringify(value));
    await fc.assert(
      fc.asyncProperty(fc.array(json, { maxLength: 20 }), async (values) => {
        payloads = values;
        const read: string[] = [];
        const parser = createParser({ onEvent: (event) => read.push(event.data) });
        const response = await fetch(server.url);
        parser.feed(await response.text());
        expect(read).toEqual(values);
      }),
      { numRuns: 50 },
    );
  });

  it('has the headers that keep proxies from buffering', async () => {
    const server = await startStream(async (sse) => {
      sse.open({ 'x-more': 'yes' });
      sse.end();
    });
    const { headers } = await fetch(server.url);
    expect(headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(headers.get('cache-control')).toBe('no-cache');
    expect(headers.get('x-accel-buffering')).toBe('no');
    expect(headers.get('x-more')).toBe('yes');
  });

  it('refuses a payload of more than one line', async () => {
    const refused = Promise.withResolvers<unknown>();
    const server = await startStream(async (sse) => {
      sse.open();
      try {
        sse.data('{}\ndata: forged');
      } catch (error) {
        refused.resolve(error);
      }
      sse.end();
    });
    await (await fetch(server.url)).text();
    expect(await refused.promise).toMatchObject({ code: 'internal' });
  });

  it('pings so that no silence lasts longer than its time, and not while events flow', async () => {
    const clock = new ManualClock();
    const opened = Promise.withResolvers<SseWriter>();
    const server = await startStream(async (sse) => {
      sse.open();
      sse.data('1');
      opened.resolve(sse);
    }, clock);
    const connection = await rawConnect(server.port);
    connection.write(rawGet('/'));
    const sse = await opened.promise;
    await connection.until('data: 1');
    await clock.advance(5_000);
    sse.data('2');
    await clock.advance(5_000);
    sse.data('3');
    expect(await connection.until('data: 3')).not.toContain(': ping');
    await clock.advance(10_000);
    await connection.until(': ping');
    sse.end();
    await connection.until('0\r\n\r\n');
    expect(clock.pendingTimers).toBe(0);
  });

  it('shows the failure and then breaks the connection', async () => {
    const server = await startStream(async (sse) => {
      sse.open();
      sse.data('"part"');
      await sse.fail('{"error":{}}');
    });
    const connection = await rawConnect(server.port);
    connection.write(rawGet('/'));
    const text = await connection.closed;
    expect(text).toContain('data: {"error":{}}\n\n');
    expect(text).not.toContain('\r\n0\r\n\r\n');
  });

  it('says when the client is too slow, and goes on when it reads again', async () => {
    const full = Promise.withResolvers<void>();
    const payload = JSON.stringify('x'.repeat(65_536));
    let sent = 0;
    const server = await startStream(async (sse) => {
      sse.open();
      while (!sse.full) {
        sse.data(payload);
        sent++;
        await new Promise((resolve) => setImmediate(resolve));
      }
      full.resolve();
      await sse.drained();
      sse.data('"after"');
      sse.end();
    });
    const connection = await rawConnect(server.port);
    connection.socket.pause();
    connection.write(rawGet('/'));
    await full.promise;
    expect(sent * payload.length).toBeLessThan(64 * 1024 * 1024);
    connection.socket.resume();
    await connection.until('"after"');
  });

  it('cuts a client that takes nothing for too long', async () => {
    const clock = new ManualClock();
    const full = Promise.withResolvers<void>();
    const drained = Promise.withResolvers<void>();
    const server = await startStream(async (sse) => {
      sse.open();
      while (!sse.full) {
        sse.data(JSON.stringify('x'.repeat(65_536)));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const waiting = sse.drained();
      full.resolve();
      await waiting;
      drained.resolve();
    }, clock);
    const connection = await rawConnect(server.port);
    connection.socket.pause();
    connection.write(rawGet('/'));
    await full.promise;
    await clock.advance(1_000);
    await drained.promise;
  });

  it('is quiet when the client has left', async () => {
    const outcome = Promise.withResolvers<string>();
    const server = await startStream(async (sse, { signal }) => {
      sse.open();
      sse.data('1');
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      sse.data('2');
      sse.ping();
      await sse.drained();
      await sse.fail('3');
      sse.end();
      outcome.resolve('quiet');
    });
    const connection = await rawConnect(server.port);
    connection.write(rawGet('/'));
    await connection.until('data: 1');
    connection.socket.destroy();
    expect(await outcome.promise).toBe('quiet');
  });
});
