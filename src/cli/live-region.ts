// The lines at the bottom of a terminal that change in place, one a topic. Everywhere else a topic is
// printed when its text is final, so that a log shows what a person would have seen last.
import { createLogUpdate } from 'log-update';
import type { Output } from './output.ts';

export class LiveRegion {
  readonly #output: Output;
  readonly #update: ReturnType<typeof createLogUpdate> | undefined;
  readonly #lines = new Map<string, string>();

  constructor(output: Output) {
    this.#output = output;
    this.#update = output.isLive ? createLogUpdate(output.streams.stderr, { showCursor: true }) : undefined;
  }

  /** Shows how a topic stands. Only a terminal sees it. */
  show(topic: string, line: string): void {
    this.#lines.set(topic, line);
    this.#render();
  }

  /** The last word on a topic: the line stays, and its topic is forgotten. */
  settle(topic: string, line: string): void {
    this.#lines.delete(topic);
    this.print(line);
  }

  /** Forgets a topic without a last word. */
  drop(topic: string): void {
    this.#lines.delete(topic);
    this.#render();
  }

  /** A line that stays, above those that change. */
  print(line: string): void {
    // Not by log-update, which breaks long lines: a command that is shown must be one to copy.
    this.#update?.clear();
    this.#output.say(line);
    this.#render();
  }

  /** Leaves the terminal as it should be. */
  close(): void {
    this.#lines.clear();
    this.#update?.clear();
    this.#update?.done();
  }

  #render(): void {
    if (this.#lines.size === 0) {
      this.#update?.clear();
    } else {
      this.#update?.([...this.#lines.values()].join('\n'));
    }
  }
}
