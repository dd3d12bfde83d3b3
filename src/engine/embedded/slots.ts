// The sequences of one embedded model: who gets which, and which of them already holds the start of a
// prompt in its cache. Requests above their number wait here, first come first served. No native code.

/** One sequence of the model's context, as far as choosing it goes. */
export interface Sequence {
  /** Tokens whose state is in the cache now. */
  readonly contextTokens: readonly number[];
}

/** Length of the common start of two token lists. */
export function commonPrefix(left: readonly number[], right: readonly number[]): number {
  const most = Math.min(left.length, right.length);
  let length = 0;
  while (length < most && left[length] === right[length]) {
    length++;
  }
  return length;
}

/** A shorter common start than this share of the prompt is not worth overwriting another conversation's cache. */
const leastShare = 0.1;

/**
 * The free sequence to compute `prompt` in: the one that shares the longest start with it; among equals the
 * one whose cache loses least, then the one unused for longest. `free` is ordered by last use, oldest first.
 */
export function chooseSequence<S extends Sequence>(
  free: readonly S[],
  prompt: readonly number[],
): S | undefined {
  let best: S | undefined;
  let bestShared = -1;
  let bestLoses = 0;
  for (const sequence of free) {
    const prefix = commonPrefix(sequence.contextTokens, prompt);
    const shared = prefix < prompt.length * leastShare ? 0 : prefix;
    const loses = sequence.contextTokens.length - shared;
    if (shared > bestShared || (shared === bestShared && loses < bestLoses)) {
      best = sequence;
      bestShared = shared;
      bestLoses = loses;
    }
  }
  return best;
}

/** Hands out sequences, each to one user at a time. */
export class Slots<S extends Sequence> {
  /** Oldest use first. */
  readonly #free: S[];
  readonly #waiting: Array<{ prompt: readonly number[]; give: (sequence: S) => void }> = [];

  constructor(sequences: readonly S[]) {
    this.#free = [...sequences];
  }

  /** Runs `use` with a sequence fit for `prompt`, waiting for one if need be. Rejects if the signal aborts first. */
  async with<T>(
    prompt: readonly number[],
    signal: AbortSignal,
    use: (sequence: S) => Promise<T>,
  ): Promise<T> {
    const sequence = await this.#acquire(prompt, signal);
    try {
      return await use(sequence);
    } finally {
      this.#release(sequence);
    }
  }

  #acquire(prompt: readonly number[], signal: AbortSignal): Promise<S> {
    signal.throwIfAborted();
    const chosen = chooseSequence(this.#free, prompt);
    if (chosen !== undefined) {
      this.#free.splice(this.#free.indexOf(chosen), 1);
      return Promise.resolve(chosen);
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const waiter = {
        prompt,
        give: (sequence: S) => {
          signal.removeEventListener('abort', onAbort);
          resolve(sequence);
        },
      };
      this.#waiting.push(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #release(sequence: S): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#free.push(sequence);
    } else {
      next.give(sequence);
    }
  }
}
