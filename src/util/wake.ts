// Something to wait for that happens again and again.

export class Wake {
  #waiting: PromiseWithResolvers<void> | undefined;

  /** Resolves the next time `now` is called. */
  next(): Promise<void> {
    this.#waiting ??= Promise.withResolvers<void>();
    return this.#waiting.promise;
  }

  now(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
