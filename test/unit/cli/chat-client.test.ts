// What becomes of a chat request whose other side is gone, breaks off, or is no node of ours.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { streamChat } from '../../../src/cli/chat-client.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { rejectionOf } from '../../support/thrown.ts';

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

async function listen(answer: RequestListener): Promise<string> {
  server = createServer(answer);
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

/** The text that arrived; `heard` is called with every piece. */
async function chat(apiUrl: string, signal = new AbortController().signal, heard = (): void => {}) {
  const options = { apiUrl, token: 'secret', model: 'demo', messages: [] };
  let text = '';
  for await (const piece of streamChat(options, signal)) {
    text += piece;
    heard();
  }
  return text;
}

const frame = (value: unknown): string =>
  `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const textFrame = (text: string): string => frame({ choices: [{ delta: { content: text } }] });

describe('streamChat', () => {
  it('gives the text as it comes', async () => {
    const url = await listen((_request, response) =>
      response.end(`${textFrame('Hel')}${textFrame('lo')}${frame('[DONE]')}`),
    );
    expect(await chat(url)).toBe('Hello');
  });

  it('says that no node runs if nobody listens', async () => {
    const url = await listen(() => {});
    await new Promise((resolve) => server?.close(resolve));
    const error = await rejectionOf(chat(url));
    expect(error.code).toBe('node_not_running');
    expect(error.message).toContain(new URL(url).origin);
  });

  it('says that the engine is lost if the stream breaks off', async () => {
    const cut = await listen((_request, response) => {
      response.write(textFrame('Hel'), () => response.destroy());
    });
    expect((await rejectionOf(chat(cut))).code).toBe('engine_lost');
    server?.close();
    const short = await listen((_request, response) => response.end(textFrame('Hel')));
    expect((await rejectionOf(chat(short))).code).toBe('engine_lost');
  });

  it.each([
    ['a page', 502, '<html>Bad gateway</html>'],
    ['a stream of something else', 200, frame('not JSON')],
  ])('says that the answer is none of ours if it is %s', async (_what, status, body) => {
    const url = await listen((_request, response) => response.writeHead(status).end(body));
    const error = await rejectionOf(chat(url));
    expect(error.code).toBe('engine_protocol');
    expect(error.message).toContain('no JSON object');
  });

  it('throws the error that the node answers, before the stream or in it', async () => {
    const body = { error: { code: 'queue_full', message: 'Busy.' } };
    const before = await listen((_request, response) => response.writeHead(429).end(JSON.stringify(body)));
    expect(await rejectionOf(chat(before))).toMatchObject({ code: 'queue_full', message: 'Busy.' });
    server?.close();
    const within = await listen((_request, response) => response.end(frame(body)));
    expect(await rejectionOf(chat(within))).toMatchObject({ code: 'queue_full', message: 'Busy.' });
  });

  it('throws the reason of the signal, while it waits and while it reads', async () => {
    const reason = new MeshnodeError('interrupted', 'Stopped.');
    const silent = new AbortController();
    const url = await listen(() => silent.abort(reason));
    expect(await rejectionOf(chat(url, silent.signal))).toBe(reason);
    server?.closeAllConnections();
    server?.close();
    const reading = new AbortController();
    const endless = await listen((_request, response) => response.write(textFrame('Hel')));
    expect(await rejectionOf(chat(endless, reading.signal, () => reading.abort(reason)))).toBe(reason);
  });
});
