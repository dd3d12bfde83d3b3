// A real HTTP server that speaks OpenAI's API without a model, and misbehaves on request. Its answers
// depend only on the prompt and the seed, so a test knows them; its rate is exact, so a bench can trust it.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { isJsonObject, type JsonObject, type JsonValue } from '../../src/util/json.ts';
import {
  embeddingsAnswer,
  type Generation,
  inputText,
  promptText,
  rerankAnswer,
  streamFrames,
  wholeAnswer,
} from './double-openai-frames.ts';
import { PromptMemory, tokenizeDouble } from './double-text.ts';
import { Slots } from './slots.ts';
import { type Frame, TokenPacer } from './token-pacer.ts';

/** How the double behaves; may be changed at any time. Counts of tokens are those of one answer. */
export interface DoubleServerKnobs {
  models: JsonValue[];
  /** Tokens a second of each answer; 0: as fast as the client reads. */
  tokensPerSecond: number;
  firstTokenDelayMs: number;
  slots: number;
  whenFull: 'queue' | 'refuse';
  contextTokens: number;
  dimensions: number;
  /** Every request must bring this key. */
  apiKey?: string | undefined;
  /** Time before the status line, of the model list too. */
  headersDelayMs: number;
  /** Says nothing more after this many tokens; 0: not even a status line. */
  hangAfterTokens?: number | undefined;
  /** Destroys the connection after this many tokens. */
  cutAfterTokens?: number | undefined;
  /** Ends the body after this many tokens as if all were well. */
  endAfterTokens?: number | undefined;
  /** Sends this as a frame after `spoilAfterTokens` tokens, then ends. */
  spoilWith?: string | undefined;
  spoilAfterTokens: number;
  /** Time between the last word and the end of the body. */
  endDelayMs: number;
  /** Ends without `[DONE]`. */
  skipDone: boolean;
  /** Gives no counts. */
  skipUsage: boolean;
  contentType: string;
  /** Answers every POST with this. */
  refusal?: { status: number; body: JsonValue | string; headers?: Record<string, string> } | undefined;
  /** Answers every generation with these bytes. */
  rawAnswer?: Uint8Array | undefined;
  repeatToolIds: boolean;
  /** Answers with one JSON document although a stream was asked for. */
  ignoreStream: boolean;
  /** Routes that do not exist here, e.g. `/v1/rerank`. */
  missingRoutes: string[];
}

export const defaultKnobs: DoubleServerKnobs = {
  models: ['double'],
  tokensPerSecond: 0,
  firstTokenDelayMs: 0,
  slots: 4,
  whenFull: 'queue',
  contextTokens: 4096,
  dimensions: 16,
  headersDelayMs: 0,
  spoilAfterTokens: 0,
  endDelayMs: 0,
  skipDone: false,
  skipUsage: false,
  contentType: 'text/event-stream; charset=utf-8',
  repeatToolIds: false,
  ignoreStream: false,
  missingRoutes: [],
};

/** A request as it arrived. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: JsonObject;
}

export class DoubleOpenAiServer {
  readonly knobs: DoubleServerKnobs;
  /** The last requests, newest last; the model list is not among them. */
  readonly requests: SeenRequest[] = [];
  /** Answers whose client went away before their end. */
  aborted = 0;
  /** Connections accepted since the start. */
  connections = 0;
  /** Tokens handed to connections since the start. */
  tokensSent = 0;
  readonly #pacer = new TokenPacer(() => this.knobs.tokensPerSecond);
  readonly #slots = new Slots(() => this.knobs.slots);
  readonly #memory = new PromptMemory();
  #server: Server | undefined;
  #port = 0;

  constructor(knobs: Partial<DoubleServerKnobs> = {}) {
    this.knobs = { ...defaultKnobs, ...knobs };
  }

  get port(): number {
    return this.#port;
  }

  /** Base URL to attach. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1`;
  }

  /** Answers being given now. */
  get active(): number {
    return this.#slots.taken;
  }

  /** Listens, on the same port as before if it was started before. */
  async start(): Promise<void> {
    const server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    server.on('connection', () => {
      this.connections++;
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  /** Cuts every connection and stops listening, as a crash does. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server !== undefined) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? '').split('?')[0] ?? '';
    const body = request.method === 'POST' ? await readBody(request) : {};
    await delay(this.knobs.headersDelayMs);
    if (this.knobs.apiKey !== undefined && request.headers.authorization !== `Bearer ${this.knobs.apiKey}`) {
      sendError(response, 401, `Incorrect API key: ${request.headers.authorization}`, 'invalid_api_key');
    } else if (this.knobs.missingRoutes.includes(path)) {
      send(response, 404, '404 page not found', 'text/plain');
    } else if (path === '/v1/models') {
      const data = this.knobs.models.map((model) =>
        typeof model === 'string'
          ? { id: model, object: 'model', max_model_len: this.knobs.contextTokens }
          : model,
      );
      send(response, 200, { object: 'list', data });
    } else {
      this.requests.push({ method: request.method ?? '', path, headers: request.headers, body });
      this.requests.splice(0, this.requests.length - 100);
      await this.#answer(path, body, response);
    }
  }

  async #answer(path: string, body: JsonObject, response: ServerResponse): Promise<void> {
    const { refusal, models } = this.knobs;
    if (refusal !== undefined) {
      for (const [name, value] of Object.entries(refusal.headers ?? {})) {
        response.setHeader(name, value);
      }
      send(response, refusal.status, refusal.body);
    } else if (!models.includes(body['model'] ?? '')) {
      sendError(response, 404, `The model ${String(body['model'])} does not exist.`, 'model_not_found');
    } else if (path === '/v1/embeddings') {
      send(response, 200, embeddingsAnswer(body, this.knobs.dimensions));
    } else if (path === '/v1/rerank') {
      send(response, 200, rerankAnswer(body));
    } else if (path === '/v1/chat/completions' || path === '/v1/completions') {
      await this.#generateInSlot(path === '/v1/completions' ? 'completion' : 'chat', body, response);
    } else {
      sendError(response, 404, 'Unknown route.', 'unknown_url');
    }
  }

  async #generateInSlot(
    route: 'chat' | 'completion',
    body: JsonObject,
    response: ServerResponse,
  ): Promise<void> {
    if (this.knobs.whenFull === 'refuse' && this.#slots.full) {
      response.setHeader('retry-after', '1');
      sendError(response, 429, 'All slots are taken.', 'rate_limit_exceeded');
      return;
    }
    const gone = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) {
        this.aborted++;
      }
      gone.abort();
    });
    const release = await this.#slots.take(gone.signal);
    try {
      await this.#generate(route, body, response);
    } finally {
      release();
    }
  }

  async #generate(route: 'chat' | 'completion', body: JsonObject, response: ServerResponse): Promise<void> {
    const { knobs } = this;
    const promptIds =
      route === 'chat' ? tokenizeDouble(promptText(body)) : tokenizeDouble(inputText(body['prompt'] ?? ''));
    if (promptIds.length >= knobs.contextTokens) {
      const message = `This model's maximum context length is ${knobs.contextTokens} tokens.`;
      sendError(response, 400, message, 'context_length_exceeded');
      return;
    }
    const generation: Generation = {
      route,
      body,
      model: String(body['model']),
      promptIds,
      cached: this.#memory.take(promptIds),
      contextTokens: knobs.contextTokens,
      repeatToolIds: knobs.repeatToolIds,
      countsUsage: !knobs.skipUsage,
    };
    if (knobs.hangAfterTokens === 0) {
      await closed(response);
    } else if (knobs.rawAnswer !== undefined) {
      response.writeHead(200, { 'content-type': knobs.contentType });
      response.end(knobs.rawAnswer);
    } else if (body['stream'] !== true || knobs.ignoreStream) {
      send(response, 200, wholeAnswer(generation));
    } else {
      await this.#stream(generation, response);
    }
  }

  *#counted(frames: Iterable<Frame>): Generator<Frame, void, undefined> {
    for (const frame of frames) {
      this.tokensSent += frame.token ? 1 : 0;
      yield frame;
    }
  }

  async #stream(generation: Generation, response: ServerResponse): Promise<void> {
    const { knobs } = this;
    response.writeHead(200, { 'content-type': knobs.contentType });
    response.flushHeaders();
    await delay(knobs.firstTokenDelayMs);
    const frames = misbehave(this.#counted(streamFrames(generation)), knobs);
    await this.#pacer.run(frames, response);
    if (frames.ending === 'cut') {
      // Only once what was written is out: the client has seen those tokens.
      response.write('', () => response.destroy());
    } else if (frames.ending === 'hang') {
      await closed(response);
    } else {
      response.write(frames.ending === 'done' && !knobs.skipDone ? 'data: [DONE]\n\n' : '');
      await delay(knobs.endDelayMs);
      response.end();
    }
  }
}

type Ending = 'done' | 'end' | 'cut' | 'hang';

/** The frames up to where a knob says that things go wrong; `ending` tells what then. */
function misbehave(source: Iterator<Frame>, knobs: DoubleServerKnobs): Iterator<Frame> & { ending: Ending } {
  let tokens = 0;
  const frames = {
    ending: 'done' as Ending,
    next(): IteratorResult<Frame> {
      if (knobs.spoilWith !== undefined && tokens >= knobs.spoilAfterTokens && frames.ending === 'done') {
        frames.ending = 'end';
        return { done: false, value: { bytes: knobs.spoilWith, token: false } };
      }
      if (tokens === knobs.cutAfterTokens) {
        frames.ending = 'cut';
      } else if (tokens === knobs.endAfterTokens) {
        frames.ending = 'end';
      } else if (tokens === knobs.hangAfterTokens) {
        frames.ending = 'hang';
      }
      if (frames.ending !== 'done') {
        return { done: true, value: undefined };
      }
      const result = source.next();
      tokens += result.done !== true && result.value.token ? 1 : 0;
      return result;
    },
  };
  return frames;
}

function closed(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => response.once('close', () => resolve()));
}

async function readBody(request: IncomingMessage): Promise<JsonObject> {
  const pieces: Buffer[] = [];
  for await (const piece of request) {
    pieces.push(piece);
  }
  const body: unknown = JSON.parse(Buffer.concat(pieces).toString('utf8'));
  return isJsonObject(body) ? body : {};
}

function send(
  response: ServerResponse,
  status: number,
  body: JsonValue,
  contentType = typeof body === 'string' ? 'text/plain' : 'application/json',
): void {
  response.writeHead(status, { 'content-type': contentType });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

function sendError(response: ServerResponse, status: number, message: string, code: string): void {
  send(response, status, { error: { message, type: 'invalid_request_error', param: null, code } });
}
