// A whole node: builds the parts, starts them in the order in which they need each other, and stops them
// in the reverse one. Signals and terminals belong to the command line.
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { type Api, startApi } from '../api/api.ts';
import type { WantedFile } from '../console/cluster-port.ts';
import { type ManagedNode, startConsole } from '../console/console.ts';
import type { ManagedMesh } from '../console/mesh-port.ts';
import { type ModelView, modelView, type NodeStatus } from '../console/status.ts';
import { Dispatcher } from '../dispatch/dispatch.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import { hashedKey } from '../http/guards.ts';
import type { HttpServer } from '../http/server.ts';
import { LocalDemand } from '../mesh/demand.ts';
import { catalogueNames } from '../models/catalogue.ts';
import { parseReference } from '../models/reference.ts';
import type { Cluster } from '../placement/cluster.ts';
import { Serving } from '../serving/serving.ts';
import type { KeyPair } from '../trust/keys.ts';
import { background, raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import { MeasuredBandwidth } from './bandwidth.ts';
import { loneCluster } from './cluster.ts';
import type { Environment } from './config.ts';
import type { NodeConfig } from './config-schema.ts';
import { type DataFolder, openDataFolder } from './data-folder.ts';
import { EventLog } from './events.ts';
import type { FactsSource } from './local-facts.ts';
import { machineParts, type NodeParts, type PartsContext } from './machine-parts.ts';
import type { MeshDesk } from './mesh-desk.ts';
import { MeshFolder } from './mesh-folder.ts';
import type { MeshPart } from './mesh-part.ts';
import { modelReporter } from './model-events.ts';
import { NodeKeys } from './node-keys.ts';
import { readToken } from './token-file.ts';
import { version } from './version.ts';
import { WantedModels } from './wanted-models.ts';

export interface NodeOptions {
  readonly config: NodeConfig;
  readonly environment: Environment;
  readonly dataDir: string;
  /** Take part in no mesh: nobody else reaches this node, and nothing of a mesh is made. */
  readonly alone?: boolean;
  /** Stops a node that is still starting; later that is for whoever started it. */
  readonly interrupted?: AbortSignal;
  /** Told how many requests are waited for if that ends the start. */
  readonly onDraining?: (requests: number) => void;
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

/** A node that runs: its API answers, it is part of its mesh, and its models are ready or on their way. */
export interface RunningNode {
  readonly name: string;
  readonly peerId: string;
  /** What OpenAI clients take as their base URL, e.g. `http://127.0.0.1:9337/v1`. */
  readonly apiUrl: string;
  /** Undefined if the node is headless. */
  readonly consoleUrl: string | undefined;
  readonly events: EventLog;
  readonly serving: Serving;
  /** Resolves when the node has stopped: to why it could not go on, or undefined if it was told to stop. */
  readonly stopped: Promise<MeshnodeError | undefined>;
  /** Stops the node; a second call joins the first. Never rejects. */
  stop(options?: StopOptions): Promise<void>;
}

/**
 * Starts a node and resolves once its API answers and it is part of its mesh; models load on. Rejects with
 * `data_dir_in_use`, `data_dir_unwritable`, `disk_full`, `port_in_use`, `key_required`, `model_ref_invalid`,
 * `config_invalid`, or why the mesh could not be joined; nothing is left running or locked then.
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
  readonly #wanted: WantedModels;
  readonly #demand = new LocalDemand();
  readonly #startedMs: number;
  readonly #stopping = new AbortController();
  readonly #stopped = Promise.withResolvers<MeshnodeError | undefined>();
  readonly #options: NodeOptions;
  #api: Api | undefined;
  #console: HttpServer | undefined;
  #hardware: Hardware | undefined;
  #rpcBuild: string | undefined;
  readonly #bandwidth: MeasuredBandwidth;
  #hardwareLook: Promise<void> | undefined;
  #identity: KeyPair | undefined;
  #mesh: { readonly part: MeshPart; readonly desk: MeshDesk } | undefined;
  #failure: MeshnodeError | undefined;
  #hasStarted = false;
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
    this.#options = options;
    this.#components = components;
    this.#startedMs = clock.monotonicMs();
    this.#bandwidth = new MeasuredBandwidth(join(folder.path, 'bandwidth.json'), log);
    this.name = config.name ?? machineName();
    this.events = components.events ?? new EventLog(clock, log);
    this.serving = new Serving({ clock, log, ...parts }, servingOptions(config));
    const stopping = this.#stopping.signal;
    this.#wanted = new WantedModels({ clock, log, serving: this.serving, events: this.events, stopping });
    this.#dispatch = new Dispatcher({
      clock,
      log,
      serving: this.serving,
      peer: this.name,
      peerId: () => this.peerId,
      onAsked: (model) => this.#demand.record(model, clock.wallMs()),
      onServed: (caller, model) => this.#demand.seen(caller, model, clock.wallMs()),
    });
  }

  get peerId(): string {
    return this.#identity?.peerId ?? '';
  }

  get apiUrl(): string {
    return `${this.#api?.url ?? ''}/v1`;
  }

  get consoleUrl(): string | undefined {
    return this.#console?.url;
  }

  get stopped(): Promise<MeshnodeError | undefined> {
    return this.#stopped.promise;
  }

  /** The API first: whoever asks is answered while the node is still on its way into the mesh. */
  async start(): Promise<void> {
    this.serving.want(this.#config.model);
    const { signal } = this.#stopping;
    const { interrupted, onDraining } = this.#options;
    const stop = (): void =>
      this.#inBackground('stop', this.stop(onDraining === undefined ? {} : { onDraining }));
    interrupted?.addEventListener('abort', stop, { once: true });
    try {
      await this.#startParts();
      this.#hasStarted = true;
      this.#checkReady();
    } catch (error) {
      // A node that was told to stop has not failed, however far it had come.
      const wasTold = signal.aborted;
      await this.stop({ drainMs: 0 });
      if (!wasTold) {
        throw error;
      }
    } finally {
      interrupted?.removeEventListener('abort', stop);
    }
  }

  async #startParts(): Promise<void> {
    await this.#startApi();
    await this.#identify();
    if (!this.#config.headless) {
      await this.#startConsole();
    }
    await this.#announce();
    this.#startModels();
    await this.#enterMesh();
  }

  stop({ drainMs = nodeLimits.drainMs, onDraining }: StopOptions = {}): Promise<void> {
    if (!this.#stopping.signal.aborted) {
      this.#stopping.abort(new MeshnodeError('shutting_down', 'The node is stopping.'));
      this.#dispatch.stopAccepting();
      if (this.#dispatch.inFlight > 0) {
        onDraining?.(this.#dispatch.inFlight);
      }
      const ended = (): void => this.#stopped.resolve(this.#failure);
      this.#inBackground('stop', this.#stop(drainMs).finally(ended));
    }
    return this.stopped.then(() => {});
  }

  /** Answers first, then what they need: engines, and last the claim on the folder. */
  async #stop(drainMs: number): Promise<void> {
    await this.#closeListeners(drainMs);
    await Promise.all([this.#mesh?.part.stop(), this.serving.stop()]);
    await this.#hardwareLook?.catch(() => {}); // Told where it was started.
    await this.#parts.close();
    await this.#folder.close();
  }

  #startModels(): void {
    const report = modelReporter(this.events, this.#components.clock);
    this.serving.onChange((status) => {
      report(status);
      this.#mesh?.part.refreshFacts();
      this.#checkReady();
    });
    this.#hardwareLook = this.#detectHardware();
    this.#inBackground('hardware', this.#hardwareLook);
    this.#wanted.start(this.#config.model, this.#config.attach);
  }

  /** Loaded only now: the code of keys and of the mesh must not keep the API waiting. */
  async #identify(): Promise<void> {
    const { KeyPair } = await import('../trust/keys.ts');
    const seed = await new MeshFolder(this.#options.dataDir).identity(this.#components.random);
    this.#identity = KeyPair.fromSeed(seed);
  }

  async #enterMesh(): Promise<void> {
    const { alone, dataDir } = this.#options;
    const { clock, random, log } = this.#components;
    const { signal } = this.#stopping;
    const identity = this.#identity;
    if (alone === true || identity === undefined) {
      this.#emitAlone();
      return;
    }
    const { MeshPart } = await import('./mesh-part.ts');
    const { MeshDesk } = await import('./mesh-desk.ts');
    const part = await MeshPart.prepare({
      config: this.#config,
      token: await readToken(this.#config),
      folder: new MeshFolder(dataDir),
      identity,
      facts: () => this.#facts(),
      events: this.events,
      onConflict: (error) => this.#giveUp(error),
      dispatch: this.#dispatch,
      clock,
      random,
      log: log.child({ part: 'mesh' }),
    });
    const desk = new MeshDesk(part, {
      ...{ identity, clock, random },
      models: () => this.#dispatch.models(),
      onLeft: () => this.#leftMesh(),
    });
    this.#mesh = { part, desk };
    signal.throwIfAborted();
    await part.start(signal);
    this.#showInvite(desk);
  }

  /** An admin's node says at each start how another joins. */
  #showInvite(desk: MeshDesk): void {
    if (!desk.canInvite) {
      return;
    }
    const { startInviteMs: ttlMs, startInviteUses: uses } = nodeLimits;
    const { token, role, expiresAt } = desk.invite({ role: 'serve', ttlMs, uses, strict: false });
    this.events.emit({ event: 'invite', token, role, uses, expiresAt });
  }

  #leftMesh(): void {
    this.#mesh = undefined;
    this.#emitAlone();
  }

  /** Stops a node that must not go on. */
  #giveUp(error: MeshnodeError): void {
    this.#failure ??= error;
    this.#inBackground('stop', this.stop({ drainMs: 0 }));
  }

  #facts(): FactsSource {
    const served = this.serving.served();
    this.#bandwidth.update(served.flatMap(({ model }) => model?.figures() ?? []));
    return {
      name: this.name,
      version,
      hardware: this.#hardware,
      bandwidthBytes: this.#bandwidth.bytesPerSecond,
      rpcBuild: this.#rpcBuild,
      models: served.map(({ status }) => status),
      demand: this.#demand.claims(this.#components.clock.wallMs()),
      served: this.#demand.servedClaims(this.#components.clock.wallMs()),
    };
  }

  async #closeListeners(drainMs: number): Promise<void> {
    const closing = [this.#api?.close(drainMs), this.#console?.close(0), this.#dispatch.drained(drainMs)];
    await Promise.all(closing);
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

  #emitAlone(): void {
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
    if (this.#hasStarted && !this.#isReady && this.serving.readiness().ready) {
      this.#isReady = true;
      this.events.emit({ event: 'ready' });
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
    if (this.#hardware !== undefined) {
      await this.#bandwidth.recall(this.#hardware);
    }
    // What is configured and does not work is told where it is used.
    this.#rpcBuild = await this.#parts.rpcBuild(signal).catch(() => undefined);
    this.#mesh?.part.refreshFacts();
  }

  /** What a plan is made from. */
  async #cluster(wanted: WantedFile, signal: AbortSignal): Promise<Cluster> {
    await raceSignal(this.#hardwareLook ?? Promise.resolve(), signal);
    if (this.#mesh?.part.isRunning === true) {
      return this.#mesh.desk.cluster(wanted);
    }
    const { name, bandwidthBytes, rpcBuild } = this.#facts();
    if (this.#hardware === undefined) {
      throw new MeshnodeError('internal', 'The devices of this machine are not known.');
    }
    return loneCluster({ name, peerId: this.peerId, rpcBuild, bandwidthBytes }, this.#hardware, wanted);
  }

  #inBackground(name: string, task: Promise<unknown>): void {
    background(task, name, this.#components.log);
  }

  #managed(): ManagedNode {
    return {
      status: () => this.#status(),
      models: () => this.#models(),
      mesh: () => this.#managedMesh(),
      cluster: (wanted, signal) => this.#cluster(wanted, signal),
      load: (reference) => {
        // What is no reference is the caller's fault, at once; the rest is told by events.
        parseReference(reference, catalogueNames);
        this.#wanted.load(reference);
      },
      unload: (name) => this.serving.unload(name),
      stop: () => {
        this.#inBackground('stop', this.stop());
      },
      follow: (listener, afterId) => this.events.follow(listener, afterId),
    };
  }

  #managedMesh(): ManagedMesh {
    if (this.#mesh === undefined) {
      throw new MeshnodeError('mesh_missing', 'This node takes part in no mesh at the moment.');
    }
    return this.#mesh.desk;
  }

  #status(): NodeStatus {
    const mesh = this.#mesh?.desk.status();
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
      requestsOfPeers: this.#dispatch.inFlightOfPeers,
      residentBytes: process.memoryUsage.rss(),
      ...(this.#hardware === undefined ? {} : { hardware: this.#hardware }),
      ...(mesh === undefined ? {} : { mesh }),
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

/** The machine's name if it can stand in a header. */
function machineName(): string {
  const name = hostname();
  return /^[A-Za-z0-9._-]{1,64}$/.test(name) ? name : 'meshnode';
}
