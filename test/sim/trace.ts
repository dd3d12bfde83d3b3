// What happened in a simulation, as lines: the last ones for a reader, a hash over all for whoever compares runs.
import { createHash } from 'node:crypto';

export class Trace {
  readonly #hash = createHash('sha256');
  readonly #kept: string[] = [];
  readonly #keep: number;
  #lines = 0;

  /** `keep` is how many of the last lines can be read. */
  constructor(keep: number) {
    this.#keep = keep;
  }

  add(timeMs: number, who: string, what: string): void {
    const line = `${(timeMs / 1000).toFixed(3).padStart(9)} ${who.padEnd(4)} ${what}`;
    this.#lines += 1;
    this.#hash.update(line);
    if (this.#keep > 0) {
      this.#kept.push(line);
      if (this.#kept.length > 2 * this.#keep) {
        this.#kept.splice(0, this.#kept.length - this.#keep);
      }
    }
  }

  get lines(): number {
    return this.#lines;
  }

  last(): string[] {
    return this.#kept.slice(-this.#keep);
  }

  /** Hex; the same for the same lines so far. */
  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}
