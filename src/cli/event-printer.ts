// Turns the events of a node into lines for a person: who and where, then a line a model that changes in
// place until the model is ready or has failed.
import type { NodeEvent } from '../node/events.ts';
import { formatBar, formatShare } from './format.ts';
import type { LiveRegion } from './live-region.ts';
import type { Output } from './output.ts';

type ModelEvent = Extract<NodeEvent, { event: 'model' }>;

export class EventPrinter {
  readonly #output: Output;
  readonly #live: LiveRegion;
  #apiUrl = '';
  #firstModel: string | undefined;

  constructor(output: Output, live: LiveRegion) {
    this.#output = output;
    this.#live = live;
  }

  print(event: NodeEvent): void {
    switch (event.event) {
      case 'node':
        this.#live.print(`${this.#styled('strong', 'meshnode')} ${event.version} · ${event.name}`);
        return;
      case 'api':
        this.#apiUrl = event.url;
        this.#live.print(`API      ${this.#styled('name', event.url)}`);
        return;
      case 'console':
        this.#live.print(`Console  ${event.url}`);
        return;
      case 'model':
        this.#printModel(event);
        return;
      case 'ready':
        this.#printReady();
        return;
      case 'error':
        this.#live.print(`${this.#styled('bad', 'Error:')} ${event.message}\n  ${event.hint}`);
    }
  }

  #printModel(event: ModelEvent): void {
    const { model, state, fraction, error } = event;
    if (state === 'ready') {
      this.#firstModel ??= model;
      this.#live.settle(model, `${this.#styled('good', '✓')} ${model} is ready`);
    } else if (state === 'failed') {
      // The error event that follows says why.
      this.#live.drop(model);
    } else if (state === 'unloaded') {
      this.#live.settle(model, `${model} is unloaded`);
    } else {
      const progress = fraction === undefined ? '' : `  ${formatBar(fraction)} ${formatShare(fraction)}`;
      const why = error === undefined ? '' : `  ${error.message}`;
      this.#live.show(model, `  ${model}: ${state}${progress}${why}`);
    }
  }

  /** How to try it, once there is something to try. */
  #printReady(): void {
    if (this.#firstModel === undefined) {
      return;
    }
    const body = JSON.stringify({ model: this.#firstModel, messages: [{ role: 'user', content: 'Hello!' }] });
    this.#live.print(
      `Try it:\n  curl ${this.#apiUrl}/chat/completions -H 'content-type: application/json' -d '${body}'`,
    );
  }

  #styled(style: Parameters<Output['styled']>[0], text: string): string {
    return this.#output.styled(style, text, 'stderr');
  }
}
