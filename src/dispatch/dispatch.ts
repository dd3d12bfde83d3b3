// The entrance for requests: says which models there are and who may answer, lets each request take its course
// (pass.ts), and counts those under way. It knows no surface, no engine and no network.
import type { LoadedModel } from '../engine/engine.ts';
import { errorEvent, type InferenceEvent } from '../inference/events.ts';
import type { InferenceRequest } from '../inference/request.ts';
import type { ModelLoad } from '../mesh/model-load.ts';
import type { ReplicaLoad } from '../routing/least-loaded.ts';
import type { Serving } from '../serving/serving.ts';
import type { PeerId } from '../trust/keys.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { peerLimits } from '../util/limits/dispatch.ts';
import { requestLimits } from '../util/limits/inference.ts';
import type { Logger } from '../util/logging.ts';
import type { Answer, Dispatch, DispatchOptions } from './answer.ts';
import { Call } from './call.ts';
import { type Candidates, candidatesOf, type ReadyReplica } from './candidates.ts';
import { LocalModels } from './local-models.ts';
import { type ListedModel, ModelDirectory, notFound } from './model-directory.ts';
import type { QueueFigures } from './model-queue.ts';
import { Pass, type PassInit } from './pass.ts';
import { type Admitted, PeerAllowance } from './peer-allowance.ts';
import type { RemoteReplicas, Replica } from './replica.ts';
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
    const route: PassInit['route'] = {
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
    route: PassInit['route'],
    readAtMs: number,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock, log } = this.#components;
    const spentMs = clock.monotonicMs() - readAtMs;
    const leftMs = request.timeoutMs === undefined ? undefined : Math.max(0, request.timeoutMs - spentMs);
    const deadlineMs = leftMs === undefined ? undefined : clock.monotonicMs() + leftMs;
    const call = new Call(clock, options.signal, leftMs);
    const pass = this.#pass({ request, options, call, route, deadlineMs });
    let admitted: Admitted | undefined;
    const tokens = new TokenCount();
    const isOfPeer = Number(options.caller !== undefined);
    this.#inFlight++;
    this.#inFlightOfPeers += isOfPeer;
    try {
      if (this.#stopping) {
        throw new MeshnodeError('shutting_down', 'The node is stopping.');
      }
      admitted = options.caller === undefined ? undefined : this.#allowance.admit(options.caller);
      for await (const event of pass.events()) {
        tokens.event(event);
        yield event;
      }
    } catch (thrown) {
      const error = asMeshnodeError(thrown);
      if (error.code === 'internal') {
        log.error({ err: error, requestId: request.requestId }, 'a request failed inside dispatch');
      }
      yield errorEvent(error, pass.hasOutput ? 'during-output' : 'before-output');
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

  #pass(init: PassInit): Pass {
    const { clock, log, onServed } = this.#components;
    const { request, options } = init;
    return new Pass(init, {
      ...{ clock, log, local: this.#local },
      candidates: () => this.#candidates(request, options.caller),
      onChange: (listener) => this.#onChange(listener),
      refresh: () => this.#remote?.refresh?.(),
      onLocal: ({ name }) => options.caller !== undefined && onServed?.(options.caller, name),
    });
  }

  #candidates(request: InferenceRequest, caller: PeerId | undefined): Candidates {
    const directory = this.#models();
    const mayForward = request.hops < requestLimits.hops;
    const replicas =
      caller === undefined
        ? directory.replicasOf(request.model)
        : directory.replicasForPeer(request.model, mayForward);
    // Who asks this node is not asked in turn.
    const others = replicas.filter(({ peerId }) => peerId !== caller);
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
}
