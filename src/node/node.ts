// A whole node: builds the parts, starts them in the order in which they need each other, and stops them
// in the reverse one. Signals and terminals belong to the command line.
import { hostname } from 'node:os';
import { Registry } from 'prom-client';
import { type Api, startApi } from '../api/api.ts';
import { type ManagedNode, startConsole } from '../console/console.ts';
import { type ModelView, modelView, type NodeStatus } from '../console/status.ts';
import { Dispatcher } from '../dispatch/dispatch.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import { normaliseUrl } from '../engine/openai-url.ts';
import { hashedKey } from '../http/guards.ts';
import type { HttpServer } from '../http/server.ts';
import { catalogueNames } from '../models/catalogue.ts';
import { parseReference } from '../models/reference.ts';
import { Serving } from '../serving/serving.ts';
import { background } from '../util/async.ts';
import { type Clock, sleep } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { engineLimits, nodeLimits } from '../util/limits.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import type { Environment } from './config.ts';
import type { NodeConfig } from './config-schema.ts';
import { type DataFolder, openDataFolder } from './data-folder.ts';
import { EventLog, errorFields } from './events.ts';
import { machineParts, type NodeParts, type PartsContext } from './machine-parts.ts';
import { modelReporter } from './model-events.ts';
import { NodeKeys } from './node-keys.ts';
import { version } from './version.ts';

export interface NodeOptions {
  readonly config: NodeConfig;
  readonly environment: Environment;
  readonly dataDir: string;
}

export interface NodeComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Makes the parts that touch the machine; absent: the machine's own. */
  readonly makeParts?: (context: PartsContext) => Promise<NodeParts>;
  /** Hears of every event, from the first. */
  readonly events?: EventLog;
}

export interface StopOptions {
  /** Time that running answers get, at most. Absent: nodeLimits.drainMs. */
  readonly drainMs?: number;
  /** Told how many requests are waited for, if any. */
  readonly onDraining?: (requests: number) => void;
}

/** A node that runs: its API answers, and its models are ready or on their way. */
export interface RunningNode {
  readonly name: string;
  readonly peerId: string;
  /** What OpenAI clients take as their base URL, e.g. `http://127.0.0.1:9337/v1`. */
  readonly apiUrl: string;
  /** Undefined if the node is headless. */
  readonly consoleUrl: string | undefined;
  readonly events: EventLog;
  readonly serving: Serving;
  /** Settles when the node has stopped, whoever stopped it. */
  readonly stopped: Promise<void>;
  /** Stops the node; a second call joins the first. Never rejects. */
  stop(options?: StopOptions): Promise<void>;
}

/**
 * Starts a node and resolves once its API answers; models load on. Rejects with `data_dir_in_use`,
 * `data_dir_unwritable`, `disk_full`, `port_in_use`, `key_required`, `model_ref_invalid` or
 * `config_invalid`; nothing is left running or locked then.
 */
export async function startNode(options: NodeOptions, components: NodeComponents): Promise<RunningNode> {
  const folder = await openDataFolder(options.dataDir, components);
  try {
    const { clock, random, log, makeParts = machineParts } = components;
    const keys = await NodeKeys.open(options.dataDir, options.config.apiKeys, { clock, log });
    const parts = await makeParts({ ...options, clock, random, log });
    const node = new MeshNode(folder, keys, parts, options, components);
    await node.start();
    return node;
  } catch (error) {
    await folder.close();
    throw error;
  }
}

class MeshNode implements RunningNode {
  readonly name: string;
  readonly events: EventLog;
  readonly serving: Serving;
  readonly #folder: DataFolder;
  readonly #keys: NodeKeys;
  readonly #parts: NodeParts;
  readonly #config: NodeConfig;
  readonly #components: NodeComponents;
  readonly #dispatch: Dispatcher;
  readonly #startedMs: number;
  readonly #stopping = new AbortController();
  readonly #stopped = Promise.withResolvers<void>();
  #api: Api | undefined;
  #console: HttpServer | undefined;
  #hardware: Hardware | undefined;
  #hardwareLook: Promise<void> | undefined;
  #isReady = false;

  constructor(
    folder: DataFolder,
    keys: NodeKeys,
    parts: NodeParts,
    options: NodeOptions,
    components: NodeComponents,
  ) {
    const { clock, log } = components;
    const { config } = options;
    this.#folder = folder;
    this.#keys = keys;
    this.#parts = parts;
    this.#config = config;
    this.#components = components;
    this.#startedMs = clock.monotonicMs();
    this.name = config.name ?? machineName(folder.nodeId);
    this.events = components.events ?? new EventLog(clock, log);
    this.serving = new Serving({ clock, log, ...parts }, servingOptions(config));
    this.#dispatch = new Dispatcher({ clock, log, serving: this.serving, peer: this.name });
  }

  get peerId(): string {
    return this.#folder.nodeId;
  }

  get apiUrl(): string {
    return `${this.#api?.url ?? ''}/v1`;
  }

  get consoleUrl(): string | undefined {
    return this.#console?.url;
  }

  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  async start(): Promise<void> {
    const { model, headless } = this.#config;
    this.serving.want(model);
    this.#emitNode();
    try {
      await this.#startApi();
      if (!headless) {
        await this.#startConsole();
      }
      await this.#announce();
    } catch (error) {
      await this.#closeListeners(0);
      throw error;
    }
    const report = modelReporter(this.events, this.#components.clock);
    this.serving.onChange((status) => {
      report(status);
      this.#checkReady();
    });
    this.#hardwareLook = this.#detectHardware();
    this.#inBackground('hardware', this.#hardwareLook);
    for (const url of new Set(this.#config.attach.map(normaliseUrl))) {
      this.#inBackground('attach', this.#attach(url));
    }
    for (const reference of model) {
      this.#load(reference);
    }
    this.#checkReady();
  }

  stop({ drainMs = nodeLimits.drainMs, onDraining }: StopOptions = {}): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort(new MeshnodeError('shutting_down', 'The node is stopping.'));
      this.#dispatch.stopAccepting();
      if (this.#dispatch.inFlight > 0) {
        onDraining?.(this.#dispatch.inFlight);
      }
      this.#inBackground('stop', this.#stop(drainMs).finally(this.#stopped.resolve));
    }
    return this.stopped;
  }

  /** Answers first, then what they need: engines, and last the claim on the folder. */
  async #stop(drainMs: number): Promise<void> {
    await this.#closeListeners(drainMs);
    await this.serving.stop();
    await this.#hardwareLook?.catch(() => {}); // Told where it was started.
    await this.#parts.close();
    await this.#folder.close();
  }

  async #closeListeners(drainMs: number): Promise<void> {
    await Promise.all([this.#api?.close(drainMs), this.#console?.close(0)]);
  }

  async #startApi(): Promise<void> {
    const { host, port, allowedOrigins, allowedHosts } = this.#config;
    const { clock, random, log } = this.#components;
    this.#api = await startApi({
      dispatch: this.#dispatch,
      host,
      port,
      keys: this.#keys,
      ownerKey: hashedKey('owner', this.#folder.consoleToken),
      allowedOrigins,
      allowedHosts,
      clock,
      random,
      log,
      metrics: new Registry(),
      nodeInfo: { version, peerName: this.name },
      readiness: () => this.serving.readiness(),
    });
    this.events.emit({ event: 'api', url: this.apiUrl });
  }

  async #startConsole(): Promise<void> {
    const { clock, random, log } = this.#components;
    this.#console = await startConsole({
      node: this.#managed(),
      port: this.#config.consolePort,
      token: this.#folder.consoleToken,
      clock,
      random,
      log: log.child({ part: 'console' }),
    });
    this.events.emit({ event: 'console', url: this.#console.url });
  }

  async #announce(): Promise<void> {
    const { consoleUrl } = this;
    await this.#folder.announce({
      pid: process.pid,
      startedAt: new Date(this.#components.clock.wallMs()).toISOString(),
      version,
      apiUrl: this.apiUrl,
      ...(consoleUrl === undefined ? {} : { consoleUrl }),
    });
  }

  #emitNode(): void {
    this.events.emit({
      event: 'node',
      peerId: this.peerId,
      meshId: null,
      role: 'serve',
      addresses: [],
      name: this.name,
      version,
    });
  }

  #checkReady(): void {
    if (!this.#isReady && this.serving.readiness().ready) {
      this.#isReady = true;
      this.events.emit({ event: 'ready' });
    }
  }

  #load(reference: string): void {
    this.#inBackground('load', this.#tell(this.serving.load(reference)));
  }

  /** The failure of something that went on by itself is an event. */
  async #tell(task: Promise<unknown>): Promise<void> {
    try {
      await task;
    } catch (thrown) {
      if (!this.#stopping.signal.aborted) {
        this.events.emit({ event: 'error', ...errorFields(asMeshnodeError(thrown)) });
      }
    }
  }

  /** Attaches to a server as soon as it is there. That it is missing is told once. */
  async #attach(url: string): Promise<void> {
    const { signal } = this.#stopping;
    const first = this.serving.attach(url, signal);
    await this.#tell(first);
    let attached = await succeeds(first);
    while (!attached && !signal.aborted) {
      await sleep(this.#components.clock, engineLimits.attachPollMs, signal).catch(() => {}); // Woken by the stop.
      attached = signal.aborted || (await succeeds(this.serving.attach(url, signal)));
    }
  }

  async #detectHardware(): Promise<void> {
    const { signal } = this.#stopping;
    this.#hardware = await this.#parts.detectHardware(signal).catch((cause: unknown) => {
      if (signal.aborted) {
        return undefined;
      }
      throw cause;
    });
  }

  #inBackground(name: string, task: Promise<unknown>): void {
    background(task, name, this.#components.log);
  }

  #managed(): ManagedNode {
    return {
      status: () => this.#status(),
      models: () => this.#models(),
      load: (reference) => {
        // What is no reference is the caller's fault, at once; the rest is told by events.
        parseReference(reference, catalogueNames);
        this.#load(reference);
      },
      unload: (name) => this.serving.unload(name),
      stop: () => {
        this.#inBackground('stop', this.stop());
      },
      follow: (listener, afterId) => this.events.follow(listener, afterId),
    };
  }

  #status(): NodeStatus {
    const uptimeMs = this.#components.clock.monotonicMs() - this.#startedMs;
    return {
      name: this.name,
      peerId: this.peerId,
      version,
      pid: process.pid,
      uptimeSeconds: Math.floor(uptimeMs / 1000),
      apiUrl: this.apiUrl,
      ready: this.serving.readiness().ready,
      requestsInFlight: this.#dispatch.inFlight,
      residentBytes: process.memoryUsage.rss(),
      ...(this.#hardware === undefined ? {} : { hardware: this.#hardware }),
      models: this.#models(),
    };
  }

  #models(): ModelView[] {
    return this.serving.served().map(({ status, model }) => {
      const aliases = this.serving.aliasesOf(status.reference);
      return model === undefined
        ? modelView(status, aliases)
        : modelView(status, aliases, model.figures(), this.#dispatch.queueOf(model));
    });
  }
}

function servingOptions({ ctx, parallel, threads, maxVram }: NodeConfig) {
  return {
    ...(ctx === undefined ? {} : { contextTokens: ctx }),
    ...(parallel === undefined ? {} : { parallel }),
    ...(threads === undefined ? {} : { threads }),
    ...(maxVram === undefined ? {} : { maxMemoryBytes: maxVram }),
  };
}

/** The machine's name if it can stand in a header, else the node's id. */
function machineName(nodeId: string): string {
  const name = hostname();
  return /^[A-Za-z0-9._-]{1,64}$/.test(name) ? name : nodeId;
}

async function succeeds(task: Promise<unknown>): Promise<boolean> {
  return task.then(
    () => true,
    () => false,
  );
}
