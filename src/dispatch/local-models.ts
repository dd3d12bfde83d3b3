// Asks the models of this node: each has a queue before it, where requests wait for a slot and give it back when the
// engine has really stopped.
import type { LoadedModel } from '../engine/engine.ts';
import type { InferenceEvent } from '../inference/events.ts';
import { guardEvents } from '../inference/guard-events.ts';
import type { InferenceRequest } from '../inference/request.ts';
import type { PeerId } from '../trust/keys.ts';
import { background, withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import { queueLimits } from '../util/limits/dispatch.ts';
import { engineLimits } from '../util/limits/engine.ts';
import type { Logger } from '../util/logging.ts';
import type { Call } from './call.ts';
import { ModelQueue, type Place, type QueueFigures } from './model-queue.ts';
import { relayed } from './relayed.ts';

export interface LocalModelsComponents {
  readonly clock: Clock;
  readonly log: Logger;
}

export class LocalModels {
  readonly #components: LocalModelsComponents;
  readonly #queues = new WeakMap<LoadedModel, ModelQueue>();
  #stopping = 0;

  constructor(components: LocalModelsComponents) {
    this.#components = components;
  }

  /** Answers that nobody reads any more, and whose engine has not stopped yet. */
  get stopping(): number {
    return this.#stopping;
  }

  /** The queue before a model; undefined before its first request. */
  queueOf(model: LoadedModel): QueueFigures | undefined {
    return this.#queues.get(model)?.figures();
  }

  /**
   * Waits for a slot, then gives the events of the engine, lawful ones. Throws `queue_full`, or what ends the call.
   * `caller`: the peer that asks; absent: the owner.
   */
  async *ask(
    model: LoadedModel,
    request: InferenceRequest,
    call: Call,
    caller: PeerId | undefined,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock } = this.#components;
    const { priority } = request;
    const place = this.#queue(model).enter({ priority, slots: slotsWanted(request), caller });
    let events: AsyncGenerator<InferenceEvent> | undefined;
    try {
      if (place.waits) {
        yield { type: 'progress', stage: 'queued' };
      }
      await call.wait(withTimeout(clock, queueLimits.waitMs, place.turn, () => waitedTooLong(model.name)));
      events = guardEvents(request, model.infer(request, call.signal), this.#components);
      yield* relayed(events, call, model.name);
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
    this.#stopping++;
    const stopped = withTimeout(
      clock,
      engineLimits.cancelMs,
      events.return(undefined),
      () => new MeshnodeError('engine_timeout', `The engine of ${model} did not stop when told to.`),
    );
    background(
      stopped.finally(() => {
        place.leave();
        this.#stopping--;
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

/** Each choice of a generation is decoded in a slot of its own. */
function slotsWanted(request: InferenceRequest): number {
  return request.kind === 'chat' || request.kind === 'completion' ? request.output.choices : 1;
}

function waitedTooLong(model: string): MeshnodeError {
  return new MeshnodeError('queue_full', `No slot of ${model} became free in time.`, {
    retryAfterSeconds: apiLimits.retryAfterSeconds,
  });
}
