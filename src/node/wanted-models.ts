// The models that a node was told to serve: each is loaded, each server attached to as soon as it is there. What fails
// goes on by itself and is an event; the node runs without it.
import { normaliseUrl } from '../engine/openai-url/openai-url.ts';
import type { Serving } from '../serving/serving.ts';
import { background } from '../util/async.ts';
import { type Clock, sleep } from '../util/clock.ts';
import { asMeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';
import type { Logger } from '../util/logging.ts';
import { type EventLog, errorFields } from './events.ts';

export interface WantedModelsInit {
  readonly serving: Pick<Serving, 'load' | 'attach'>;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborted when the node stops: from then on nothing is tried or told. */
  readonly stopping: AbortSignal;
}

export class WantedModels {
  readonly #init: WantedModelsInit;

  constructor(init: WantedModelsInit) {
    this.#init = init;
  }

  start(references: readonly string[], servers: readonly string[]): void {
    for (const url of new Set(servers.map(normaliseUrl))) {
      background(this.#attach(url), 'attach', this.#init.log);
    }
    for (const reference of references) {
      this.load(reference);
    }
  }

  load(reference: string): void {
    background(this.#tell(this.#init.serving.load(reference)), 'load', this.#init.log);
  }

  /** Attaches to a server as soon as it is there. That it is missing is told once. */
  async #attach(url: string): Promise<void> {
    const { serving, clock, stopping } = this.#init;
    const first = serving.attach(url, stopping);
    await this.#tell(first);
    let isAttached = await succeeds(first);
    while (!isAttached && !stopping.aborted) {
      await sleep(clock, engineLimits.attachPollMs, stopping).catch(() => {}); // Woken by the stop.
      isAttached = stopping.aborted || (await succeeds(serving.attach(url, stopping)));
    }
  }

  async #tell(task: Promise<unknown>): Promise<void> {
    const { stopping, events } = this.#init;
    try {
      await task;
    } catch (thrown) {
      if (!stopping.aborted) {
        events.emit({ event: 'error', ...errorFields(asMeshnodeError(thrown)) });
      }
    }
  }
}

async function succeeds(task: Promise<unknown>): Promise<boolean> {
  return task.then(
    () => true,
    () => false,
  );
}
