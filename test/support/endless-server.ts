// An OpenAI server whose streams never end: it gives tokens exactly as fast as they are taken, and counts them, so that
// a test sees whether anybody still reads.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Its only model. */
export const endlessModel = 'endless';

export class EndlessServer {
  /** Tokens handed to connections since the start. */
  tokensSent = 0;
  /** Streams being given now. */
  active = 0;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  /** Base URL to attach. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    request.resume();
    if (request.method === 'GET') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ object: 'list', data: [{ id: endlessModel, object: 'model' }] }));
      return;
    }
    this.active++;
    response.once('close', () => {
      this.active--;
    });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    this.#write(response);
    response.on('drain', () => this.#write(response));
  }

  /** As many as the connection takes at once. */
  #write(response: ServerResponse): void {
    while (!response.destroyed) {
      this.tokensSent++;
      if (!response.write(token)) {
        return;
      }
    }
  }
}

const token = `data: ${JSON.stringify({
  id: 'chatcmpl-endless',
  object: 'chat.completion.chunk',
  created: 1_700_000_000,
  model: endlessModel,
  choices: [{ index: 0, delta: { content: ' on' }, finish_reason: null }],
})}\n\n`;
