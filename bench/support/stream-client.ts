// A client that costs as little as possible: posts a streaming completion and counts what comes back,
// without parsing it. The same for the engine asked directly and for the node before it.
import { Pool } from 'undici';

export interface StreamFigures {
  /** From sending the request to the first byte of the answer's body. */
  readonly firstByteMs: number;
  readonly totalMs: number;
  /** `data:` frames with a piece of text. */
  readonly tokens: number;
}

export interface StreamTarget {
  /** E.g. `http://127.0.0.1:9337`. */
  readonly origin: string;
  readonly model: string;
}

const textFrame = Buffer.from('"content":"');

export class StreamClient {
  readonly #pool: Pool;
  readonly #target: StreamTarget;

  constructor(target: StreamTarget, connections: number) {
    this.#target = target;
    this.#pool = new Pool(target.origin, { connections, pipelining: 1 });
  }

  async stream(maxTokens: number): Promise<StreamFigures> {
    const startedMs = performance.now();
    const { statusCode, body } = await this.#pool.request({
      path: '/v1/chat/completions',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: this.#target.model,
        messages: [{ role: 'user', content: 'Count for ever.' }],
        max_tokens: maxTokens,
        temperature: 0,
        stream: true,
      }),
    });
    if (statusCode !== 200) {
      throw new Error(`${this.#target.origin} answered ${statusCode}: ${await body.text()}`);
    }
    let firstByteMs: number | undefined;
    let tokens = 0;
    for await (const chunk of body) {
      firstByteMs ??= performance.now() - startedMs;
      tokens += occurrences(chunk as Buffer, textFrame);
    }
    return { firstByteMs: firstByteMs ?? Number.NaN, totalMs: performance.now() - startedMs, tokens };
  }

  /** All streams at once; tokens per second of the whole. */
  async tokensPerSecond(streams: number, maxTokens: number): Promise<number> {
    const startedMs = performance.now();
    const figures = await Promise.all(Array.from({ length: streams }, () => this.stream(maxTokens)));
    const tokens = figures.reduce((sum, figure) => sum + figure.tokens, 0);
    return (tokens * 1000) / (performance.now() - startedMs);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}

function occurrences(chunk: Buffer, wanted: Buffer): number {
  let count = 0;
  for (let at = chunk.indexOf(wanted); at !== -1; at = chunk.indexOf(wanted, at + wanted.length)) {
    count++;
  }
  return count;
}
