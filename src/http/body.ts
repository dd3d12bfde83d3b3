// Reads JSON request bodies: bounded before and while they arrive, one by one and all together.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { MeshnodeError } from '../util/errors.ts';
import { type JsonValue, parseJson } from '../util/json.ts';
import type { Exchange } from './exchange.ts';

export interface BodyLimits {
  /** Largest body, bytes. */
  readonly bodyBytes: number;
  /** Bytes of all bodies whose requests are under way. */
  readonly bodiesBytes: number;
  /** Levels of nesting. */
  readonly jsonDepth: number;
}

/** Reads the bodies of one listener. */
export class BodyReader {
  readonly #limits: BodyLimits;
  #heldBytes = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /**
   * The body as JSON. Throws `unsupported_media_type`, `body_too_large`, `invalid_json`, `queue_full` when
   * too much is under way at once, `cancelled` when the client is gone. The body counts until the request is
   * answered: as long as it waits somewhere, its memory is held.
   */
  async readJson(exchange: Exchange): Promise<JsonValue> {
    const { request, response } = exchange;
    checkMediaType(request);
    this.#checkLength(Number(request.headers['content-length'] ?? 0));
    if (request.headers.expect?.toLowerCase() === '100-continue') {
      response.writeContinue();
    }
    const bytes = await this.#collect(request, exchange.signal);
    this.#holdUntilAnswered(bytes.length, response);
    return parseJson(decodeUtf8(bytes), this.#limits.jsonDepth);
  }

  #collect(request: IncomingMessage, signal: AbortSignal): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let length = 0;
      const settle = (finish: () => void): void => {
        this.#heldBytes -= length;
        request.off('data', onData).off('end', onEnd).off('error', onGone);
        signal.removeEventListener('abort', onGone);
        finish();
      };
      const onData = (chunk: Buffer): void => {
        length += chunk.length;
        this.#heldBytes += chunk.length;
        try {
          this.#checkLength(length);
        } catch (error) {
          settle(() => reject(error));
          return;
        }
        chunks.push(chunk);
      };
      const onEnd = (): void => settle(() => resolve(Buffer.concat(chunks, length)));
      const onGone = (): void =>
        settle(() => reject(new MeshnodeError('cancelled', 'The client left in the middle of its request.')));
      request.on('data', onData).on('end', onEnd).on('error', onGone);
      signal.addEventListener('abort', onGone, { once: true });
      if (signal.aborted) {
        onGone();
      }
    });
  }

  #holdUntilAnswered(length: number, response: ServerResponse): void {
    if (!response.closed) {
      this.#heldBytes += length;
      response.once('close', () => {
        this.#heldBytes -= length;
      });
    }
  }

  #checkLength(length: number): void {
    const { bodyBytes, bodiesBytes } = this.#limits;
    if (length > bodyBytes) {
      throw new MeshnodeError('body_too_large', `The body is larger than ${bodyBytes} bytes.`);
    }
    if (this.#heldBytes > bodiesBytes) {
      throw new MeshnodeError('queue_full', 'Too many large requests are under way.', {
        retryAfterSeconds: 1,
      });
    }
  }
}

/** JSON, uncompressed. A client that names no type is believed to send JSON: the parser will tell. */
function checkMediaType({ headers }: IncomingMessage): void {
  const encoding = headers['content-encoding']?.toLowerCase() ?? 'identity';
  if (encoding !== 'identity') {
    throw new MeshnodeError('unsupported_media_type', 'Compressed bodies are not read.');
  }
  const type = headers['content-type']?.toLowerCase() ?? 'application/json';
  if (!/^application\/json\s*(;\s*charset="?utf-?8"?\s*)?;?$/.test(type)) {
    throw new MeshnodeError('unsupported_media_type', 'The content type is not application/json in UTF-8.');
  }
}

function decodeUtf8(bytes: Buffer): string {
  if (bytes.length === 0) {
    throw new MeshnodeError('invalid_json', 'The body is empty.');
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MeshnodeError('invalid_json', 'The body is not valid UTF-8.', { cause });
  }
}
