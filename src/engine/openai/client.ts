// HTTP to one model server: a pool of kept-alive connections, the key, time limits on silence. It
// sends the key to this server only, follows no redirect, and knows nothing of what it carries.
import { type Dispatcher, Pool } from 'undici';
import type { Clock, Timer } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import type { JsonObject, JsonValue } from '../../util/json.ts';
import { parseJson } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { requestLimits } from '../../util/limits/inference.ts';
import { connectionError, inBandError, protocolError, statusError } from './errors.ts';

export interface ServerClientOptions {
  /** Base URL without a trailing slash, e.g. `http://127.0.0.1:11434/v1`. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** A unix socket to connect to instead of the URL's address. */
  readonly socketPath?: string;
  readonly clock: Clock;
}

export interface Exchange {
  readonly method: 'GET' | 'POST';
  /** Below the base URL, e.g. `/models`. */
  readonly path: string;
  readonly body?: JsonObject;
  readonly signal: AbortSignal;
  /** Longest silence of the server, before its headers and between two pieces of its body. */
  readonly silenceMs: number;
}

export class ServerClient {
  readonly #base: URL;
  readonly #apiKey: string | undefined;
  readonly #clock: Clock;
  readonly #pool: Pool;

  constructor(options: ServerClientOptions) {
    this.#base = new URL(options.url);
    this.#apiKey = options.apiKey;
    this.#clock = options.clock;
    this.#pool = new Pool(this.#base.origin, {
      connections: engineLimits.attachConnections,
      connectTimeout: engineLimits.attachTimeoutMs,
      // Silence is measured here, on the injected clock, and not while the reader is the slow one.
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
      // A server may close a kept connection at the moment a request is sent on it, which looks like its loss. On
      // this machine a fresh one costs less than that risk.
      ...(options.socketPath === undefined ? {} : { socketPath: options.socketPath, pipelining: 0 }),
    });
  }

  /** The base URL. Holds no credentials. */
  get url(): string {
    return this.#base.href;
  }

  get apiKey(): string | undefined {
    return this.#apiKey;
  }

  /**
   * The body of a successful answer, piece by piece, at the reader's pace. Throws what went wrong as a
   * MeshnodeError, or the signal's reason. Leaving early does not end the exchange: abort the signal for that.
   */
  async *stream(exchange: Exchange): AsyncGenerator<Uint8Array, void, undefined> {
    const watch = new SilenceWatch(this.#clock, exchange.silenceMs, exchange.signal);
    let answer: Dispatcher.ResponseData | undefined;
    try {
      answer = await watch.during(this.#send(exchange, watch.signal));
      if (answer.statusCode !== 200) {
        throw await this.#refusal(exchange, watch, answer);
      }
      const pieces: AsyncIterator<Uint8Array> = answer.body.iterator({ destroyOnReturn: false });
      while (true) {
        const piece = await watch.during(pieces.next());
        if (piece.done) {
          return;
        }
        yield piece.value;
      }
    } catch (thrown) {
      answer?.body.destroy();
      throw watch.signal.aborted ? watch.signal.reason : connectionError(thrown, answer !== undefined);
    } finally {
      watch.end();
      if (answer !== undefined && !answer.body.destroyed) {
        this.#release(answer.body);
      }
    }
  }

  /** The whole body of a successful answer as JSON. Throws as `stream` does. */
  async json(exchange: Exchange): Promise<JsonValue> {
    const body = parseAnswer(await this.text(exchange));
    // LM Studio answers routes it does not know with status 200 and an error.
    const error = inBandError(body, { path: exchange.path, apiKey: this.#apiKey });
    if (error !== undefined) {
      throw error;
    }
    return body;
  }

  /** The whole body of a successful answer as text. Throws as `stream` does. */
  async text(exchange: Exchange): Promise<string> {
    const { text, complete } = await readText(this.stream(exchange), engineLimits.lineBytes);
    if (!complete) {
      throw protocolError(`answered with more than ${engineLimits.lineBytes} bytes at once`);
    }
    return text;
  }

  /** Breaks off whatever still runs. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  #send(exchange: Exchange, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    return this.#pool.request({
      method: exchange.method,
      path: `${this.#base.pathname.replace(/\/$/, '')}${exchange.path}`,
      headers: {
        accept: 'text/event-stream, application/json',
        ...(exchange.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#apiKey === undefined ? {} : { authorization: `Bearer ${this.#apiKey}` }),
      },
      ...(exchange.body === undefined ? {} : { body: JSON.stringify(exchange.body) }),
      signal,
    });
  }

  async #refusal(
    exchange: Exchange,
    watch: SilenceWatch,
    answer: Dispatcher.ResponseData,
  ): Promise<MeshnodeError> {
    const { text } = await watch.during(readText(answer.body, engineLimits.attachErrorBytes));
    const retryAfter = answer.headers['retry-after'];
    return statusError(
      {
        status: answer.statusCode,
        text,
        retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
      },
      { path: exchange.path, apiKey: this.#apiKey },
    );
  }

  /** Reads off the little that follows a stream's last word, so that the connection can be used again. */
  #release(body: Dispatcher.ResponseData['body']): void {
    const late = new AbortController();
    const timer = this.#clock.after(engineLimits.attachDrainMs, () => late.abort(), { keepAlive: false });
    body
      .dump({ limit: Number.MAX_SAFE_INTEGER, signal: late.signal })
      .catch(() => {}) // Broken or too slow: then the connection is closed, which is all that was at stake.
      .finally(() => timer.cancel());
  }
}

/** Aborts once a wait for the server takes too long. One timer runs for the whole exchange, not one per piece. */
class SilenceWatch {
  readonly #clock: Clock;
  readonly #silenceMs: number;
  readonly #controller = new AbortController();
  readonly signal: AbortSignal;
  #waitingSinceMs: number | undefined;
  #timer: Timer;

  constructor(clock: Clock, silenceMs: number, outer: AbortSignal) {
    this.#clock = clock;
    this.#silenceMs = silenceMs;
    this.signal = AbortSignal.any([outer, this.#controller.signal]);
    this.#timer = this.#check(silenceMs);
  }

  /** Awaits something of the server; only such time counts. */
  async during<T>(wait: Promise<T>): Promise<T> {
    this.#waitingSinceMs = this.#clock.monotonicMs();
    try {
      return await wait;
    } finally {
      this.#waitingSinceMs = undefined;
    }
  }

  end(): void {
    this.#timer.cancel();
  }

  #check(delayMs: number): Timer {
    return this.#clock.after(delayMs, () => {
      const waitedMs =
        this.#waitingSinceMs === undefined ? 0 : this.#clock.monotonicMs() - this.#waitingSinceMs;
      if (waitedMs >= this.#silenceMs) {
        this.#controller.abort(
          new MeshnodeError(
            'engine_timeout',
            `The model server was silent for ${Math.round(this.#silenceMs / 1000)} s.`,
          ),
        );
      } else {
        this.#timer = this.#check(this.#silenceMs - waitedMs);
      }
    });
  }
}

function parseAnswer(text: string): JsonValue {
  try {
    return parseJson(text, requestLimits.jsonDepth);
  } catch (cause) {
    throw protocolError('answered with something that is no JSON', cause);
  }
}

/** A body as text, at most about `maxBytes` of it. */
async function readText(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ text: string; complete: boolean }> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of body) {
    pieces.push(piece);
    sizeBytes += piece.byteLength;
    if (sizeBytes > maxBytes) {
      return { text: decode(pieces), complete: false };
    }
  }
  return { text: decode(pieces), complete: true };
}

function decode(pieces: readonly Uint8Array[]): string {
  return new TextDecoder().decode(Buffer.concat(pieces));
}
