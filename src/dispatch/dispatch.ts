// The entrance for requests: finds who may answer, waits for a loading model and for a free slot, asks,
// and hands the events on. It knows no surface and no engine; what it decides is in the pure files beside it.
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
import type { ModelStatus } from '../serving/model-status.ts';
import type { Serving } from '../serving/serving.ts';
import { background, withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { apiLimits, engineLimits, queueLimits } from '../util/limits.ts';
import type { Logger } from '../util/logging.ts';
import type { Answer, Dispatch, DispatchOptions, Route } from './answer.ts';
import { Call } from './call.ts';
import { type Candidates, candidatesFor, isReady, type Replica } from './candidates.ts';
import { expectedSeconds, modelLoading } from './load-wait.ts';
import { ModelQueue, type Place, type QueueFigures } from './model-queue.ts';

/** What dispatch needs to know of the models of this node. */
export type ServedModels = Pick<Serving, 'served' | 'onChange'>;

export interface DispatchComponents {
  readonly clock: Clock;
  readonly log: Logger;
  readonly serving: ServedModels;
  /** How this node is called in `x-meshnode-peer`. */
  readonly peer: string;
  /** Told of every request, by the name of the model that it asks for; there may be no such model. */
  readonly onAsked?: (model: string) => void;
}

/** A request under way, with what is known of its route. */
interface Pass {
  readonly request: InferenceRequest;
  readonly options: DispatchOptions;
  readonly call: Call;
  readonly route: { -readonly [Field in keyof Route]: Route[Field] };
  /** Whether `accepted` has gone out: the reader sees it once, however many replicas are asked. */
  accepted: boolean;
}

/** How asking one replica ended: the answer is complete, or this error came before any of it was given. */
type Outcome = { readonly answered: true } | { readonly answered: false; readonly error: ErrorEvent };

export class Dispatcher implements Dispatch {
  readonly #components: DispatchComponents;
  readonly #queues = new WeakMap<LoadedModel, ModelQueue>();
  #inFlight = 0;
  #stopping = false;

  constructor(components: DispatchComponents) {
    this.#components = components;
  }

  models(): readonly ModelStatus[] {
    return this.#components.serving
      .served()
      .map(({ status }) => status)
      .filter(({ stage }) => stage !== 'failed' && stage !== 'unloaded');
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
    this.#components.onAsked?.(request.model.name);
    return {
      events: this.#answer(request, options, route, readAtMs),
      route: () => ({ ...route }),
    };
  }

  /** Requests under way, waiting ones included. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** The queue before a model; undefined before its first request. */
  queueOf(model: LoadedModel): QueueFigures | undefined {
    return this.#queues.get(model)?.figures();
  }

  /** From now on requests are answered with `shutting_down`; those under way go on. */
  stopAccepting(): void {
    this.#stopping = true;
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
    const call = new Call(clock, options.signal, leftMs);
    let phase: ErrorPhase = 'before-output';
    this.#inFlight++;
    try {
      for await (const event of this.#attempts({ request, options, call, route, accepted: false })) {
        if (isOutput(event)) {
          phase = 'during-output';
        }
        yield event;
      }
    } catch (thrown) {
      const error = asMeshnodeError(thrown);
      if (error.code === 'internal') {
        log.error({ err: error, requestId: request.requestId }, 'a request failed inside dispatch');
      }
      yield errorEvent(error, phase);
    } finally {
      call.close();
      this.#inFlight--;
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
    let lastError = yield* this.#askAll(pass);
    if (lastError !== undefined && engineGone.has(lastError.code) && mayHold(pass.options)) {
      lastError = yield* this.#askAll(pass);
    }
    if (lastError !== undefined) {
      yield lastError;
    }
  }

  /** Asks each ready candidate once. Undefined if one has answered, else the last error. */
  async *#askAll(pass: Pass): AsyncGenerator<InferenceEvent, ErrorEvent | undefined, undefined> {
    const { replicas, reason } = yield* this.#whenReady(pass);
    pass.route.reason = reason;
    let lastError: ErrorEvent | undefined;
    for (const replica of replicas.filter(isReady)) {
      const unsupported = unsupportedFeature(pass.request, replica.model.capabilities);
      if (unsupported !== undefined) {
        lastError ??= errorEvent(unsupported, 'before-output');
        continue;
      }
      pass.route.attempts++;
      pass.route.peer = replica.peer;
      pass.route.where = replica.where;
      pass.route.ignored = notHeeded(pass.request, replica.model);
      const outcome: Outcome = yield* this.#ask(pass, replica.model);
      if (outcome.answered) {
        return undefined;
      }
      lastError = outcome.error;
      if (!lastError.retryable) {
        break;
      }
    }
    return lastError;
  }

  /**
   * Waits until a candidate is ready, telling of the progress, as long as the caller can be held: as long as
   * it said, or, for a stream, while the model is expected soon. Throws `model_loading` otherwise.
   */
  async *#whenReady({ request, options, call }: Pass): AsyncGenerator<InferenceEvent, Candidates, undefined> {
    const { clock, serving } = this.#components;
    const mayHoldMs = options.waitForLoadMs ?? (options.stream ? apiLimits.holdForLoadMs : 0);
    const untilMs = clock.monotonicMs() + Math.min(mayHoldMs, queueLimits.waitMs);
    let changed = Promise.withResolvers<void>();
    const stopListening = serving.onChange(() => changed.resolve());
    try {
      while (true) {
        changed = Promise.withResolvers();
        const candidates = candidatesFor(request.model, this.#replicas());
        const [first] = candidates.replicas;
        if (isReady(first)) {
          return candidates;
        }
        const leftMs = untilMs - clock.monotonicMs();
        const expectedMs = (expectedSeconds(first.status) ?? Number.POSITIVE_INFINITY) * 1000;
        if (leftMs <= 0 || (options.waitForLoadMs === undefined && expectedMs > leftMs)) {
          throw modelLoading(first.status);
        }
        const { fraction } = first.status;
        yield { type: 'progress', stage: 'loading', ...(fraction === undefined ? {} : { fraction }) };
        await call.wait(withTimeout(clock, leftMs, changed.promise, () => modelLoading(first.status)));
      }
    } finally {
      stopListening();
      changed.resolve();
    }
  }

  #replicas(): Replica[] {
    const { serving, peer } = this.#components;
    return serving.served().map((served) => ({ peer, where: 'local', ...served }));
  }

  /** Waits for a slot of the model, then hands its events on. */
  async *#ask(pass: Pass, model: LoadedModel): AsyncGenerator<InferenceEvent, Outcome, undefined> {
    const { request, call } = pass;
    const place = this.#queue(model).enter(request.priority, slotsWanted(request));
    let events: AsyncGenerator<InferenceEvent> | undefined;
    try {
      if (place.waits) {
        yield { type: 'progress', stage: 'queued' };
      }
      await call.wait(
        withTimeout(this.#components.clock, queueLimits.waitMs, place.turn, () => waitedTooLong(model.name)),
      );
      events = guardEvents(request, model.infer(request, call.signal), this.#components);
      return yield* relay(events, pass, model.name);
    } finally {
      this.#vacate(place, events, model.name);
    }
  }

  /** Gives the slot back once the engine has really stopped, or should have. Nobody waits for it. */
  #vacate(place: Place, events: AsyncGenerator<InferenceEvent> | undefined, model: string): void {
    const { clock, log } = this.#components;
    if (events === undefined) {
      place.leave();
      return;
    }
    this.#inFlight++;
    const stopped = withTimeout(
      clock,
      engineLimits.cancelMs,
      events.return(undefined),
      () => new MeshnodeError('engine_timeout', `The engine of ${model} did not stop when told to.`),
    );
    background(
      stopped.finally(() => {
        place.leave();
        this.#inFlight--;
      }),
      'stop of an answer',
      log,
    );
  }

  #queue(model: LoadedModel): ModelQueue {
    const slots = model.capabilities.slots ?? queueLimits.unknownSlots;
    let queue = this.#queues.get(model);
    if (queue === undefined) {
      queue = new ModelQueue(model.name, slots, () => this.#components.clock.monotonicMs());
      this.#queues.set(model, queue);
    }
    queue.setSlots(slots);
    return queue;
  }
}

/**
 * Hands the lawful events of one replica on. An error before any output is not handed on but returned:
 * another replica may do better.
 */
async function* relay(
  events: AsyncGenerator<InferenceEvent>,
  pass: Pass,
  model: string,
): AsyncGenerator<InferenceEvent, Outcome, undefined> {
  const { call } = pass;
  let hasOutput = false;
  call.watchForStall(engineLimits.stallMs, model);
  for (let step = await nextOf(events, call); step.done !== true; step = await nextOf(events, call)) {
    const event = step.value;
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
}

async function nextOf(
  events: AsyncGenerator<InferenceEvent>,
  call: Call,
): Promise<IteratorResult<InferenceEvent>> {
  const step = await call.wait(events.next());
  call.answered();
  return step;
}

/** What an error says whose reason is that the engine's process went away, not the request. */
const engineGone: ReadonlySet<string> = new Set(['engine_lost', 'engine_unavailable']);

/** Whether the caller can wait: it reads a stream, or said how long it will. */
function mayHold({ stream, waitForLoadMs }: DispatchOptions): boolean {
  return stream || (waitForLoadMs ?? 0) > 0;
}

function notHeeded(request: InferenceRequest, { capabilities }: LoadedModel): string[] {
  return Object.keys(request.extra).filter((name) => !capabilities.extraFields.has(name));
}

/** Each choice of a generation is decoded in a slot of its own. */
function slotsWanted(request: InferenceRequest): number {
  return request.kind === 'chat' || request.kind === 'completion' ? request.output.choices : 1;
}

function waitedTooLong(model: string): MeshnodeError {
  return new MeshnodeError('queue_full', `No slot of ${model} became free in time.`, {
    retryAfterSeconds: apiLimits.retryAfterSeconds,
  });
}
