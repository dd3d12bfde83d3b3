// One llama-server process that serves one model: starting it, waiting until it answers, asking it over its socket.
// It restarts nothing (supervisor.ts) and knows nothing of requests.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Clock, sleep } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { makeFolder } from '../../util/make-folder.ts';
import { randomId } from '../../util/random.ts';
import { ServerClient } from '../openai/client.ts';
import { protocolError } from '../openai/errors.ts';
import {
  type EngineProcess,
  type ForeignProcessOptions,
  type ProcessExit,
  startForeignProcess,
} from '../process.ts';
import type { Run } from '../supervisor.ts';
import type { LlamaServerComponents } from './components.ts';
import { type Launch, serverArguments, serverEnvironment } from './launch.ts';
import { loadFailure } from './load-failure.ts';
import { parseMetrics, type ServerMetrics } from './metrics.ts';

/** What a server says of itself and its model once it is up. */
export interface ServerFacts {
  /** Tokens of one slot. */
  readonly contextTokens: number;
  readonly slots: number;
  /** The template knows tools. */
  readonly callsTools: boolean;
  /** The template lets the model think before it answers: the server takes that apart. */
  readonly reasons: boolean;
  /** A trailing assistant message is continued. */
  readonly continues: boolean;
}

export interface ServerStart {
  readonly llamaServer: string;
  readonly launch: Omit<Launch, 'socketPath'>;
  /** Bytes of the weights, by which the progress of a load is told. */
  readonly weightsBytes: number;
  readonly onProgress: (fraction: number) => void;
}

/** Starts a server and waits until it answers. Rejects, with nothing left running, with the codes of `Engine.load`. */
export async function startServer(
  components: LlamaServerComponents,
  start: ServerStart,
  signal: AbortSignal,
): Promise<ServerRun> {
  const { clock, random, log, registry, environment } = components;
  const key = randomId(random, engineLimits.serverKeyChars);
  const socket = await makeSocket(components);
  const socketPath = socket.path;
  const process = await startOrForget(socket, {
    name: `llama-server/${start.launch.alias}`,
    command: start.llamaServer,
    args: serverArguments({ ...start.launch, socketPath }),
    env: serverEnvironment(environment, key),
    // Where there is nothing but sockets: ggml loads modules from the folder that it is started in.
    cwd: dirname(socketPath),
    clock,
    log,
    ...(registry === undefined ? {} : { registry }),
    onLine: (line) => log.debug({ process: start.launch.alias }, line),
  });
  const run = new ServerRun(process, { clock, key, socket });
  try {
    await run.ready(start, signal);
    return run;
  } catch (failure) {
    await run.stop();
    throw failure;
  }
}

async function startOrForget(socket: SocketPlace, options: ForeignProcessOptions): Promise<EngineProcess> {
  try {
    return startForeignProcess(options);
  } catch (failure) {
    await removeSocket(socket);
    throw failure;
  }
}

export class ServerRun implements Run {
  readonly exited: Promise<ProcessExit>;
  readonly client: ServerClient;
  readonly #process: EngineProcess;
  readonly #clock: Clock;
  #facts: ServerFacts | undefined;

  constructor(
    process: EngineProcess,
    { clock, key, socket }: { clock: Clock; key: string; socket: SocketPlace },
  ) {
    this.#process = process;
    this.#clock = clock;
    this.client = new ServerClient({
      url: 'http://llama-server',
      apiKey: key,
      socketPath: socket.path,
      clock,
    });
    this.exited = process.exited.then(async (exit) => {
      await Promise.all([this.client.close(), removeSocket(socket)]);
      return exit;
    });
  }

  /** What the server has said once it was ready. */
  get facts(): ServerFacts {
    if (this.#facts === undefined) {
      throw new MeshnodeError('internal', 'The server is not ready yet.');
    }
    return this.#facts;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves once the model answers. Rejects if the process ends, takes too long, or with the signal's reason. */
  async ready({ launch, weightsBytes, onProgress }: ServerStart, signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    void this.exited.then((exit) => ended.abort(loadFailure(launch.alias, exit)));
    const tooLong = new AbortController();
    const patience = this.#clock.after(engineLimits.loadTimeoutMs, () =>
      tooLong.abort(loadTimeout(launch.alias)),
    );
    const waiting = AbortSignal.any([signal, ended.signal, tooLong.signal]);
    try {
      let lookAtMs = 0;
      while (!(await this.#isUp(waiting))) {
        if (this.#clock.monotonicMs() >= lookAtMs) {
          lookAtMs = this.#clock.monotonicMs() + engineLimits.loadLookMs;
          await this.#tellProgress(weightsBytes, onProgress);
        }
        await sleep(this.#clock, engineLimits.readyPollMs, waiting);
      }
      this.#facts = await this.#readFacts(launch.use === 'generate', waiting);
    } catch (failure) {
      throw waiting.aborted ? waiting.reason : failure;
    } finally {
      patience.cancel();
    }
  }

  async metrics(signal: AbortSignal): Promise<ServerMetrics> {
    return parseMetrics(
      await this.client.text({
        method: 'GET',
        path: '/metrics',
        signal,
        silenceMs: engineLimits.healthTimeoutMs,
      }),
    );
  }

  /** Token ids of a text, without those that begin or end one. */
  async tokenize(text: string, signal: AbortSignal): Promise<number[]> {
    const body = { content: text, add_special: false, parse_special: false };
    const { tokens } = await this.ask('/tokenize', body, signal);
    if (!Array.isArray(tokens) || !tokens.every((token) => typeof token === 'number')) {
      throw protocolError('gave no token ids');
    }
    return tokens;
  }

  /** Messages as the prompt that the model was made for. Rejects `engine_timeout` for a template that does not end. */
  async prompt(body: JsonObject, signal: AbortSignal): Promise<string> {
    const { prompt } = await this.ask('/apply-template', body, signal, engineLimits.templateMs);
    if (typeof prompt !== 'string') {
      throw protocolError('made no prompt of the messages');
    }
    return prompt;
  }

  /** Ends the answers first: the server waits for whoever is still connected. */
  async stop(): Promise<ProcessExit> {
    await this.client.close();
    await this.#process.stop();
    return this.exited;
  }

  kill(): void {
    this.#process.kill();
  }

  /** One question of the server's own API. */
  async ask(
    path: string,
    body: JsonObject,
    signal: AbortSignal,
    silenceMs: number = engineLimits.stallMs,
  ): Promise<JsonObject> {
    const answer = await this.client.json({ method: 'POST', path, body, signal, silenceMs });
    return asObject(answer);
  }

  async #isUp(signal: AbortSignal): Promise<boolean> {
    try {
      await this.client.json({
        method: 'GET',
        path: '/health',
        signal,
        silenceMs: engineLimits.startTimeoutMs,
      });
      return true;
    } catch (thrown) {
      signal.throwIfAborted();
      // Not listening yet, or loading: 503.
      if (thrown instanceof MeshnodeError && thrown.code !== 'engine_protocol') {
        return false;
      }
      throw thrown;
    }
  }

  /** The server does not tell; its memory grows as the weights come in. */
  async #tellProgress(weightsBytes: number, onProgress: (fraction: number) => void): Promise<void> {
    const residentBytes = await this.#process.residentBytes();
    if (residentBytes !== undefined && weightsBytes > 0) {
      onProgress(Math.min(0.99, residentBytes / weightsBytes));
    }
  }

  async #readFacts(generates: boolean, signal: AbortSignal): Promise<ServerFacts> {
    const props = asObject(
      await this.client.json({
        method: 'GET',
        path: '/props',
        signal,
        silenceMs: engineLimits.startTimeoutMs,
      }),
    );
    const settings = asObject(props['default_generation_settings'] ?? null);
    const template = typeof props['chat_template'] === 'string' ? props['chat_template'] : '';
    const abilities = isJsonObject(props['chat_template_caps']) ? props['chat_template_caps'] : {};
    return {
      contextTokens: positive(settings['n_ctx']),
      slots: positive(props['total_slots']),
      callsTools:
        generates && abilities['supports_tools'] === true && abilities['supports_tool_calls'] === true,
      reasons: generates && reasoningWords.test(template),
      continues: generates && (await this.#continues(signal)),
    };
  }

  /** Asked, not assumed: a template may close a trailing message of the assistant. */
  async #continues(signal: AbortSignal): Promise<boolean> {
    const beginning = 'Once upon a time';
    const messages = [
      { role: 'user', content: 'Tell me a story.' },
      { role: 'assistant', content: beginning },
    ];
    try {
      return (await this.prompt({ messages }, signal)).endsWith(beginning);
    } catch (thrown) {
      signal.throwIfAborted();
      if (thrown instanceof MeshnodeError) {
        return false; // Some templates refuse it.
      }
      throw thrown;
    }
  }
}

/** How templates that let a model think speak of it: tags, channels, switches. */
const reasoningWords = /think|reason|<\|channel\|>/i;

/** Where a server listens, and what to remove when it has ended. */
interface SocketPlace {
  readonly path: string;
  readonly removed: string;
}

/** What cannot be removed is swept at the next start, or by the system. */
async function removeSocket({ removed }: SocketPlace): Promise<void> {
  await rm(removed, { recursive: true, force: true }).catch(() => {});
}

async function makeSocket({ runFolder, random }: LlamaServerComponents): Promise<SocketPlace> {
  const name = `${randomId(random, 12)}.sock`;
  const path = join(runFolder, name);
  if (Buffer.byteLength(path) <= engineLimits.socketPathBytes) {
    await makeFolder(runFolder);
    return { path, removed: path };
  }
  // Systems take about a hundred bytes of path, and data folders may lie deep. A fresh folder: one of a known name
  // could be somebody else's.
  const folder = await mkdtemp(join(tmpdir(), 'meshnode-'));
  return { path: join(folder, name), removed: folder };
}

function positive(json: JsonValue | undefined): number {
  if (typeof json !== 'number' || !Number.isSafeInteger(json) || json <= 0) {
    throw protocolError('does not tell its context and its slots');
  }
  return json;
}

function asObject(json: JsonValue): JsonObject {
  if (!isJsonObject(json)) {
    throw protocolError('answered with something that is no JSON object');
  }
  return json;
}

function loadTimeout(name: string): MeshnodeError {
  return new MeshnodeError(
    'engine_timeout',
    `${name} did not load in ${engineLimits.loadTimeoutMs / 60_000} minutes.`,
  );
}
