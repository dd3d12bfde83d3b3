// The chunks of llama-server's `/completion` as steps of an answer: how far the prompt is, pieces of text with their
// token ids, and the end of each choice. Pure; strict, for the server is ours.
import type { TokenLogprob } from '../../inference/events.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { eventLimits } from '../../util/limits/inference.ts';
import { readLogprobEntries, tokenCount } from '../openai/answer-reader.ts';
import { type FailureContext, inBandError, protocolError } from '../openai/errors.ts';

export type CompletionStep =
  /** `cached` of `prompt` tokens need not be computed; `processed` are done. */
  | {
      readonly type: 'prompt';
      readonly prompt: number;
      readonly cached: number;
      readonly processed: number;
      readonly elapsedMs: number;
    }
  | CompletionPiece
  | {
      readonly type: 'done';
      readonly index: number;
      readonly reason: 'stop' | 'length';
      readonly counts: CompletionCounts;
      /** Tokens a second behind the first, by the server's clock; undefined if it does not tell. */
      readonly tokensPerSecond: number | undefined;
    };

export interface CompletionPiece {
  readonly type: 'piece';
  readonly index: number;
  /** May be empty: a character, or a word of the model's own, is not complete. */
  readonly text: string;
  /** The last of the tokens that the piece came from. */
  readonly lastToken: number;
  /** How many they are: the server does not tell those of an incomplete character. */
  readonly tokens: number;
  readonly logprobs: readonly TokenLogprob[];
  readonly counts: CompletionCounts;
}

export interface CompletionCounts {
  readonly prompt: number;
  readonly completion: number;
}

export class CompletionReader {
  readonly #choices: number;
  readonly #context: FailureContext;
  /** Tokens of each choice so far. */
  readonly #predicted = new Map<number, number>();

  constructor(choices: number, context: FailureContext) {
    this.#choices = choices;
    this.#context = context;
  }

  /** What a chunk says. Throws the error that it tells of, or `engine_protocol`. */
  read(chunk: JsonValue): CompletionStep {
    if (!isJsonObject(chunk)) {
      throw protocolError('sent a chunk that is no JSON object');
    }
    const error = inBandError(chunk, this.#context);
    if (error !== undefined) {
      throw error;
    }
    const progress = chunk['prompt_progress'];
    if (isJsonObject(progress)) {
      return {
        type: 'prompt',
        prompt: count(progress['total']),
        cached: count(progress['cache']),
        processed: count(progress['processed']),
        elapsedMs: typeof progress['time_ms'] === 'number' ? Math.max(0, progress['time_ms']) : 0,
      };
    }
    const index = this.#indexOf(chunk);
    const counts = { prompt: count(chunk['tokens_evaluated']), completion: count(chunk['tokens_predicted']) };
    if (chunk['stop'] === true) {
      const reason = chunk['stop_type'] === 'limit' ? 'length' : 'stop';
      return { type: 'done', index, reason, counts, tokensPerSecond: generationSpeed(chunk) };
    }
    return this.#piece(chunk, index, counts);
  }

  #piece(chunk: JsonObject, index: number, counts: CompletionCounts): CompletionPiece {
    const { content, tokens, completion_probabilities: probabilities } = chunk;
    const lastToken = Array.isArray(tokens) ? tokens.at(-1) : undefined;
    if (
      typeof content !== 'string' ||
      content.length > eventLimits.deltaChars ||
      typeof lastToken !== 'number'
    ) {
      throw protocolError('sent a piece without text or without its token');
    }
    const before = this.#predicted.get(index) ?? 0;
    this.#predicted.set(index, counts.completion);
    return {
      type: 'piece',
      index,
      text: content,
      lastToken,
      tokens: Math.max(1, counts.completion - before),
      logprobs: Array.isArray(probabilities) ? readLogprobEntries(probabilities) : [],
      counts,
    };
  }

  #indexOf(chunk: JsonObject): number {
    const index = chunk['index'];
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= this.#choices) {
      throw protocolError('sent a choice that was not asked for');
    }
    return index;
  }
}

function generationSpeed({ timings }: JsonObject): number | undefined {
  const speed = isJsonObject(timings) ? timings['predicted_per_second'] : undefined;
  return typeof speed === 'number' && Number.isFinite(speed) && speed > 0 ? speed : undefined;
}

function count(json: JsonValue | undefined): number {
  const tokens = tokenCount(json);
  if (tokens === undefined) {
    throw protocolError('sent a count that is none');
  }
  return tokens;
}
