// Turns generated tokens into text piece by piece, waiting while a character is incomplete. Pure: the
// tokenizer is handed in.
import type { TextPiece } from '../stop-detector.ts';

/** Text of `tokens` as it stands after `before`. */
export type Detokenize = (tokens: readonly number[], before: readonly number[]) => string;

/** What a tokenizer gives for bytes that are no whole character. */
const replacement = '\uFFFD';
/** A character has at most 4 bytes and a token at least one: a longer wait means the text itself is broken. */
const mostPending = 4;
/** Tokens of context that decide about a leading space. */
const contextTokens = 8;

export class TokenTextDecoder {
  readonly #detokenize: Detokenize;
  #before: readonly number[];
  #pending: number[] = [];

  /** `before` are the last tokens of the prompt. */
  constructor(detokenize: Detokenize, before: readonly number[]) {
    this.#detokenize = detokenize;
    this.#before = before.slice(-contextTokens);
  }

  /** Adds a token; gives its text with that of the tokens waiting before it, or nothing yet. */
  push(token: number): TextPiece | undefined {
    this.#pending.push(token);
    const text = this.#detokenize(this.#pending, this.#before);
    if (text.endsWith(replacement) && this.#pending.length < mostPending) {
      return undefined;
    }
    return this.#take(text);
  }

  /** The tokens are over: gives what is waiting, broken or not. */
  flush(): TextPiece | undefined {
    if (this.#pending.length === 0) {
      return undefined;
    }
    return this.#take(this.#detokenize(this.#pending, this.#before));
  }

  #take(text: string): TextPiece {
    const tokenIds = this.#pending;
    this.#before = [...this.#before, ...tokenIds].slice(-contextTokens);
    this.#pending = [];
    return { text, tokenIds };
  }
}
