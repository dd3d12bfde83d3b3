// One model of an attached server: answers requests by asking the server, and counts them. Whether the
// server is there is told to it by openai-url.ts; it holds no timer and no list.
import {
  type ErrorPhase,
  errorEvent,
  type InferenceEvent,
  isOutput,
  type UsageEvent,
} from '../../inference/events.ts';
import { type EngineFeature, unsupportedFeature } from '../../inference/features.ts';
import type {
  ChatRequest,
  CompletionRequest,
  EmbeddingRequest,
  InferenceKind,
  InferenceRequest,
  RerankRequest,
} from '../../inference/request.ts';
import { Emitter } from '../../util/async.ts';
import type { Clock } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { Random } from '../../util/random.ts';
import type { Capabilities, LoadedModel, LoadFigures, ModelState } from '../engine.ts';
import { AnswerReader } from '../openai/answer-reader.ts';
import { readAnswer } from '../openai/answer-stream.ts';
import type { Exchange, ServerClient } from '../openai/client.ts';
import { readPromptTokens, readScores, readVectors } from '../openai/lists.ts';
import {
  embeddingCall,
  generationCall,
  harmlessExtraFields,
  rerankCall,
  type ServerCall,
} from '../openai/request.ts';
import { Throughput } from '../throughput.ts';
import { type ListedModel, probeModels } from './probe.ts';

/**
 * No server tells what it can do, so everything that OpenAI's API can carry is passed on and the server's
 * refusal is mapped. What cannot be carried, or would be dropped in silence, is refused here.
 */
const kinds: ReadonlySet<InferenceKind> = new Set(['chat', 'completion', 'embedding', 'rerank']);
const features: ReadonlySet<EngineFeature> = new Set([
  'tools',
  'json-schema',
  'logprobs',
  'choices',
  'images',
  'audio',
  'token-prompts',
  'seed',
]);

export interface AttachedModelOptions {
  readonly listed: ListedModel;
  readonly client: ServerClient;
  readonly clock: Clock;
  readonly random: Random;
  /** Called when the connection failed: the server should be looked at before its turn. */
  readonly onConnectionFailure: () => void;
  /** Called when the model was unloaded by its user. */
  readonly onUnload: () => void;
}

export class AttachedModel implements LoadedModel {
  readonly engine = 'openai-url';
  readonly name: string;
  readonly capabilities: Capabilities;
  readonly #options: AttachedModelOptions;
  readonly #changes = new Emitter<ModelState>();
  readonly #running = new Set<AbortController>();
  readonly #throughput = new Throughput();
  #state: ModelState = { state: 'ready' };
  #cachedPromptTokens = 0;
  #promptTokens = 0;

  constructor(options: AttachedModelOptions) {
    const { name, contextTokens } = options.listed;
    this.#options = options;
    this.name = name;
    this.capabilities = {
      kinds,
      features,
      extraFields: harmlessExtraFields,
      ...(contextTokens === undefined ? {} : { contextTokens }),
    };
  }

  get state(): ModelState {
    return this.#state;
  }

  onChange(listener: (state: ModelState) => void): () => void {
    return this.#changes.listen(listener);
  }

  /** The server lists the model. */
  listed(): void {
    if (this.#state.state === 'restarting') {
      this.#change({ state: 'ready' });
    }
  }

  /** The server cannot be asked. */
  unreachable(error: MeshnodeError): void {
    if (this.#state.state === 'ready') {
      this.#change({ state: 'restarting', error });
    }
  }

  /** The server no longer lists the model. Running answers are the server's own affair and go on. */
  vanished(): void {
    if (this.#state.state !== 'unloaded') {
      this.#change({ state: 'unloaded' });
    }
  }

  async *infer(
    request: InferenceRequest,
    signal: AbortSignal,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const refusal = this.#refusal(request, signal);
    if (refusal !== undefined) {
      yield errorEvent(refusal, 'before-output');
      return;
    }
    const leave = new AbortController();
    let phase: ErrorPhase = 'before-output';
    let ended = false;
    this.#running.add(leave);
    try {
      for await (const event of this.#answer(request, AbortSignal.any([signal, leave.signal]))) {
        phase = isOutput(event) ? 'during-output' : phase;
        yield event;
      }
      ended = true;
      yield { type: 'end' };
    } catch (thrown) {
      yield errorEvent(this.#failure(thrown, signal), phase);
    } finally {
      this.#running.delete(leave);
      if (!ended) {
        leave.abort(new MeshnodeError('cancelled', 'The caller left.'));
      }
    }
  }

  async tokenize(): Promise<number[]> {
    throw new MeshnodeError('model_unsupported', 'An attached server cannot be asked for token ids.');
  }

  async health(signal: AbortSignal): Promise<void> {
    const models = await probeModels(this.#options.client, signal);
    if (!models.some(({ name }) => name === this.name)) {
      throw new MeshnodeError('model_not_found', `The attached server no longer lists "${this.name}".`);
    }
  }

  figures(): LoadFigures {
    return {
      slots: engineLimits.attachSlots,
      inFlight: this.#throughput.running,
      queued: 0,
      tokensPerSecond: this.#throughput.tokensPerSecond,
      cachedPromptTokens: this.#cachedPromptTokens,
      promptTokens: this.#promptTokens,
    };
  }

  /** Lets go of the model; the server keeps it. */
  async unload(): Promise<void> {
    if (this.#state.state === 'unloaded') {
      return;
    }
    this.#change({ state: 'unloaded' });
    for (const leave of this.#running) {
      leave.abort(new MeshnodeError('shutting_down', `The model "${this.name}" is being let go of.`));
    }
    this.#options.onUnload();
  }

  #refusal(request: InferenceRequest, signal: AbortSignal): MeshnodeError | undefined {
    if (signal.aborted) {
      return cancelled(signal);
    }
    if (request.model.digest !== undefined) {
      return new MeshnodeError('model_unsupported', 'An attached server cannot prove which weights it has.', {
        param: 'model',
      });
    }
    switch (this.#state.state) {
      case 'ready':
        return unsupportedFeature(request, this.capabilities);
      case 'restarting':
        // The reason names the server's address, which is no business of whoever asks the model.
        return new MeshnodeError('engine_unavailable', 'The attached server does not answer at present.', {
          cause: this.#state.error,
        });
      case 'failed':
      case 'unloaded':
        return new MeshnodeError('shutting_down', `The model "${this.name}" is no longer attached.`);
    }
  }

  async *#answer(asked: InferenceRequest, signal: AbortSignal): AsyncGenerator<InferenceEvent, void> {
    const { clock } = this.#options;
    // The name as the server lists it: the caller may have used another one of ours.
    const request: InferenceRequest = { ...asked, model: { name: this.name } };
    const counted = { tokens: 0 };
    this.#throughput.begin(clock.monotonicMs());
    try {
      switch (request.kind) {
        case 'chat':
        case 'completion':
          yield* this.#generate(request, signal, counted);
          break;
        case 'embedding':
          yield* this.#embed(request, signal);
          break;
        case 'rerank':
          yield* this.#rerank(request, signal);
          break;
        case 'transcription':
          throw new MeshnodeError('model_unsupported', 'An attached server cannot transcribe.');
      }
    } finally {
      this.#throughput.end(clock.monotonicMs(), counted.tokens);
    }
  }

  async *#generate(
    request: ChatRequest | CompletionRequest,
    signal: AbortSignal,
    counted: { tokens: number },
  ): AsyncGenerator<InferenceEvent, void> {
    const { client, random } = this.#options;
    const call = generationCall(request);
    const reader = new AnswerReader({
      choices: request.output.choices,
      random,
      context: { path: call.path, apiKey: client.apiKey },
    });
    let accepted = false;
    let said = false;
    for await (const part of readAnswer(client.stream(exchange(call, signal)))) {
      if (part.done) {
        said = true;
        break;
      }
      const events = reader.read(part.chunk);
      if (!accepted) {
        accepted = true;
        yield this.#accepted();
      }
      yield* events;
      counted.tokens = reader.usage?.completion ?? reader.pieces;
    }
    for (const event of reader.end(said)) {
      if (event.type === 'usage') {
        this.#count(event);
      }
      yield event;
    }
  }

  async *#embed(request: EmbeddingRequest, signal: AbortSignal): AsyncGenerator<InferenceEvent, void> {
    const { client } = this.#options;
    const { inputs } = request;
    const usage = new PromptUsage();
    for (let offset = 0; offset < inputs.length; offset += engineLimits.attachEmbeddingBatch) {
      const batch = inputs.slice(offset, offset + engineLimits.attachEmbeddingBatch);
      const body = await client.json(exchange(embeddingCall(request, batch), signal));
      const vectors = readVectors(body, batch.length, offset);
      if (offset === 0) {
        yield this.#accepted();
      }
      usage.add(readPromptTokens(body));
      yield* vectors;
    }
    yield* this.#promptUsage(usage);
  }

  async *#rerank(request: RerankRequest, signal: AbortSignal): AsyncGenerator<InferenceEvent, void> {
    const body = await this.#options.client.json(exchange(rerankCall(request), signal));
    const scores = readScores(body, request.documents.length);
    const usage = new PromptUsage();
    usage.add(readPromptTokens(body));
    yield this.#accepted();
    yield* scores;
    yield* this.#promptUsage(usage);
  }

  #promptUsage(usage: PromptUsage): UsageEvent[] {
    const prompt = usage.total;
    if (prompt === undefined) {
      return [];
    }
    const event: UsageEvent = { type: 'usage', prompt, cached: 0, completion: 0 };
    this.#count(event);
    return [event];
  }

  #accepted(): InferenceEvent {
    return { type: 'accepted', replica: `${this.engine}/${this.name}` };
  }

  #count(usage: UsageEvent): void {
    this.#promptTokens += usage.prompt;
    this.#cachedPromptTokens += usage.cached;
  }

  #failure(thrown: unknown, signal: AbortSignal): MeshnodeError {
    if (signal.aborted) {
      return cancelled(signal);
    }
    const error = asMeshnodeError(thrown);
    if (error.code === 'engine_unavailable' || error.code === 'engine_lost') {
      this.#options.onConnectionFailure();
    }
    return error;
  }

  #change(state: ModelState): void {
    this.#state = state;
    this.#changes.emit(state);
  }
}

/** Prompt tokens of several calls; unknown as soon as one call does not tell. */
class PromptUsage {
  #total: number | undefined = 0;

  add(tokens: number | undefined): void {
    this.#total = this.#total === undefined || tokens === undefined ? undefined : this.#total + tokens;
  }

  get total(): number | undefined {
    return this.#total;
  }
}

function exchange(call: ServerCall, signal: AbortSignal): Exchange {
  return { method: 'POST', path: call.path, body: call.body, signal, silenceMs: engineLimits.stallMs };
}

/** The reason of an abort if it is ours (a deadline, say), else `cancelled`. */
function cancelled(signal: AbortSignal): MeshnodeError {
  return signal.reason instanceof MeshnodeError
    ? signal.reason
    : new MeshnodeError('cancelled', 'The request was cancelled.');
}
