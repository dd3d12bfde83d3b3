// An HTTP listener with limits: binds, hands exchanges to one handler, answers what is no HTTP, and
// closes without losing running answers. Knows nothing of routes.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { background } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import type { HttpHandler } from './exchange.ts';
import { errorBody, sendError } from './json-answer.ts';
import { urlOf } from './loopback.ts';
import { freshRequestId, requestIdOf } from './request-id.ts';

/** Bounds of a listener; absent ones are those of `apiLimits`. */
export interface HttpLimits {
  readonly headerBytes: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly connections: number;
  readonly lingerMs: number;
}

export interface HttpServerOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly handler: HttpHandler;
  readonly limits?: Partial<HttpLimits>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface HttpServer {
  /** Where it can be called from this machine, e.g. `http://127.0.0.1:9337`. */
  readonly url: string;
  readonly port: number;
  /**
   * Accepts no more, closes idle connections, gives running answers `drainMs` and then breaks them.
   * Resolves when every connection is gone. Idempotent.
   */
  close(drainMs: number): Promise<void>;
}

/** Starts to listen. Rejects with `port_in_use` or `config_invalid`, naming host and port. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const limits: HttpLimits = { ...apiLimits, ...options.limits };
  const server = createServer({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(1_000, Math.ceil(limits.headersTimeoutMs / 4)),
    noDelay: true,
    // We answer a missing Host ourselves, as JSON.
    requireHostHeader: false,
  });
  server.maxConnections = limits.connections;
  const listener = new Listener(server, limits, options);
  await listen(server, options.host, options.port);
  server.on('error', (cause) => options.log.warn({ err: cause }, 'a connection could not be accepted'));
  const { port } = server.address() as AddressInfo;
  return {
    url: urlOf(options.host, port),
    port,
    close: (drainMs) => listener.close(drainMs),
  };
}

/** The event handlers of one server, and its end. */
class Listener {
  readonly #server: Server;
  readonly #limits: HttpLimits;
  readonly #options: HttpServerOptions;
  /** Answers not complete yet, by connection. */
  readonly #running = new Map<ServerResponse, Socket>();
  #closed: Promise<void> | undefined;

  constructor(server: Server, limits: HttpLimits, options: HttpServerOptions) {
    this.#server = server;
    this.#limits = limits;
    this.#options = options;
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      background(this.#answer(request, response), 'http answer', options.log);
    };
    // A request with `Expect: 100-continue` is like any other: whoever reads the body sends the 100, so
    // that a body can be refused before it is sent. Other expectations are ignored.
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      server.on(event, onRequest);
    }
    server.on('connection', (socket: Socket) => {
      socket.once('close', () => this.#tellPipelined(socket));
    });
    server.on('clientError', (error, socket) => this.#answerBadClient(error, socket as Socket));
  }

  close(drainMs: number): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      const cut = this.#options.clock.after(drainMs, () => this.#server.closeAllConnections());
      this.#server.close(() => {
        cut.cancel();
        resolve();
      });
      for (const response of this.#running.keys()) {
        response.shouldKeepAlive = false;
      }
    });
    return this.#closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const requestId = requestIdOf(request.headers, this.#options.random);
    const signal = this.#track(request, response);
    response.setHeader('x-request-id', requestId);
    response.shouldKeepAlive &&= this.#closed === undefined;
    if (request.headers.host === undefined && request.httpVersion === '1.1') {
      sendError(response, new MeshnodeError('invalid_request', 'The request has no Host header.'));
      return;
    }
    try {
      await this.#options.handler({ request, response, requestId, signal });
    } catch (error) {
      response.destroy();
      throw error;
    }
  }

  /** Watches an answer to its end. The signal aborts if the client leaves before. */
  #track(request: IncomingMessage, response: ServerResponse): AbortSignal {
    const controller = new AbortController();
    this.#running.set(response, request.socket);
    // Errors of a connection are told by 'close'; without listeners they would end the process.
    request.on('error', () => {});
    response.on('error', () => {});
    response.once('finish', () => this.#discardRest(request));
    response.once('close', () => {
      this.#running.delete(response);
      if (!response.writableFinished) {
        controller.abort(new MeshnodeError('cancelled', 'The client hung up.'));
      }
      if (this.#closed !== undefined && !this.#isAnswering(request.socket)) {
        request.socket.destroySoon();
      }
    });
    return controller.signal;
  }

  /** Node tells only the first answer of a connection that it closed; those pipelined behind hear it here. */
  #tellPipelined(closed: Socket): void {
    for (const [response, socket] of this.#running) {
      if (socket === closed && response.socket === null) {
        response.destroy();
        response.emit('close');
      }
    }
  }

  /**
   * After an answer to a body not read to its end (a 413): closing at once would reset the connection and
   * lose the answer, so the rest is read and dropped for a while.
   */
  #discardRest(request: IncomingMessage): void {
    if (request.complete) {
      return;
    }
    request.resume();
    const cut = this.#options.clock.after(this.#limits.lingerMs, () => request.socket.destroy());
    request.once('close', () => cut.cancel());
  }

  #isAnswering(socket: Socket): boolean {
    return [...this.#running.values()].includes(socket);
  }

  #answerBadClient(cause: Error, socket: Socket): void {
    const error = badClientError(cause);
    const receiving = [...this.#running.keys()].find(({ req }) => req.socket === socket && !req.complete);
    if (receiving !== undefined) {
      receiving.shouldKeepAlive = false;
      sendError(receiving, error);
      return;
    }
    if (!socket.writable || this.#isAnswering(socket)) {
      socket.destroy();
      return;
    }
    const body = JSON.stringify(errorBody(error));
    socket.end(
      [
        `HTTP/1.1 ${error.kind.status} ${error.code}`,
        'content-type: application/json',
        `content-length: ${Buffer.byteLength(body)}`,
        'connection: close',
        `x-request-id: ${freshRequestId(this.#options.random)}`,
        '',
        body,
      ].join('\r\n'),
      () => socket.destroy(),
    );
  }
}

/** What a connection that Node's parser gave up on is told. */
function badClientError(cause: Error): MeshnodeError {
  switch (systemErrorCode(cause)) {
    case 'HPE_HEADER_OVERFLOW':
      return new MeshnodeError('headers_too_large', 'The headers are too large.', { cause });
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new MeshnodeError('request_timeout', 'The request did not arrive in time.', { cause });
    default:
      return new MeshnodeError('invalid_request', 'This is not a valid HTTP request.', { cause });
  }
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: Error): void => reject(listenError(cause, host, port));
    server.once('error', onError);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function listenError(cause: Error, host: string, port: number): MeshnodeError {
  switch (systemErrorCode(cause)) {
    case 'EADDRINUSE':
      return new MeshnodeError('port_in_use', `Port ${port} on ${host} is in use.`, { cause });
    case 'EACCES':
      return new MeshnodeError('port_in_use', `The system does not let us listen on port ${port}.`, {
        cause,
        hint: 'Choose a port from 1024 on.',
      });
    default:
      return new MeshnodeError('config_invalid', `Cannot listen on ${host}, port ${port}.`, {
        cause,
        hint: 'Bind to an address of this machine.',
      });
  }
}
