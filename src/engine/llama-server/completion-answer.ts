// An answer by llama-server's `/completion`: text with its token ids, cut before stop sequences on our side.
import type { DeltaEvent, InferenceEvent } from '../../inference/events.ts';
import type { ChatRequest, CompletionRequest, TextOrTokens } from '../../inference/request.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { readAnswer } from '../openai/answer-stream.ts';
import { StopDetector, type TextPiece } from '../stop-detector.ts';
import { type CompletionPiece, CompletionReader } from './completion-reader.ts';
import { completionBody } from './server-calls.ts';
import type { ServerRun } from './server-run.ts';

export interface AnswerOptions {
  readonly run: ServerRun;
  readonly signal: AbortSignal;
  readonly replica: string;
  readonly contextTokens: number;
  /** Told how long the server took for a piece of a prompt, in which it listens to nobody. */
  readonly onStep: (tookMs: number) => void;
  /** Told how fast a whole choice was generated. */
  readonly onSpeed: (tokens: number, tokensPerSecond: number) => void;
  /** Choices asked for at once, and the number of the first of them in the request. */
  readonly choices: number;
  readonly firstChoice: number;
}

/** The events of one group of choices, numbered from 0. Throws what went wrong, or the signal's reason. */
export async function* completionAnswer(
  request: ChatRequest | CompletionRequest,
  prompt: TextOrTokens,
  options: AnswerOptions,
): AsyncGenerator<InferenceEvent, void, undefined> {
  const { run, replica } = options;
  const enough = new AbortController();
  const signal = AbortSignal.any([options.signal, enough.signal]);
  const reader = new CompletionReader(options.choices, { path: '/completion', apiKey: run.client.apiKey });
  const choices = Array.from(
    { length: options.choices },
    (_, index) => new Choice(index, request, run, signal),
  );
  const totals = { prompt: 0, cached: 0, elapsedMs: 0 };
  let accepted = false;
  const body = completionBody(request, prompt, options);
  const chunks = run.client.stream({
    method: 'POST',
    path: '/completion',
    body,
    signal,
    silenceMs: engineLimits.stallMs,
  });
  try {
    for await (const part of readAnswer(chunks)) {
      if (part.done) {
        break;
      }
      const step = reader.read(part.chunk);
      if (step.type === 'prompt') {
        totals.cached = Math.max(totals.cached, step.cached);
        totals.prompt = step.prompt;
        options.onStep(step.elapsedMs - totals.elapsedMs);
        totals.elapsedMs = step.elapsedMs;
      }
      if (!accepted) {
        accepted = true;
        yield { type: 'accepted', replica, cachedTokens: totals.cached };
        yield* echoOf(request, options.choices);
      }
      if (step.type === 'prompt') {
        const toCompute = step.prompt - step.cached;
        if (step.processed < step.prompt && toCompute > 0) {
          yield { type: 'progress', stage: 'prefill', fraction: (step.processed - step.cached) / toCompute };
        }
        continue;
      }
      totals.prompt = step.counts.prompt;
      if (step.type === 'done' && step.tokensPerSecond !== undefined) {
        options.onSpeed(step.counts.completion, step.tokensPerSecond);
      }
      const choice = choices[step.index];
      if (choice !== undefined && !choice.isDone) {
        yield* step.type === 'piece'
          ? await choice.take(step)
          : choice.end(step.reason, step.counts.completion);
      }
      if (choices.every(({ isDone }) => isDone)) {
        break;
      }
    }
  } finally {
    // What was stopped by a sequence the server would go on with.
    enough.abort(new MeshnodeError('cancelled', 'The answer is complete.'));
  }
  if (choices.some(({ isDone }) => !isDone)) {
    throw new MeshnodeError('engine_lost', 'The model server stopped in the middle of its answer.');
  }
  const completion = choices.reduce((sum, { tokens }) => sum + tokens, 0);
  yield { type: 'usage', prompt: totals.prompt, cached: Math.min(totals.cached, totals.prompt), completion };
}

function* echoOf(request: ChatRequest | CompletionRequest, choices: number): Generator<InferenceEvent> {
  if (request.kind === 'completion' && request.output.echo && typeof request.prompt === 'string') {
    for (let index = 0; index < choices; index++) {
      yield { type: 'delta', index, text: request.prompt };
    }
  }
}

/** One of the answers that are being given. */
class Choice {
  readonly #index: number;
  readonly #run: ServerRun;
  readonly #signal: AbortSignal;
  readonly #stops: StopDetector;
  readonly #topLogprobs: number | undefined;
  /** Tokens whose text has not come yet. */
  #pending: number[] = [];
  /** Once a token's id is not known, ids of what follows are of no use. */
  #idsKnown = true;
  isDone = false;
  tokens = 0;

  constructor(index: number, request: ChatRequest | CompletionRequest, run: ServerRun, signal: AbortSignal) {
    this.#index = index;
    this.#run = run;
    this.#signal = signal;
    this.#stops = new StopDetector(request.output.stop);
    this.#topLogprobs = request.output.topLogprobs;
  }

  async take(piece: CompletionPiece): Promise<InferenceEvent[]> {
    this.tokens = piece.counts.completion;
    if (piece.text === '') {
      this.#pending.push(piece.lastToken);
      return [];
    }
    const tokenIds = [...this.#pending, ...(await this.#idsOf(piece))];
    this.#pending = [];
    const { topLogprobs = 0 } = { topLogprobs: this.#topLogprobs };
    const logprobs = piece.logprobs.map((one) => ({ ...one, top: one.top.slice(0, topLogprobs) }));
    const { show, stopped } = this.#stops.push({ text: piece.text, tokenIds, logprobs });
    const events = this.#delta(show);
    return stopped ? [...events, ...this.#finish('stop')] : events;
  }

  end(reason: 'stop' | 'length', tokens: number): InferenceEvent[] {
    this.tokens = tokens;
    return [...this.#delta(this.#stops.flush()), ...this.#finish(reason)];
  }

  /**
   * The server tells of several tokens that make up one character only the last. The others are those that the
   * character is cut into by itself, if that agrees with what is known; else ids end here.
   */
  async #idsOf({ text, tokens, lastToken }: CompletionPiece): Promise<number[]> {
    if (tokens === 1 || !this.#idsKnown) {
      return [lastToken];
    }
    const ids = await this.#run.tokenize(text, this.#signal);
    this.#idsKnown = ids.length === tokens && ids.at(-1) === lastToken;
    return ids;
  }

  #delta({ text, tokenIds, logprobs }: TextPiece): DeltaEvent[] {
    if (text === '') {
      return [];
    }
    return [
      {
        type: 'delta',
        index: this.#index,
        text,
        ...(this.#idsKnown ? { tokenIds } : {}),
        ...(logprobs === undefined ? {} : { logprobs }),
      },
    ];
  }

  #finish(reason: 'stop' | 'length'): InferenceEvent[] {
    this.isDone = true;
    return [{ type: 'finish', index: this.#index, reason }];
  }
}
