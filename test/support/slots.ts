// A counted resource for the doubles: so many may hold it at once, the others wait in line.

export class Slots {
  readonly #size: () => number;
  readonly #waiting: Array<() => void> = [];
  #taken = 0;

  constructor(size: () => number) {
    this.#size = size;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get full(): boolean {
    return this.#taken >= this.#size();
  }

  /** Resolves with the function that gives the slot back. Rejects with the signal's reason if it aborts first. */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    while (this.full) {
      await this.#turn(signal);
    }
    this.#taken++;
    let held = true;
    return () => {
      if (held) {
        held = false;
        this.#taken--;
        this.#waiting.shift()?.();
      }
    };
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const turn = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(signal.reason);
      };
      this.#waiting.push(turn);
      signal.addEventListener('abort', leave, { once: true });
    });
  }
}
