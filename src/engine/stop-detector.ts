// Cuts a generated text before the first stop sequence, and never shows a piece of one: text that may
// be the start of a stop sequence is held back until it is known. Pure.
import type { TokenLogprob } from '../inference/events.ts';

/** A piece of generated text with the tokens it came from. */
export interface TextPiece {
  readonly text: string;
  readonly tokenIds: readonly number[];
  /** Of the same tokens, where they were asked for. */
  readonly logprobs?: readonly TokenLogprob[];
}

/** Tokens not given out yet, and how much of the held text must be shown before they may be. */
interface HeldTokens {
  readonly end: number;
  readonly ids: readonly number[];
  readonly logprobs: readonly TokenLogprob[];
}

export class StopDetector {
  readonly #stops: readonly string[];
  #held = '';
  #tokens: HeldTokens[] = [];

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '');
  }

  /**
   * Takes the next piece. `show` may be given out now (its text may be empty); `stopped` says that a stop
   * sequence has come: nothing of it, and nothing after it, will be shown.
   */
  push(piece: TextPiece): { show: TextPiece; stopped: boolean } {
    this.#held += piece.text;
    this.#tokens.push({ end: this.#held.length, ids: piece.tokenIds, logprobs: piece.logprobs ?? [] });
    const stopAt = this.#firstStop();
    if (stopAt !== undefined) {
      const show = this.#release(stopAt);
      this.#tokens = [];
      this.#held = '';
      return { show, stopped: true };
    }
    return { show: this.#release(this.#held.length - this.#possibleStart()), stopped: false };
  }

  /** The text is over: gives out what was held back. */
  flush(): TextPiece {
    return this.#release(this.#held.length);
  }

  /** Index of the earliest complete stop sequence in the held text. */
  #firstStop(): number | undefined {
    let first: number | undefined;
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop);
      if (at !== -1 && (first === undefined || at < first)) {
        first = at;
      }
    }
    return first;
  }

  /** Length of the longest end of the held text that some stop sequence begins with. */
  #possibleStart(): number {
    let longest = 0;
    for (const stop of this.#stops) {
      const most = Math.min(stop.length - 1, this.#held.length);
      for (let length = most; length > longest; length--) {
        if (this.#held.endsWith(stop.slice(0, length))) {
          longest = length;
          break;
        }
      }
    }
    return longest;
  }

  #release(length: number): TextPiece {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    const tokenIds: number[] = [];
    const logprobs: TokenLogprob[] = [];
    const waiting: HeldTokens[] = [];
    for (const held of this.#tokens) {
      if (held.end <= length) {
        tokenIds.push(...held.ids);
        logprobs.push(...held.logprobs);
      } else {
        waiting.push({ ...held, end: held.end - length });
      }
    }
    this.#tokens = waiting;
    return { text, tokenIds, ...(logprobs.length === 0 ? {} : { logprobs }) };
  }
}
