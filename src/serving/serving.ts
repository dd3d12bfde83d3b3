// What this node runs: loads models by reference, follows their processes, takes in the models of
// attached servers, and tells what state each is in. It answers no request; dispatch does.
import type { Engine, LoadedModel, ModelState } from '../engine/engine.ts';
import { catalogueNames } from '../models/catalogue.ts';
import type { DownloadProgress } from '../models/download-progress.ts';
import { parseReference } from '../models/reference.ts';
import type { ResolvedModel } from '../models/resolve-model.ts';
import { background, Emitter, raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import type { Logger } from '../util/logging.ts';
import { Attachments } from './attachments.ts';
import { chooseEngine } from './choose-engine.ts';
import { assertFits } from './memory-fit.ts';
import type { ModelStatus } from './model-status.ts';
import {
  applyModelEvent,
  emptyTable,
  entryNamed,
  type ModelEvent,
  type ModelProgress,
  type ModelTable,
} from './model-table.ts';
import type { ServingOptions, ServingPorts } from './ports.ts';

export interface ServingComponents {
  readonly clock: Clock;
  readonly log: Logger;
  /** Engines that load files, the preferred one first. */
  readonly engines: readonly Engine[];
  readonly ports: ServingPorts;
}

/** A model of this node. */
export interface ServedModel {
  readonly status: ModelStatus;
  /** What to ask; absent until it is loaded. Its process may be restarting. */
  readonly model?: LoadedModel;
}

/** Whether everything the node was started for is ready. */
export interface Readiness {
  readonly ready: boolean;
  /** What is missing, e.g. `demo is loading`. Never a path. */
  readonly waitingFor: readonly string[];
}

/** A model being loaded, or loaded. `done` settles once; `stop` ends whatever is going on. */
interface Load {
  readonly done: Promise<LoadedModel>;
  readonly stop: AbortController;
}

/** A model that can be asked. */
interface Running {
  readonly model: LoadedModel;
  /** Memory counted for it; 0 if it is not on this machine. */
  readonly heldBytes: number;
  readonly stopListening: () => void;
}

export class Serving {
  readonly #components: ServingComponents;
  readonly #options: ServingOptions;
  readonly #changes: Emitter<ModelStatus>;
  readonly #wanted = new Set<string>();
  readonly #loads = new Map<string, Load>();
  readonly #running = new Map<string, Running>();
  readonly #attachments: Attachments;
  /** References that turned out to be the file of another key. */
  readonly #aliases = new Map<string, string>();
  readonly #pathOwners = new Map<string, string>();
  #table: ModelTable = emptyTable;
  #lastTurn: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(components: ServingComponents, options: ServingOptions = {}) {
    this.#components = components;
    this.#options = options;
    this.#attachments = new Attachments(components.ports.attach, (url, models) =>
      this.#followAttached(url, models),
    );
    this.#changes = new Emitter((err) => components.log.error({ err }, 'a listener of model changes failed'));
  }

  /** Every model, failed ones included, in the order they were asked for. */
  served(): readonly ServedModel[] {
    return [...this.#table.keys()].flatMap((key) => this.#servedAt(key) ?? []);
  }

  /** The model called exactly `name`. */
  find(name: string): ServedModel | undefined {
    const key = entryNamed(this.#table, name)?.[0];
    return key === undefined ? undefined : this.#servedAt(key);
  }

  /** Tells of every change; a model that goes is told of once, as `unloaded`. */
  onChange(listener: (status: ModelStatus) => void): () => void {
    return this.#changes.listen(listener);
  }

  /** What the node is started for: `readiness` waits for these. Throws `model_ref_invalid`. */
  want(references: readonly string[]): void {
    for (const reference of references) {
      parseReference(reference, catalogueNames);
      this.#wanted.add(reference);
    }
  }

  readiness(): Readiness {
    const waitingFor = [...this.#wanted].flatMap((reference) => {
      const stage = this.#table.get(this.#keyOf(reference))?.status.stage ?? 'not loaded';
      const { name } = parseReference(reference, catalogueNames);
      return stage === 'ready' ? [] : [stage === 'failed' ? `${name} has failed` : `${name} is ${stage}`];
    });
    return { ready: waitingFor.length === 0, waitingFor };
  }

  /**
   * Loads a model and resolves once it answers. Two calls for one model share one load; `signal` ends only
   * this call's waiting. Rejects with the codes of models, downloads and engines, or `model_too_large`.
   */
  load(reference: string, options: { signal?: AbortSignal } = {}): Promise<LoadedModel> {
    if (this.#stopped) {
      return Promise.reject(new MeshnodeError('shutting_down', 'The node is stopping.'));
    }
    const key = this.#keyOf(reference);
    const load = this.#loads.get(key) ?? this.#begin(key, reference);
    return raceSignal(load.done, options.signal);
  }

  /**
   * Ends a model's process and frees its memory, or lets go of an attached model, whatever its state is.
   * Rejects `model_not_found`.
   */
  async unload(name: string): Promise<void> {
    const key = entryNamed(this.#table, name)?.[0];
    if (key === undefined) {
      throw new MeshnodeError('model_not_found', `No model called '${name}' is loaded here.`);
    }
    await this.#end(key);
  }

  /** Serves the models of a server the user runs for as long as it has them. Rejects with `attach_failed`. */
  attach(url: string, signal: AbortSignal): Promise<void> {
    return this.#attachments.attach(url, signal);
  }

  /** Ends everything: loads, processes, attachments. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#attachments.close();
    await Promise.allSettled([...this.#table.keys()].map((key) => this.#end(key)));
  }

  #servedAt(key: string): ServedModel | undefined {
    const status = this.#table.get(key)?.status;
    const model = this.#running.get(key)?.model;
    return status === undefined ? undefined : { status, ...(model === undefined ? {} : { model }) };
  }

  #keyOf(reference: string): string {
    return this.#aliases.get(reference) ?? reference;
  }

  #begin(key: string, reference: string): Load {
    const stop = new AbortController();
    const done = this.#run(key, reference, stop.signal).catch((thrown: unknown) => {
      this.#release(key);
      const error = asMeshnodeError(thrown, 'model_failed');
      if (!stop.signal.aborted) {
        this.#components.log.error({ reference, code: error.code, err: error }, 'a model did not load');
        this.#apply({ type: 'failed', key, error });
      }
      throw error;
    });
    // The caller may have stopped waiting; the failure is in the table and the log.
    done.catch(() => {});
    const load = { done, stop };
    this.#loads.set(key, load);
    return load;
  }

  async #run(key: string, reference: string, signal: AbortSignal): Promise<LoadedModel> {
    const { ports, clock, engines } = this.#components;
    const { name } = parseReference(reference, catalogueNames);
    this.#apply({ type: 'asked', key, name, reference, createdMs: clock.wallMs() });
    // Before anything is downloaded that nothing here could load.
    const engine = await chooseEngine(engines);
    signal.throwIfAborted();
    const file = await ports.resolve(reference, {
      signal,
      onProgress: (progress) => this.#apply({ type: 'progress', key, ...shareOf(progress) }),
    });
    signal.throwIfAborted();
    const owner = this.#pathOwners.get(file.path);
    const shared = owner === undefined ? undefined : this.#loads.get(owner);
    if (owner !== undefined && shared !== undefined) {
      return this.#share(key, owner, shared);
    }
    this.#pathOwners.set(file.path, key);
    this.#apply({ type: 'resolved', key, sizeBytes: file.sizeBytes });
    const model = await this.#inTurn(signal, () => this.#place(key, file, engine, signal));
    background(this.#addDigest(key, file, signal), 'digest', this.#components.log);
    return model;
  }

  /** The reference names a file that another load has: from here on both are one. */
  #share(key: string, owner: string, load: Load): Promise<LoadedModel> {
    this.#aliases.set(key, owner);
    this.#loads.delete(key);
    this.#apply({ type: 'unloaded', key });
    return load.done;
  }

  /** Loads a file after checking that it fits. Only one at a time: two at once would count the same free memory. */
  async #place(key: string, file: ResolvedModel, engine: Engine, signal: AbortSignal): Promise<LoadedModel> {
    const { ports } = this.#components;
    this.#apply({ type: 'progress', key, stage: 'placing' });
    const name = this.#table.get(key)?.status.name ?? file.name;
    const fit = await ports.fit(file, this.#options, this.#heldBytes());
    assertFits(name, fit);
    signal.throwIfAborted();
    this.#apply({ type: 'progress', key, stage: 'loading' });
    const model = await engine.load(
      { name, path: file.path },
      {
        ...this.#options,
        signal,
        onProgress: ({ fraction }) =>
          this.#apply({
            type: 'progress',
            key,
            stage: 'loading',
            ...(fraction === undefined ? {} : { fraction }),
          }),
      },
    );
    if (signal.aborted) {
      await model.unload();
      throw signal.reason;
    }
    this.#adopt(key, model, fit.neededBytes);
    return model;
  }

  #heldBytes(): number {
    let heldBytes = 0;
    for (const running of this.#running.values()) {
      heldBytes += running.heldBytes;
    }
    return heldBytes;
  }

  async #inTurn<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    const mine = Promise.withResolvers<void>();
    const before = this.#lastTurn;
    this.#lastTurn = before.then(() => mine.promise);
    try {
      await raceSignal(before, signal);
      return await task();
    } finally {
      mine.resolve();
    }
  }

  /** Makes a model available and follows its process. */
  #adopt(key: string, model: LoadedModel, heldBytes: number): void {
    const stopListening = model.onChange((state) => this.#followProcess(key, model, state));
    this.#running.set(key, { model, heldBytes, stopListening });
    this.#followProcess(key, model, model.state);
  }

  #followProcess(key: string, model: LoadedModel, state: ModelState): void {
    switch (state.state) {
      case 'ready':
        this.#apply({ type: 'ready', key, engine: model.engine, capabilities: model.capabilities });
        break;
      case 'restarting':
        this.#apply({ type: 'restarting', key, error: state.error });
        break;
      case 'failed':
        // A later load of the same reference starts from the beginning.
        this.#apply({ type: 'failed', key, error: state.error });
        this.#release(key);
        background(model.unload(), 'unload', this.#components.log);
        break;
      case 'unloaded':
        this.#forget(key);
        break;
    }
  }

  /** Lets go of a model that no longer answers; the table still says what became of it. */
  #release(key: string): void {
    this.#running.get(key)?.stopListening();
    this.#running.delete(key);
    this.#loads.delete(key);
    deleteByValue(this.#pathOwners, key);
  }

  /** Nothing is left of the model. */
  #forget(key: string): void {
    this.#apply({ type: 'unloaded', key });
    this.#release(key);
    deleteByValue(this.#aliases, key);
  }

  async #end(key: string): Promise<void> {
    const load = this.#loads.get(key);
    const model = this.#running.get(key)?.model;
    load?.stop.abort(new MeshnodeError('cancelled', 'The model was unloaded while it loaded.'));
    if (model === undefined) {
      await load?.done.catch(() => {});
    } else {
      await model.unload();
    }
    const current = this.#loads.get(key);
    // Otherwise somebody has asked for it anew in the meantime.
    if (current === undefined || current === load) {
      this.#forget(key);
    }
  }

  /** A model without a digest is still a model: that it could not be computed is only logged. */
  async #addDigest(key: string, file: ResolvedModel, signal: AbortSignal): Promise<void> {
    const { ports, log } = this.#components;
    this.#apply({ type: 'digest', key, digest: 'pending' });
    try {
      this.#apply({ type: 'digest', key, digest: await ports.digest(file, signal) });
    } catch (err) {
      this.#apply({ type: 'digest', key });
      if (!signal.aborted) {
        log.warn({ err, model: file.name }, 'the digest of a model could not be computed');
      }
    }
  }

  /** Takes the models of an attached server as they are now. */
  #followAttached(url: string, models: readonly LoadedModel[]): void {
    const reference = `url:${url}`;
    const offered = new Map(models.map((model) => [`${reference} ${model.name}`, model]));
    for (const [key, { model }] of this.#running) {
      if (key.startsWith(`${reference} `) && offered.get(key) !== model) {
        this.#forget(key);
      }
    }
    const createdMs = this.#components.clock.wallMs();
    for (const [key, model] of offered) {
      if (!this.#running.has(key)) {
        this.#apply({ type: 'asked', key, name: model.name, reference, createdMs });
        this.#adopt(key, model, 0);
      }
    }
  }

  #apply(event: ModelEvent): void {
    const before = this.#table.get(event.key)?.status;
    this.#table = applyModelEvent(this.#table, event, this.#components.clock.monotonicMs());
    const after = this.#table.get(event.key)?.status;
    if (after !== undefined && after !== before) {
      this.#changes.emit(after);
    } else if (after === undefined && before !== undefined) {
      this.#changes.emit(unloadedStatus(before));
    }
  }
}

/** How much of a stage is done, and how long the rest takes. */
function shareOf({
  stage,
  bytes,
  totalBytes,
  etaSeconds,
}: DownloadProgress): Omit<ModelProgress, 'type' | 'key'> {
  return {
    stage,
    ...(totalBytes > 0 ? { fraction: bytes / totalBytes } : {}),
    ...(etaSeconds === undefined ? {} : { etaSeconds: Math.ceil(etaSeconds) }),
  };
}

/** The last thing said of a model that goes. */
function unloadedStatus(status: ModelStatus): ModelStatus {
  const { fraction: _fraction, etaSeconds: _etaSeconds, error: _error, ...kept } = status;
  return { ...kept, stage: 'unloaded' };
}

function deleteByValue(map: Map<string, string>, value: string): void {
  for (const [key, held] of map) {
    if (held === value) {
      map.delete(key);
    }
  }
}
