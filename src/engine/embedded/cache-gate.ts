// Lets the cache of one sequence be changed while others generate. The library keeps its lock for as long as
// some sequence has a next token to compute, so running generations pause between two tokens until a change
// is done; else a newcomer would wait for all of them to end.

export class CacheGate {
  #opening: PromiseWithResolvers<void> | undefined;
  #changes = 0;

  /** Runs `change` while generations are held back. */
  async change(change: () => Promise<void>): Promise<void> {
    this.#opening ??= Promise.withResolvers();
    const opening = this.#opening;
    this.#changes++;
    try {
      await change();
    } finally {
      this.#changes--;
      if (this.#changes === 0) {
        this.#opening = undefined;
        opening.resolve();
      }
    }
  }

  /** Resolves once no change waits: for a generation, before its next step. */
  pass(): Promise<void> {
    return this.#opening?.promise ?? Promise.resolve();
  }
}
