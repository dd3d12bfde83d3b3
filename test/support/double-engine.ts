// An engine in this process without a model: the same text for the same prompt and seed, at the pace and
// with the faults that a test asks for. It passes the compliance suite, so what works with it works with engines.
import type {
  Capabilities,
  Engine,
  LoadedModel,
  LoadFigures,
  LoadOptions,
  ModelFile,
  ModelState,
} from '../../src/engine/engine.ts';
import { type ErrorPhase, errorEvent, type InferenceEvent, isOutput } from '../../src/inference/events.ts';
import { type EngineFeature, unsupportedFeature } from '../../src/inference/features.ts';
import type {
  ChatRequest,
  CompletionRequest,
  EmbeddingRequest,
  InferenceKind,
  InferenceRequest,
  RerankRequest,
} from '../../src/inference/request.ts';
import { Emitter } from '../../src/util/async.ts';
import { type Clock, sleep, systemClock } from '../../src/util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../src/util/errors.ts';
import { choiceEvents, promptOf, textOf } from './double-engine-events.ts';
import { PromptMemory, scoreOf, tokenizeDouble, vectorOf } from './double-text.ts';
import { Slots } from './slots.ts';

/** How the double behaves; may be changed at any time. Counts of tokens are those of one choice. */
export interface DoubleEngineKnobs {
  /** Each answer's rate; 0: as fast as it is read. */
  tokensPerSecond: number;
  firstTokenDelayMs: number;
  slots: number;
  whenFull: 'queue' | 'refuse';
  contextTokens: number;
  dimensions: number;
  kinds: ReadonlySet<InferenceKind>;
  features: ReadonlySet<EngineFeature>;
  /** `load` rejects with this. */
  failLoad?: MeshnodeError | undefined;
  /** Time from a crash until the model is ready again. */
  restartMs: number;
  /** Says nothing more after this many tokens, until it is cancelled. */
  hangAfterTokens?: number | undefined;
  /** Crashes by itself after this many tokens. */
  crashAfterTokens?: number | undefined;
  /** Gives these events, lawful or not, instead of an answer, and then just stops. */
  garbage?: readonly InferenceEvent[] | undefined;
}

export const defaultEngineKnobs: DoubleEngineKnobs = {
  tokensPerSecond: 0,
  firstTokenDelayMs: 0,
  slots: 4,
  whenFull: 'queue',
  contextTokens: 4096,
  dimensions: 16,
  kinds: new Set(['chat', 'completion', 'embedding', 'rerank']),
  features: new Set(['tools', 'json-schema', 'logprobs', 'choices', 'token-ids', 'token-prompts', 'seed']),
  restartMs: 20,
};

/** Tokens given at rate 0 before others get their turn. */
const burst = 4;

export class DoubleEngine implements Engine {
  readonly name = 'embedded';
  readonly knobs: DoubleEngineKnobs;
  readonly #clock: Clock;

  constructor(knobs: Partial<DoubleEngineKnobs> = {}, clock: Clock = systemClock) {
    this.knobs = { ...defaultEngineKnobs, ...knobs };
    this.#clock = clock;
  }

  async available(): Promise<{ ok: true }> {
    return { ok: true };
  }

  async load(model: ModelFile, options: LoadOptions = {}): Promise<DoubleModel> {
    options.signal?.throwIfAborted();
    options.onProgress?.({ stage: 'loading', fraction: 0.5 });
    if (this.knobs.failLoad !== undefined) {
      throw this.knobs.failLoad;
    }
    return new DoubleModel(model.name, this.knobs, this.#clock);
  }
}

/** A model of the double. It shares the engine's knobs. */
export class DoubleModel implements LoadedModel {
  readonly engine = 'embedded';
  readonly name: string;
  readonly knobs: DoubleEngineKnobs;
  /** Answers that were cancelled. */
  cancelled = 0;
  readonly #clock: Clock;
  readonly #changes = new Emitter<ModelState>();
  readonly #slots: Slots;
  readonly #memory = new PromptMemory();
  /** Aborted, with the reason, when every running answer must break off. */
  #life = new AbortController();
  #state: ModelState = { state: 'ready' };
  #promptTokens = 0;
  #cachedPromptTokens = 0;

  constructor(name: string, knobs: DoubleEngineKnobs, clock: Clock) {
    this.name = name;
    this.knobs = knobs;
    this.#clock = clock;
    this.#slots = new Slots(() => knobs.slots);
  }

  get capabilities(): Capabilities {
    const { kinds, features, contextTokens, slots } = this.knobs;
    return { kinds, features, contextTokens, slots, extraFields: new Set() };
  }

  get state(): ModelState {
    return this.#state;
  }

  onChange(listener: (state: ModelState) => void): () => void {
    return this.#changes.listen(listener);
  }

  async tokenize(text: string): Promise<number[]> {
    return tokenizeDouble(text);
  }

  async health(): Promise<void> {
    if (this.#state.state !== 'ready') {
      throw new MeshnodeError('engine_unavailable', `The double is ${this.#state.state}.`);
    }
  }

  figures(): LoadFigures {
    return {
      slots: this.knobs.slots,
      inFlight: this.#slots.taken,
      queued: this.#slots.waiting,
      tokensPerSecond: this.knobs.tokensPerSecond,
      promptTokens: this.#promptTokens,
      cachedPromptTokens: this.#cachedPromptTokens,
    };
  }

  /** Breaks every running answer off; ready again after `restartMs`. */
  crash(): void {
    const error = new MeshnodeError('engine_lost', 'The double crashed.');
    this.#breakOff(error, { state: 'restarting', error });
    this.#clock.after(this.knobs.restartMs, () => {
      if (this.#state.state === 'restarting') {
        this.#life = new AbortController();
        this.#change({ state: 'ready' });
      }
    });
  }

  async unload(): Promise<void> {
    if (this.#state.state !== 'unloaded') {
      this.#breakOff(new MeshnodeError('shutting_down', 'The double is being unloaded.'), {
        state: 'unloaded',
      });
    }
  }

  async *infer(
    request: InferenceRequest,
    signal: AbortSignal,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    let phase: ErrorPhase = 'before-output';
    let ended = false;
    try {
      for await (const event of this.#answer(request, AbortSignal.any([signal, this.#life.signal]))) {
        phase = isOutput(event) ? 'during-output' : phase;
        yield event;
      }
      ended = true;
    } catch (thrown) {
      yield errorEvent(signal.aborted ? cancelledError() : asMeshnodeError(thrown), phase);
    } finally {
      this.cancelled += ended ? 0 : 1;
    }
  }

  async *#answer(request: InferenceRequest, signal: AbortSignal): AsyncGenerator<InferenceEvent, void> {
    this.#refuse(request);
    if (this.knobs.whenFull === 'refuse' && this.#slots.full) {
      throw new MeshnodeError('queue_full', 'Every slot of the double is taken.');
    }
    const release = await this.#slots.take(signal);
    try {
      if (this.knobs.garbage !== undefined) {
        yield* this.knobs.garbage;
        return;
      }
      yield* this.#work(request, signal);
      yield { type: 'end' };
    } finally {
      release();
    }
  }

  async *#work(request: InferenceRequest, signal: AbortSignal): AsyncGenerator<InferenceEvent, void> {
    switch (request.kind) {
      case 'chat':
      case 'completion':
        yield* this.#generate(request, signal);
        break;
      case 'embedding':
        yield* this.#embed(request);
        break;
      case 'rerank':
        yield* this.#rerank(request);
        break;
      case 'transcription':
        throw new MeshnodeError('model_unsupported', 'The double cannot hear.');
    }
  }

  async *#generate(
    request: ChatRequest | CompletionRequest,
    signal: AbortSignal,
  ): AsyncGenerator<InferenceEvent, void> {
    const promptIds = tokenizeDouble(promptOf(request));
    if (promptIds.length >= this.knobs.contextTokens) {
      throw new MeshnodeError('context_length_exceeded', `The prompt has ${promptIds.length} tokens.`);
    }
    const cached = this.#memory.take(promptIds);
    yield this.#accepted(cached);
    await sleep(this.#clock, this.knobs.firstTokenDelayMs, signal);
    const counts = { completion: 0 };
    const pace = this.#pace(signal);
    const open = new Set(
      Array.from({ length: request.output.choices }, (_, index) =>
        choiceEvents(request, index, this.knobs.contextTokens - promptIds.length, counts),
      ),
    );
    while (open.size > 0) {
      for (const choice of open) {
        const { value, done } = choice.next();
        if (done) {
          open.delete(choice);
          continue;
        }
        yield value;
        await pace();
      }
    }
    yield this.#usage(promptIds.length, cached, counts.completion);
  }

  async *#embed(request: EmbeddingRequest): AsyncGenerator<InferenceEvent, void> {
    yield this.#accepted(0);
    const texts = request.inputs.map(textOf);
    for (const [index, text] of texts.entries()) {
      const values = Float32Array.from(vectorOf(text, request.dimensions ?? this.knobs.dimensions));
      yield { type: 'vector', index, values };
    }
    yield this.#usage(tokenizeDouble(texts.join('')).length, 0, 0);
  }

  async *#rerank({ query, documents }: RerankRequest): AsyncGenerator<InferenceEvent, void> {
    yield this.#accepted(0);
    for (const [index, document] of documents.entries()) {
      yield { type: 'score', index, score: scoreOf(query, document) };
    }
    yield this.#usage(tokenizeDouble(query + documents.join('')).length, 0, 0);
  }

  /** A function to await after each token: keeps the rate, and takes the knobs' faults. */
  #pace(signal: AbortSignal): () => Promise<void> {
    const startMs = this.#clock.monotonicMs();
    let tokens = 0;
    return async () => {
      tokens++;
      const { tokensPerSecond, hangAfterTokens, crashAfterTokens } = this.knobs;
      if (tokens === crashAfterTokens) {
        this.crash();
      }
      signal.throwIfAborted();
      if (tokens === hangAfterTokens) {
        await new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
        );
      }
      if (tokensPerSecond > 0) {
        const dueMs = startMs + (tokens * 1000) / tokensPerSecond;
        await sleep(this.#clock, Math.max(0, dueMs - this.#clock.monotonicMs()), signal);
      } else if (tokens % burst === 0) {
        await sleep(this.#clock, 0, signal);
      }
    };
  }

  #accepted(cachedTokens: number): InferenceEvent {
    return { type: 'accepted', replica: `${this.engine}/${this.name}`, cachedTokens };
  }

  #usage(prompt: number, cached: number, completion: number): InferenceEvent {
    this.#promptTokens += prompt;
    this.#cachedPromptTokens += cached;
    return { type: 'usage', prompt, cached, completion };
  }

  #refuse(request: InferenceRequest): void {
    if (this.#state.state !== 'ready') {
      const code = this.#state.state === 'restarting' ? 'engine_unavailable' : 'shutting_down';
      throw new MeshnodeError(code, `The double is ${this.#state.state}.`);
    }
    const unsupported = unsupportedFeature(request, this.capabilities);
    if (unsupported !== undefined) {
      throw unsupported;
    }
  }

  #breakOff(error: MeshnodeError, state: ModelState): void {
    this.#change(state);
    this.#life.abort(error);
  }

  #change(state: ModelState): void {
    this.#state = state;
    this.#changes.emit(state);
  }
}

function cancelledError(): MeshnodeError {
  return new MeshnodeError('cancelled', 'The request was cancelled.');
}
