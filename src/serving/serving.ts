// What this node runs: loads models by reference, follows their processes, takes in the models of
// attached servers, and tells what state each is in. It answers no request; dispatch does.
import type { Engine, LoadedModel, ModelState } from '../engine/engine.ts';
import { catalogueNames } from '../models/catalogue.ts';
import { parseReference } from '../models/reference.ts';
import type { ResolvedModel } from '../models/resolve-model.ts';
import { background, Emitter, raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { Logger } from '../util/logging.ts';
import { Attachments } from './attachments.ts';
import { loadWithFirst, type UsableEngines, usableEngines } from './choose-engine.ts';
import { Load } from './load.ts';
import { assertFits, memoryLeft } from './memory-fit.ts';
import type { ModelStatus } from './model-status.ts';
import {
  applyModelEvent,
  downloadEvent,
  emptyTable,
  entryNamed,
  type ModelEvent,
  type ModelTable,
  unloadedStatus,
} from './model-table.ts';
import type { ServingOptions, ServingPorts } from './ports.ts';
import { Turns } from './turns.ts';

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
  /** Models that are being unloaded. A load of the same key waits. */
  readonly #ending = new Map<string, Promise<void>>();
  readonly #attachments: Attachments;
  /** References that turned out to be the file of another key. */
  readonly #aliases = new Map<string, string>();
  /** Keys of loads by the identity of their file. */
  readonly #fileOwners = new Map<string, string>();
  readonly #turns = new Turns();
  #table: ModelTable = emptyTable;
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

  /** The other references that turned out to mean the file of `reference`. */
  aliasesOf(reference: string): readonly string[] {
    return [...this.#aliases].flatMap(([alias, key]) => (key === reference ? alias : []));
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
    const load = this.#loads.get(key) ?? this.#begin(key);
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
    const keys = new Set([...this.#table.keys(), ...this.#loads.keys(), ...this.#ending.keys()]);
    await Promise.allSettled([...keys].map((key) => this.#end(key)));
  }

  #servedAt(key: string): ServedModel | undefined {
    const status = this.#table.get(key)?.status;
    const model = this.#running.get(key)?.model;
    return status === undefined ? undefined : { status, ...(model === undefined ? {} : { model }) };
  }

  #keyOf(reference: string): string {
    return this.#aliases.get(reference) ?? reference;
  }

  #begin(key: string): Load {
    const load = new Load((signal) => this.#run(key, signal));
    this.#loads.set(key, load);
    load.done.catch((error: MeshnodeError) => {
      // Otherwise it was ended, or turned out to be another one.
      if (this.#loads.get(key) === load) {
        this.#fail(key, error);
      }
    });
    return load;
  }

  /** Whoever asked may have stopped waiting: the failure is in the log and the table. */
  #fail(key: string, error: MeshnodeError): void {
    const { log } = this.#components;
    const { code, message } = error;
    if (code === 'internal') {
      log.error({ reference: key, code, err: error }, 'a model did not load');
    } else {
      log.warn({ reference: key, code, message }, 'a model did not load');
    }
    this.#drop(key, error);
    this.#apply({ type: 'failed', key, error });
  }

  async #run(key: string, signal: AbortSignal): Promise<LoadedModel> {
    const { ports, clock, engines } = this.#components;
    const { name } = parseReference(key, catalogueNames);
    const ending = this.#ending.get(key);
    if (ending !== undefined) {
      await ending.catch(() => {}); // Told to whoever unloads it.
      signal.throwIfAborted();
    }
    this.#apply({ type: 'asked', key, name, reference: key, createdMs: clock.wallMs() });
    // Before anything is downloaded that nothing here could load.
    const usable = await usableEngines(engines);
    signal.throwIfAborted();
    const file = await ports.resolve(key, {
      signal,
      onProgress: (progress) => this.#tell(signal, downloadEvent(key, progress)),
    });
    const identity = await ports.identity(file);
    signal.throwIfAborted();
    const owner = this.#fileOwners.get(identity);
    const shared = owner === undefined ? undefined : this.#loads.get(owner);
    if (owner !== undefined && shared !== undefined) {
      return this.#share(key, owner, shared);
    }
    this.#fileOwners.set(identity, key);
    this.#apply({ type: 'resolved', key, sizeBytes: file.sizeBytes });
    const model = await this.#turns.take(signal, () => this.#place(key, file, usable, signal));
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
  async #place(
    key: string,
    file: ResolvedModel,
    engines: UsableEngines,
    signal: AbortSignal,
  ): Promise<LoadedModel> {
    const { ports, log } = this.#components;
    this.#tell(signal, { type: 'progress', key, stage: 'placing' });
    const name = this.#table.get(key)?.status.name ?? file.name;
    const heldBytes = this.#heldBytes();
    // Who hangs while asking the hardware keeps nobody from being unloaded, and the next from its turn.
    assertFits(name, await raceSignal(ports.fit(file, this.#options, heldBytes, signal), signal));
    this.#tell(signal, { type: 'progress', key, stage: 'loading' });
    const model = await loadWithFirst(
      engines,
      { name, path: file.path },
      {
        ...this.#options,
        ...memoryLeft(this.#options, heldBytes),
        signal,
        onProgress: ({ fraction }) =>
          this.#tell(signal, {
            type: 'progress',
            key,
            stage: 'loading',
            ...(fraction === undefined ? {} : { fraction }),
          }),
      },
      log,
    );
    try {
      const takenBytes = await this.#takenBytes(file, model);
      signal.throwIfAborted();
      this.#adopt(key, model, takenBytes);
      return model;
    } catch (thrown) {
      await model.unload();
      throw thrown;
    }
  }

  /** What a loaded model holds, with the context and the slots that the engine chose for it. */
  #takenBytes(file: ResolvedModel, { capabilities }: LoadedModel): Promise<number> {
    const { contextTokens = 0, slots = 1 } = capabilities;
    return this.#components.ports.demand(file, { contextTokens, parallel: slots });
  }

  #heldBytes(): number {
    let heldBytes = 0;
    for (const running of this.#running.values()) {
      heldBytes += running.heldBytes;
    }
    return heldBytes;
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
        this.#release(key, state.error);
        this.#apply({ type: 'failed', key, error: state.error });
        background(model.unload(), 'unload', this.#components.log);
        break;
      case 'unloaded':
        this.#forget(key);
        break;
    }
  }

  /** Lets go of a model that no longer answers; the table still says what became of it. */
  #release(key: string, reason: MeshnodeError): void {
    this.#running.get(key)?.stopListening();
    this.#running.delete(key);
    // While it is being unloaded its own load is gone, and another may wait for the end.
    if (!this.#ending.has(key)) {
      this.#drop(key, reason);
    }
  }

  /** Ends what goes on for a load. The next call for its key begins a new one. */
  #drop(key: string, reason: MeshnodeError): void {
    this.#loads.get(key)?.stop(reason);
    this.#loads.delete(key);
    deleteByValue(this.#fileOwners, key);
  }

  /** Nothing is left of the model. */
  #forget(key: string): void {
    this.#apply({ type: 'unloaded', key });
    this.#release(key, unloaded());
    deleteByValue(this.#aliases, key);
  }

  #end(key: string): Promise<void> {
    const load = this.#loads.get(key);
    this.#drop(key, unloaded());
    let ending = this.#ending.get(key);
    if (ending === undefined) {
      // Known before it begins: the model tells of its end while it is unloaded.
      ending = Promise.resolve()
        .then(() => this.#unload(key, load))
        .finally(() => this.#ending.delete(key));
      this.#ending.set(key, ending);
    }
    return ending;
  }

  async #unload(key: string, load: Load | undefined): Promise<void> {
    const { clock, log } = this.#components;
    try {
      await this.#running.get(key)?.model.unload();
      await load
        ?.settled(clock)
        .catch((err) => log.warn({ err, reference: key }, 'a load did not stop in time'));
    } finally {
      this.#forget(key);
    }
  }

  /** A model without a digest is still a model: that it could not be computed is only logged. */
  async #addDigest(key: string, file: ResolvedModel, signal: AbortSignal): Promise<void> {
    const { ports, log } = this.#components;
    this.#tell(signal, { type: 'digest', key, digest: 'pending' });
    try {
      this.#tell(signal, { type: 'digest', key, digest: await ports.digest(file, signal) });
    } catch (err) {
      this.#tell(signal, { type: 'digest', key });
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

  /** News of a load. From one that was told to stop there is none: its key may be another's now. */
  #tell(signal: AbortSignal, event: ModelEvent): void {
    if (!signal.aborted) {
      this.#apply(event);
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

function unloaded(): MeshnodeError {
  return new MeshnodeError('cancelled', 'The model was unloaded while it loaded.');
}

function deleteByValue(map: Map<string, string>, value: string): void {
  for (const [key, held] of map) {
    if (held === value) {
      map.delete(key);
    }
  }
}
