// The entrance for requests: finds who may answer, waits for a loading model and for a free slot, asks,
// and hands the events on. It knows no surface, no engine and no network; what it decides is in the pure files beside it.
import type { LoadedModel } from '../engine/engine.ts';
import {
  type ErrorEvent,
  type ErrorPhase,
  errorEvent,
  type InferenceEvent,
  isOutput,
} from '../inference/events.ts';
import { unsupportedFeature } from '../inference/features.ts';
import { guardEvents } from '../inference/guard-events.ts';
import type { InferenceRequest } from '../inference/request.ts';
import type { ModelLoad } from '../mesh/model-load.ts';
import type { ReplicaLoad } from '../routing/least-loaded.ts';
import type { Serving } from '../serving/serving.ts';
import type { PeerId } from '../trust/keys.ts';
import { background, withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, type ErrorCode, MeshnodeError } from '../util/errors.ts';
import { apiLimits, peerLimits, queueLimits, remoteLimits, requestLimits } from '../util/limits.ts';
import type { Logger } from '../util/logging.ts';
import type { Answer, Dispatch, DispatchOptions, Route } from './answer.ts';
import { Call } from './call.ts';
import { type Candidates, candidatesOf, type ReadyReplica } from './candidates.ts';
import { expectedSeconds, modelLoading } from './load-wait.ts';
import { LocalModels } from './local-models.ts';
import { type ListedModel, ModelDirectory, notFound } from './model-directory.ts';
import type { QueueFigures } from './model-queue.ts';
import { type Admitted, PeerAllowance } from './peer-allowance.ts';
import { relayed } from './relayed.ts';
import type { RemoteReplica, RemoteReplicas, Replica } from './replica.ts';
import { type RoutedModel, routedModels } from './route/routes.ts';
import { TokenCount } from './token-count.ts';

/** What dispatch needs to know of the models of this node. */
export type ServedModels = Pick<Serving, 'served' | 'onChange'>;

export interface DispatchComponents {
  readonly clock: Clock;
  readonly log: Logger;
  readonly serving: ServedModels;
  /** How this node is called in `x-meshnode-peer`. */
  readonly peer: string;
  /** The id of this node, empty until it has one. */
  readonly peerId?: () => PeerId;
  /** Told of every request of this node's own API, by the name of the model asked for; there may be no such model. */
  readonly onAsked?: (model: string) => void;
  /** Told of every request of a peer that a model of this node has begun to answer. */
  readonly onServed?: (caller: PeerId, model: string) => void;
}

/** A request under way, with what is known of its route. */
interface Pass {
  readonly request: InferenceRequest;
  readonly options: DispatchOptions;
  readonly call: Call;
  readonly route: { -readonly [Field in keyof Route]: Route[Field] };
  /** Monotonic time by which the answer must be complete. */
  readonly deadlineMs: number | undefined;
  /** Whether `accepted` has gone out: the reader sees it once, however many replicas are asked. */
  accepted: boolean;
}

/** How asking one replica ended: the answer is complete, or this error came before any of it was given. */
type Outcome = { readonly answered: true } | { readonly answered: false; readonly error: ErrorEvent };

export class Dispatcher implements Dispatch {
  readonly #components: DispatchComponents;
  readonly #local: LocalModels;
  readonly #allowance: PeerAllowance;
  #remote: RemoteReplicas | undefined;
  /** Made anew when it is asked for after a change. */
  #directory: ModelDirectory | undefined;
  #inFlight = 0;
  #inFlightOfPeers = 0;
  /** Who waits until nothing is under way. */
  readonly #onIdle: (() => void)[] = [];
  #stopping = false;

  constructor(components: DispatchComponents) {
    this.#components = components;
    this.#local = new LocalModels(components);
    this.#allowance = new PeerAllowance(peerLimits, () => components.clock.monotonicMs());
    components.serving.onChange(() => this.#changed());
  }

  models(): readonly ListedModel[] {
    return this.#models().list();
  }

  infer(request: InferenceRequest, options: DispatchOptions): Answer {
    const route: Pass['route'] = {
      peer: this.#components.peer,
      attempts: 0,
      mode: 'solo',
      where: 'local',
      reason: 'none',
      model: request.model.name,
      ignored: [],
    };
    const readAtMs = this.#components.clock.monotonicMs();
    if (options.caller === undefined) {
      this.#components.onAsked?.(request.model.name);
    }
    return {
      events: this.#answer(request, options, route, readAtMs),
      route: () => ({ ...route }),
    };
  }

  /** From now on the models of other nodes are asked as well; undefined: there are none any more. */
  setRemote(remote: RemoteReplicas | undefined): void {
    this.#remote = remote;
    this.#changed();
    remote?.onChange(() => this.#changed());
  }

  /** Requests under way, waiting ones included. */
  get inFlight(): number {
    return this.#inFlight + this.#local.stopping;
  }

  /** Those of them that other nodes sent. */
  get inFlightOfPeers(): number {
    return this.#inFlightOfPeers;
  }

  /** The queue before a model; undefined before its first request. */
  queueOf(model: LoadedModel): QueueFigures | undefined {
    return this.#local.queueOf(model);
  }

  /** What the models of this node have to do, for its beats. */
  loads(): ModelLoad[] {
    return this.#components.serving.served().flatMap(({ status, model }) => {
      const queue = model && this.#local.queueOf(model);
      return model === undefined || queue === undefined
        ? []
        : {
            model: status.name,
            inFlight: queue.busySlots,
            queued: queue.waiting,
            slots: queue.slots,
            tokensPerSecond: model.figures().tokensPerSecond,
          };
    });
  }

  /** Who serves what, for whoever keeps no table. `addresses` are where this node can be dialled. */
  routes(addresses: readonly string[]): RoutedModel[] {
    return routedModels(this.#models().models(), addresses, (replica) => this.#loadOf(replica));
  }

  /** From now on requests are answered with `shutting_down`; those under way go on. */
  stopAccepting(): void {
    this.#stopping = true;
  }

  /** Resolves when no request is under way any more, or after `mostMs`. */
  async drained(mostMs: number): Promise<void> {
    if (this.#inFlight === 0) {
      return;
    }
    const drained = Promise.withResolvers<void>();
    const timer = this.#components.clock.after(mostMs, () => drained.resolve());
    this.#onIdle.push(() => drained.resolve());
    await drained.promise;
    timer.cancel();
  }

  async *#answer(
    request: InferenceRequest,
    options: DispatchOptions,
    route: Pass['route'],
    readAtMs: number,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock, log } = this.#components;
    const spentMs = clock.monotonicMs() - readAtMs;
    const leftMs = request.timeoutMs === undefined ? undefined : Math.max(0, request.timeoutMs - spentMs);
    const deadlineMs = leftMs === undefined ? undefined : clock.monotonicMs() + leftMs;
    const call = new Call(clock, options.signal, leftMs);
    const pass: Pass = { request, options, call, route, deadlineMs, accepted: false };
    let phase: ErrorPhase = 'before-output';
    let admitted: Admitted | undefined;
    const tokens = new TokenCount();
    const isOfPeer = Number(options.caller !== undefined);
    this.#inFlight++;
    this.#inFlightOfPeers += isOfPeer;
    try {
      admitted = options.caller === undefined ? undefined : this.#allowance.admit(options.caller);
      for await (const event of this.#attempts(pass)) {
        phase = isOutput(event) ? 'during-output' : phase;
        tokens.event(event);
        yield event;
      }
    } catch (thrown) {
      const error = asMeshnodeError(thrown);
      if (error.code === 'internal') {
        log.error({ err: error, requestId: request.requestId }, 'a request failed inside dispatch');
      }
      yield errorEvent(error, phase);
    } finally {
      admitted?.charge(tokens.total);
      admitted?.end();
      call.close();
      this.#inFlightOfPeers -= isOfPeer;
      this.#ended();
    }
  }

  #ended(): void {
    this.#inFlight--;
    while (this.#inFlight === 0 && this.#onIdle.length > 0) {
      this.#onIdle.pop()?.();
    }
  }

  /**
   * Asks the candidates until one has given a part of an answer. If all were lost before that, e.g. because
   * the engine hung while others waited for it, whoever can be held waits for it to be back, once.
   */
  async *#attempts(pass: Pass): AsyncGenerator<InferenceEvent, void, undefined> {
    if (this.#stopping) {
      throw new MeshnodeError('shutting_down', 'The node is stopping.');
    }
    const heldUntilMs = this.#heldUntilMs(pass.options);
    let lastError = yield* this.#askAll(pass);
    if (lastError !== undefined && engineGone.has(lastError.code) && mayHold(pass.options)) {
      lastError = yield* this.#askAll(pass);
    }
    while (lastError?.code === 'model_loading' && this.#isSoonReady(lastError, pass.options, heldUntilMs)) {
      yield* this.#whileElsewhereLoading(pass, lastError, heldUntilMs);
      lastError = yield* this.#askAll(pass);
    }
    if (lastError !== undefined) {
      yield lastError;
    }
  }

  /** Monotonic time until which the caller can be held while a model loads. */
  #heldUntilMs({ waitForLoadMs, stream }: DispatchOptions): number {
    const mayHoldMs = waitForLoadMs ?? (stream ? apiLimits.holdForLoadMs : 0);
    return this.#components.clock.monotonicMs() + Math.min(mayHoldMs, queueLimits.waitMs);
  }

  /** Whether a model that another node loads is worth waiting for, as that node says how long it takes. */
  #isSoonReady(
    { retryAfterSeconds }: ErrorEvent,
    { waitForLoadMs }: DispatchOptions,
    untilMs: number,
  ): boolean {
    const leftMs = untilMs - this.#components.clock.monotonicMs();
    const expectedMs = (retryAfterSeconds ?? Number.POSITIVE_INFINITY) * 1000;
    return leftMs > 0 && (waitForLoadMs !== undefined || expectedMs <= leftMs);
  }

  /** Tells of the progress and waits a little, or until anything has changed. */
  async *#whileElsewhereLoading(
    { call, route }: Pass,
    error: ErrorEvent,
    untilMs: number,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock } = this.#components;
    route.attempts = 0;
    yield { type: 'progress', stage: 'loading', ...fractionOf(error) };
    const changed = Promise.withResolvers<void>();
    const stopListening = this.#onChange(() => changed.resolve());
    const waitMs = Math.min(remoteLimits.loadingLookMs, untilMs - clock.monotonicMs());
    const timer = clock.after(Math.max(0, waitMs), () => changed.resolve());
    try {
      await call.wait(changed.promise);
    } finally {
      timer.cancel();
      stopListening();
    }
  }

  /** Asks each candidate once. Undefined if one has answered, else the last error. */
  async *#askAll(pass: Pass): AsyncGenerator<InferenceEvent, ErrorEvent | undefined, undefined> {
    const { ask: candidates, reason } = yield* this.#whenReady(pass);
    pass.route.reason = reason;
    let lastError: ErrorEvent | undefined;
    for (const [index, replica] of candidates.entries()) {
      // What a model that loads elsewhere will be able to do is not told yet: its node says when it knows.
      const isKnown = replica.status.stage === 'ready';
      const unsupported = isKnown ? unsupportedFeature(pass.request, replica.model.capabilities) : undefined;
      if (unsupported !== undefined) {
        lastError ??= errorEvent(unsupported, 'before-output');
        continue;
      }
      this.#note(pass, replica);
      const outcome = yield* this.#ask(pass, replica, index === candidates.length - 1);
      if (outcome.answered) {
        return undefined;
      }
      lastError = outcome.error;
      if (!lastError.retryable && !(replica.where === 'remote' && mistaken.has(lastError.code))) {
        break;
      }
    }
    return lastError;
  }

  #note({ route, request }: Pass, replica: ReadyReplica): void {
    route.attempts++;
    route.peer = replica.peer;
    route.where = replica.where;
    route.ignored = replica.where === 'local' ? notHeeded(request, replica.model) : [];
  }

  /**
   * Waits until a candidate is ready, telling of the progress, as long as the caller can be held: as long as
   * it said, or, for a stream, while the model is expected soon. Throws `model_loading` otherwise.
   */
  async *#whenReady(
    pass: Pass,
  ): AsyncGenerator<InferenceEvent, Extract<Candidates, { ask: unknown }>, undefined> {
    const { options, call } = pass;
    const { clock } = this.#components;
    const untilMs = this.#heldUntilMs(options);
    let changed = Promise.withResolvers<void>();
    const stopListening = this.#onChange(() => changed.resolve());
    try {
      await this.#refresh(call);
      while (true) {
        changed = Promise.withResolvers();
        const candidates = this.#candidates(pass);
        if ('ask' in candidates) {
          return candidates;
        }
        const { status } = candidates.wait;
        const leftMs = untilMs - clock.monotonicMs();
        const expectedMs = (expectedSeconds(status) ?? Number.POSITIVE_INFINITY) * 1000;
        if (leftMs <= 0 || (options.waitForLoadMs === undefined && expectedMs > leftMs)) {
          throw modelLoading(status);
        }
        const { fraction } = status;
        yield { type: 'progress', stage: 'loading', ...(fraction === undefined ? {} : { fraction }) };
        await call.wait(withTimeout(clock, leftMs, changed.promise, () => modelLoading(status)));
      }
    } finally {
      stopListening();
      changed.resolve();
    }
  }

  /** Where others know who serves what, they are asked first. */
  async #refresh(call: Call): Promise<void> {
    const asked = this.#remote?.refresh?.();
    if (asked !== undefined) {
      await call.wait(asked);
    }
  }

  #candidates({ request, options }: Pass): Candidates {
    const directory = this.#models();
    const mayForward = request.hops < requestLimits.hops;
    const replicas =
      options.caller === undefined
        ? directory.replicasOf(request.model)
        : directory.replicasForPeer(request.model, mayForward);
    // Who asks this node is not asked in turn.
    const others = replicas.filter(({ peerId }) => peerId !== options.caller);
    if (others.length === 0) {
      throw notFound(request.model.name, []);
    }
    return candidatesOf(others, (replica) => this.#loadOf(replica));
  }

  #loadOf(replica: ReadyReplica): ReplicaLoad {
    if (replica.where === 'remote') {
      return replica.model.load();
    }
    const queue = this.#local.queueOf(replica.model);
    return {
      requests: (queue?.busySlots ?? 0) + (queue?.waiting ?? 0),
      slots: replica.model.capabilities.slots,
      rttMs: 0,
    };
  }

  #models(): ModelDirectory {
    this.#directory ??= new ModelDirectory([...this.#localReplicas(), ...(this.#remote?.replicas() ?? [])]);
    return this.#directory;
  }

  #localReplicas(): Replica[] {
    const { serving, peer, peerId = () => '' } = this.#components;
    return serving.served().map(({ status, ...served }) => {
      const digest = status.digest === 'pending' ? undefined : status.digest;
      return { ...served, where: 'local', peer, peerId: peerId(), name: status.name, digest, status };
    });
  }

  #changed(): void {
    this.#directory = undefined;
  }

  /** Heard after the directory is: whoever is told looks at the new one. */
  #onChange(listener: () => void): () => void {
    const stops = [this.#components.serving.onChange(listener), this.#remote?.onChange(listener)];
    return () => {
      for (const stop of stops) {
        stop?.();
      }
    };
  }

  /** Hands the events of one replica on. An error before any output is not handed on but returned. */
  async *#ask(
    pass: Pass,
    replica: ReadyReplica,
    isLast: boolean,
  ): AsyncGenerator<InferenceEvent, Outcome, undefined> {
    const { call } = pass;
    let hasOutput = false;
    try {
      for await (const event of this.#eventsOf(pass, replica, isLast)) {
        if (event.type === 'error' && !hasOutput) {
          return { answered: false, error: event };
        }
        hasOutput ||= isOutput(event);
        if (event.type !== 'accepted' || !pass.accepted) {
          pass.accepted ||= event.type === 'accepted';
          yield event;
        }
      }
      return { answered: true };
    } catch (thrown) {
      // What ends the call ends it for all replicas. Everything else is the fault of this one.
      if (call.signal.aborted || hasOutput) {
        throw thrown;
      }
      return { answered: false, error: errorEvent(asMeshnodeError(thrown), 'before-output') };
    }
  }

  #eventsOf(pass: Pass, replica: ReadyReplica, isLast: boolean): AsyncGenerator<InferenceEvent> {
    if (replica.where === 'remote') {
      return this.#askPeer(pass, replica, isLast);
    }
    const { caller } = pass.options;
    if (caller !== undefined) {
      this.#components.onServed?.(caller, replica.name);
    }
    return this.#local.ask(replica.model, pass.request, pass.call, caller);
  }

  async *#askPeer(
    { request, call, deadlineMs }: Pass,
    { model, digest }: RemoteReplica,
    isLast: boolean,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock, log } = this.#components;
    const left = deadlineMs === undefined ? {} : { timeoutMs: Math.max(1, deadlineMs - clock.monotonicMs()) };
    const passedOn: InferenceRequest = {
      ...request,
      ...left,
      model: { name: model.name, ...(digest === undefined ? {} : { digest }) },
      hops: request.hops + 1,
    };
    const events = guardEvents(passedOn, model.infer(passedOn, call.signal, { patient: isLast }), { log });
    try {
      yield* relayed(events, call, model.name);
    } finally {
      background(events.return(undefined), 'stop of a remote answer', log);
    }
  }
}

/** What an error says whose reason is that the engine's process went away, not the request. */
const engineGone: ReadonlySet<string> = new Set(['engine_lost', 'engine_unavailable']);

/** What a peer says that has changed since it was chosen: another one may still do what was asked. */
const mistaken: ReadonlySet<ErrorCode> = new Set([
  'model_not_found',
  'model_unsupported',
  'unsupported_parameter',
]);

/** How far a model is that another node loads, if that node says so in a way that can be. */
function fractionOf({ data }: ErrorEvent): { readonly fraction?: number } {
  const { loading } = data ?? {};
  const fraction =
    typeof loading === 'object' && loading !== null && 'fraction' in loading && loading.fraction;
  return typeof fraction === 'number' && fraction >= 0 && fraction <= 1 ? { fraction } : {};
}

/** Whether the caller can wait: it reads a stream, or said how long it will. */
function mayHold({ stream, waitForLoadMs }: DispatchOptions): boolean {
  return stream || (waitForLoadMs ?? 0) > 0;
}

function notHeeded(request: InferenceRequest, { capabilities }: LoadedModel): string[] {
  return Object.keys(request.extra).filter((name) => !capabilities.extraFields.has(name));
}
