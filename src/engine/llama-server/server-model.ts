// One model of the llama-server engine as the node sees it: chooses the server's route for a request and turns its
// answer into events. It outlives the process: the supervisor brings the next one.
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
import { type Clock, sleep, type Timer } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { Random } from '../../util/random.ts';
import type { Capabilities, LoadedModel, LoadFigures, ModelState } from '../engine.ts';
import { watchHealth } from '../health-watch.ts';
import { cutVector, readPromptTokens, readScores, readVectors } from '../openai/lists.ts';
import { embeddingCall, rerankCall } from '../openai/request.ts';
import { downError, modelState } from '../supervised-model.ts';
import type { Supervised } from '../supervisor.ts';
import { Throughput } from '../throughput.ts';
import { assertToolsPossible, chatAnswer } from './chat-answer.ts';
import { completionAnswer } from './completion-answer.ts';
import { heededExtraFields } from './extra-fields.ts';
import { forcedCallAnswer, forcedCallPrompt, forcedTools } from './forced-call.ts';
import { isPlainChat, templateBody } from './server-calls.ts';
import type { ServerRun } from './server-run.ts';
import { SoloSpeed } from './solo-speed.ts';

export type ServedUse = 'generate' | 'embed' | 'rank';

/** What every generator can do beyond its kind; what depends on its template comes on top. */
const generatorFeatures: readonly EngineFeature[] = [
  ...(['json-schema', 'grammar', 'logprobs', 'choices', 'token-ids', 'token-prompts', 'seed'] as const),
];

const kindsOf: Readonly<Record<ServedUse, readonly InferenceKind[]>> = {
  generate: ['chat', 'completion'],
  embed: ['embedding'],
  rank: ['rerank'],
};

export class ServerModel implements LoadedModel {
  readonly name: string;
  readonly engine = 'llama-server';
  readonly capabilities: Capabilities;
  readonly #supervised: Supervised<ServerRun>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #slots: number;
  readonly #healthWatch: Timer;
  readonly #throughput = new Throughput();
  readonly #soloSpeed: SoloSpeed;
  #promptTokens = 0;
  #cachedPromptTokens = 0;
  /** Requests that the server itself says wait for a slot. */
  #deferred = 0;
  #unloading = false;
  /** The longest that the server has listened to nobody, as far as it told; undefined before the first prompt. */
  #longestStepMs: number | undefined;

  /** `supervised` must have a running process. */
  constructor(
    name: string,
    use: ServedUse,
    supervised: Supervised<ServerRun>,
    { clock, random, activeBytes }: { clock: Clock; random: Random; activeBytes: number },
  ) {
    this.name = name;
    this.#supervised = supervised;
    this.#clock = clock;
    this.#random = random;
    this.#soloSpeed = new SoloSpeed(activeBytes);
    const { contextTokens, slots, callsTools, continues } = this.#run().facts;
    this.#slots = slots;
    this.capabilities = {
      kinds: new Set(kindsOf[use]),
      contextTokens,
      slots,
      extraFields: use === 'generate' ? heededExtraFields : new Set(),
      features: new Set<EngineFeature>([
        ...(use === 'generate' ? generatorFeatures : use === 'embed' ? (['token-prompts'] as const) : []),
        ...(callsTools ? (['tools'] as const) : []),
        ...(continues ? (['continue'] as const) : []),
      ]),
    };
    this.#healthWatch = watchHealth(
      {
        get running() {
          return supervised.current() !== undefined;
        },
        ping: (signal) => this.health(signal),
        restart: (reason) => supervised.restart(reason),
      },
      clock,
    );
  }

  get state(): ModelState {
    return modelState(this.#supervised.state);
  }

  onChange(listener: (state: ModelState) => void): () => void {
    return this.#supervised.onChange((state) => listener(modelState(state)));
  }

  async *infer(
    request: InferenceRequest,
    signal: AbortSignal,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    let phase: ErrorPhase = 'before-output';
    let completionTokens = 0;
    let ended = false;
    const leaving = new AbortController();
    this.#throughput.begin(this.#clock.monotonicMs());
    try {
      signal.throwIfAborted();
      const unsupported = unsupportedFeature(request, this.capabilities) ?? unsupportedEcho(request);
      if (unsupported !== undefined) {
        throw unsupported;
      }
      for await (const event of this.#answer(request, AbortSignal.any([signal, leaving.signal]))) {
        phase = isOutput(event) ? 'during-output' : phase;
        if (event.type === 'usage') {
          completionTokens = event.completion;
          this.#count(event);
        }
        yield event;
      }
      ended = true;
      yield { type: 'end' };
    } catch (thrown) {
      ended = !signal.aborted;
      yield errorEvent(await this.#explain(thrown, signal), phase);
    } finally {
      // A reader that leaves frees the slot; after the end there is nothing left to abort.
      leaving.abort(new MeshnodeError('cancelled', 'The caller left.'));
      this.#throughput.end(this.#clock.monotonicMs(), completionTokens);
      if (!ended) {
        void this.#assertListens();
      }
    }
  }

  async tokenize(text: string): Promise<number[]> {
    return this.#run().tokenize(text, AbortSignal.timeout(engineLimits.stallMs));
  }

  async health(signal: AbortSignal): Promise<void> {
    this.#deferred = (await this.#run().metrics(signal)).deferred;
  }

  figures(): LoadFigures {
    const { weightBytesPerSecond } = this.#soloSpeed;
    const waiting = Math.max(0, this.#throughput.running - this.#slots);
    return {
      slots: this.#slots,
      inFlight: this.#throughput.running,
      queued:
        this.#throughput.running === 0
          ? 0
          : Math.max(waiting, Math.min(this.#deferred, this.#throughput.running)),
      tokensPerSecond: this.#throughput.tokensPerSecond,
      cachedPromptTokens: this.#cachedPromptTokens,
      promptTokens: this.#promptTokens,
      ...(weightBytesPerSecond === undefined ? {} : { weightBytesPerSecond }),
    };
  }

  /**
   * What was cancelled frees its slot only if the server still listens. It does so between two pieces of work: as
   * long as nobody knows how long those take here, silence proves nothing.
   */
  async #assertListens(): Promise<void> {
    const run = this.#supervised.current();
    if (run === undefined || this.#unloading) {
      return;
    }
    const patienceMs =
      this.#longestStepMs === undefined
        ? engineLimits.healthTimeoutMs
        : Math.min(engineLimits.healthTimeoutMs, Math.max(engineLimits.cancelMs, 3 * this.#longestStepMs));
    const hung = new MeshnodeError(
      'engine_timeout',
      `The engine did not let go of a cancelled request for ${Math.round(patienceMs / 1000)} s.`,
    );
    const patience = new AbortController();
    const giveUp = this.#clock.after(patienceMs, () => patience.abort(hung), { keepAlive: false });
    try {
      await run.metrics(patience.signal);
    } catch (reason) {
      if (reason === hung && this.#supervised.current() === run) {
        this.#supervised.restart(hung);
      }
    } finally {
      giveUp.cancel();
    }
  }

  unload(): Promise<void> {
    this.#unloading = true;
    this.#healthWatch.cancel();
    return this.#supervised.stop();
  }

  #run(): ServerRun {
    const run = this.#supervised.current();
    if (run === undefined) {
      throw downError(this.name, this.#supervised.state);
    }
    return run;
  }

  #answer(request: InferenceRequest, signal: AbortSignal): AsyncIterable<InferenceEvent> {
    switch (request.kind) {
      case 'chat':
      case 'completion':
        return this.#generate(request, signal);
      case 'embedding':
        return this.#embed(request, signal);
      case 'rerank':
        return this.#rank(request, signal);
      case 'transcription':
        throw new MeshnodeError('model_unsupported', 'This model does not transcribe.');
    }
  }

  /** The server answers as many choices at once as it has slots; more are asked for one group after the other. */
  async *#generate(
    request: ChatRequest | CompletionRequest,
    signal: AbortSignal,
  ): AsyncGenerator<InferenceEvent, void> {
    const run = this.#run();
    const route = await this.#routeOf(request, run, signal);
    const { choices } = request.output;
    const total = { prompt: 0, cached: 0, completion: 0 };
    for (let first = 0; first < choices; first += this.#slots) {
      const group = { choices: Math.min(this.#slots, choices - first), firstChoice: first };
      for await (const event of route(group)) {
        if (event.type === 'usage') {
          total.prompt = event.prompt;
          total.cached = first === 0 ? event.cached : total.cached;
          total.completion += event.completion;
        } else if (event.type === 'accepted' ? first === 0 : true) {
          yield 'index' in event ? { ...event, index: event.index + first } : event;
        }
      }
    }
    yield { type: 'usage', ...total };
  }

  /** How one group of choices is asked for. */
  async #routeOf(
    request: ChatRequest | CompletionRequest,
    run: ServerRun,
    signal: AbortSignal,
  ): Promise<(group: { choices: number; firstChoice: number }) => AsyncIterable<InferenceEvent>> {
    const { contextTokens } = run.facts;
    const onStep = (tookMs: number): void => {
      this.#longestStepMs = Math.max(this.#longestStepMs ?? 0, tookMs);
    };
    const solo = this.#soloSpeed.begin(this.#throughput.running);
    const onSpeed = (tokens: number, tokensPerSecond: number): void =>
      this.#soloSpeed.end(solo, tokens, tokensPerSecond);
    const shared = { run, signal, replica: this.#replica, contextTokens, onStep, onSpeed };
    if (request.kind === 'completion') {
      return (group) => completionAnswer(request, request.prompt, { ...shared, ...group });
    }
    if (isPlainChat(request, run.facts)) {
      const prompt = await this.#prompt(run, run.prompt(templateBody(request), signal));
      return (group) => completionAnswer(request, prompt, { ...shared, ...group });
    }
    assertToolsPossible(request);
    const random = this.#random;
    const tools = forcedTools(request);
    if (tools !== undefined) {
      const prompt = await this.#prompt(run, forcedCallPrompt(request, shared));
      return (group) => forcedCallAnswer(request, tools, prompt, { ...shared, ...group, random });
    }
    return (group) => chatAnswer(request, { ...shared, ...group, random });
  }

  /** A template that does not end holds a thread of the server for ever, whoever still wants its prompt. */
  async #prompt(run: ServerRun, prompt: Promise<string>): Promise<string> {
    try {
      return await prompt;
    } catch (thrown) {
      if (
        thrown instanceof MeshnodeError &&
        thrown.code === 'engine_timeout' &&
        this.#supervised.current() === run
      ) {
        this.#supervised.restart(thrown);
      }
      throw thrown;
    }
  }

  async *#embed(request: EmbeddingRequest, signal: AbortSignal): AsyncGenerator<InferenceEvent, void> {
    const { inputs, dimensions } = request;
    const run = this.#run();
    let prompt = 0;
    for (let offset = 0; offset < inputs.length; offset += engineLimits.attachEmbeddingBatch) {
      const batch = inputs.slice(offset, offset + engineLimits.attachEmbeddingBatch);
      const { body } = embeddingCall({ ...request, model: { name: this.name } }, batch);
      const answer = await run.ask('/v1/embeddings', body, signal);
      const whole = readVectors(answer, batch.length, offset);
      // The server gives them whole, whatever it is asked.
      const vectors =
        dimensions === undefined
          ? whole
          : whole.map((event) => ({ ...event, values: cutVector(event.values, dimensions) }));
      if (offset === 0) {
        yield { type: 'accepted', replica: this.#replica };
      }
      prompt += readPromptTokens(answer) ?? 0;
      yield* vectors;
    }
    yield { type: 'usage', prompt, cached: 0, completion: 0 };
  }

  async *#rank(request: RerankRequest, signal: AbortSignal): AsyncGenerator<InferenceEvent, void> {
    const { body } = rerankCall({ ...request, model: { name: this.name } });
    const answer = await this.#run().ask('/v1/rerank', body, signal);
    const scores = readScores(answer, request.documents.length);
    yield { type: 'accepted', replica: this.#replica };
    yield* scores;
    yield { type: 'usage', prompt: readPromptTokens(answer) ?? 0, cached: 0, completion: 0 };
  }

  get #replica(): string {
    return `${this.engine}/${this.name}`;
  }

  #count(usage: UsageEvent): void {
    this.#promptTokens += usage.prompt;
    this.#cachedPromptTokens += usage.cached;
  }

  /** A process that was stopped on purpose did not get lost, and what a caller ends did not fail. */
  async #explain(thrown: unknown, signal: AbortSignal): Promise<MeshnodeError> {
    if (signal.aborted) {
      return signal.reason instanceof MeshnodeError
        ? signal.reason
        : new MeshnodeError('cancelled', 'The request was cancelled.');
    }
    const error = asMeshnodeError(thrown, 'engine_error');
    if (error.code !== 'engine_lost' && error.code !== 'engine_unavailable') {
      return error;
    }
    if (this.#unloading) {
      return new MeshnodeError('shutting_down', `The model "${this.name}" is being unloaded.`);
    }
    await this.#untilNoticed();
    return error;
  }

  /**
   * A connection breaks a moment before its process counts as ended. Whoever is told of the one and asks again is
   * to find the model restarting, not ready.
   */
  async #untilNoticed(): Promise<void> {
    const run = this.#supervised.current();
    if (run !== undefined) {
      const enough = new AbortController();
      await Promise.race([
        run.exited.then(() => {}),
        sleep(this.#clock, engineLimits.noticeMs, enough.signal).catch(() => {}), // Ended by the line below.
      ]);
      enough.abort();
    }
  }
}

/** The node repeats a prompt that it has as text; of token ids it does not know the text. */
function unsupportedEcho(request: InferenceRequest): MeshnodeError | undefined {
  return request.kind === 'completion' && request.output.echo && typeof request.prompt !== 'string'
    ? new MeshnodeError('unsupported_parameter', 'Only a prompt that is text can be echoed.', {
        param: 'echo',
      })
    : undefined;
}
