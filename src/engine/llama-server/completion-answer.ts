// An answer by llama-server's `/completion`: text with its token ids, cut before stop sequences on our side.
import type { DeltaEvent, InferenceEvent, TokenLogprob } from '../../inference/events.ts';
import type { ChatRequest, CompletionRequest, TextOrTokens } from '../../inference/request.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { readAnswer } from '../openai/answer-stream.ts';
import { StopDetector, type TextPiece } from '../stop-detector.ts';
import { type CompletionPiece, CompletionReader, type CompletionStep } from './completion-reader.ts';
import { completionBody } from './server-calls.ts';
import type { ServerRun } from './server-run.ts';

type PromptStep = Extract<CompletionStep, { type: 'prompt' }>;

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
  const { client } = options.run;
  const enough = new AbortController();
  const signal = AbortSignal.any([options.signal, enough.signal]);
  const path = '/completion';
  const reader = new CompletionReader(options.choices, { path, apiKey: client.apiKey });
  const answer = new Answer(request, options, signal);
  const body = completionBody(request, prompt, options);
  const chunks = client.stream({ method: 'POST', path, body, signal, silenceMs: engineLimits.stallMs });
  try {
    for await (const part of readAnswer(chunks)) {
      if (part.done) {
        break;
      }
      yield* await answer.take(reader.read(part.chunk));
      if (answer.isDone) {
        break;
      }
    }
  } finally {
    // What was stopped by a sequence the server would go on with.
    enough.abort(new MeshnodeError('cancelled', 'The answer is complete.'));
  }
  if (!answer.isDone) {
    throw new MeshnodeError('engine_lost', 'The model server stopped in the middle of its answer.');
  }
  yield answer.usage();
}

/** The choices of one call, and what they have in common. */
class Answer {
  readonly #request: ChatRequest | CompletionRequest;
  readonly #options: AnswerOptions;
  readonly #choices: readonly Choice[];
  #isAccepted = false;
  #prompt = 0;
  #cached = 0;
  #elapsedMs = 0;

  constructor(request: ChatRequest | CompletionRequest, options: AnswerOptions, signal: AbortSignal) {
    this.#request = request;
    this.#options = options;
    this.#choices = Array.from(
      { length: options.choices },
      (_, index) => new Choice(index, request, options.run, signal),
    );
  }

  get isDone(): boolean {
    return this.#choices.every(({ isDone }) => isDone);
  }

  async take(step: CompletionStep): Promise<InferenceEvent[]> {
    const events = step.type === 'prompt' ? this.#takePrompt(step) : await this.#takeOutput(step);
    return this.#isAccepted ? events : [...this.#accept(), ...events];
  }

  usage(): InferenceEvent {
    const completion = this.#choices.reduce((sum, { tokens }) => sum + tokens, 0);
    return { type: 'usage', prompt: this.#prompt, cached: Math.min(this.#cached, this.#prompt), completion };
  }

  #accept(): InferenceEvent[] {
    this.#isAccepted = true;
    const { replica, choices } = this.#options;
    return [{ type: 'accepted', replica, cachedTokens: this.#cached }, ...echoOf(this.#request, choices)];
  }

  #takePrompt({ prompt, cached, processed, elapsedMs }: PromptStep): InferenceEvent[] {
    this.#prompt = prompt;
    this.#cached = Math.max(this.#cached, cached);
    this.#options.onStep(elapsedMs - this.#elapsedMs);
    this.#elapsedMs = elapsedMs;
    return processed < prompt && cached < prompt
      ? [{ type: 'progress', stage: 'prefill', fraction: (processed - cached) / (prompt - cached) }]
      : [];
  }

  async #takeOutput(step: Exclude<CompletionStep, PromptStep>): Promise<InferenceEvent[]> {
    const { prompt, completion } = step.counts;
    this.#prompt = prompt;
    if (step.type === 'done' && step.tokensPerSecond !== undefined) {
      this.#options.onSpeed(completion, step.tokensPerSecond);
    }
    const choice = this.#choices[step.index];
    if (choice === undefined || choice.isDone) {
      return [];
    }
    return step.type === 'piece' ? choice.take(step) : choice.end(step.reason, completion);
  }
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
  readonly #topLogprobs: number;
  /** Tokens whose text has not come yet. */
  #pending: { ids: number[]; logprobs: TokenLogprob[] } = { ids: [], logprobs: [] };
  /** Once a token's id is not known, ids of what follows are of no use. */
  #idsKnown = true;
  isDone = false;
  tokens = 0;

  constructor(index: number, request: ChatRequest | CompletionRequest, run: ServerRun, signal: AbortSignal) {
    this.#index = index;
    this.#run = run;
    this.#signal = signal;
    this.#stops = new StopDetector(request.output.stop);
    this.#topLogprobs = request.output.topLogprobs ?? 0;
  }

  async take(piece: CompletionPiece): Promise<InferenceEvent[]> {
    this.tokens = piece.counts.completion;
    const logprobs = piece.logprobs.map((one) => ({ ...one, top: one.top.slice(0, this.#topLogprobs) }));
    if (piece.text === '') {
      this.#pending.ids.push(piece.lastToken);
      this.#pending.logprobs.push(...logprobs);
      return [];
    }
    const waiting = this.#pending;
    this.#pending = { ids: [], logprobs: [] };
    const tokenIds = [...waiting.ids, ...(await this.#idsOf(piece))];
    const { text } = piece;
    const shown = { text, tokenIds, logprobs: [...waiting.logprobs, ...logprobs] };
    const { show, stopped } = this.#stops.push(shown);
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
