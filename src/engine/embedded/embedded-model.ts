// One model of the embedded engine as the node sees it: turns a request into jobs of the model's process
// and their messages into events. It outlives the process: the supervisor brings the next one.

import { type ErrorPhase, errorEvent, type InferenceEvent, isOutput } from '../../inference/events.ts';
import { type EngineFeature, unsupportedFeature } from '../../inference/features.ts';
import type {
  ChatRequest,
  CompletionRequest,
  InferenceKind,
  InferenceRequest,
} from '../../inference/request.ts';
import { mergeIterables } from '../../util/async.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import type { Random } from '../../util/random.ts';
import type { Capabilities, LoadedModel, LoadFigures, ModelState } from '../engine.ts';
import { type WatchedModel, watchHealth } from '../health-watch.ts';
import { downError, modelState } from '../supervised-model.ts';
import type { Supervised } from '../supervisor.ts';
import { Throughput } from '../throughput.ts';
import type { GenerateCommand, JobMessage, WorkerSampling } from './protocol.ts';
import type { WorkerRun } from './worker-run.ts';

/** What every model of this engine can do beyond its kind. */
const generatorFeatures: readonly EngineFeature[] = [
  'json-schema',
  'grammar',
  'choices',
  'token-ids',
  'token-prompts',
  'seed',
];

/** llama.cpp's own defaults, so that the same request means the same on every engine of its family. */
const defaultSampling = { temperature: 0.8, topP: 0.95, topK: 40, minP: 0.05, repeatPenalty: 1 } as const;

type GenerationRequest = ChatRequest | CompletionRequest;

export class EmbeddedModel implements LoadedModel {
  readonly name: string;
  readonly engine = 'embedded';
  readonly capabilities: Capabilities;
  readonly #supervised: Supervised<WorkerRun>;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #throughput = new Throughput();
  readonly #slots: number;
  readonly #healthWatch: Timer;
  #promptTokens = 0;
  #cachedPromptTokens = 0;

  /** `supervised` must have a running process. */
  constructor(name: string, supervised: Supervised<WorkerRun>, components: { clock: Clock; random: Random }) {
    this.name = name;
    this.#supervised = supervised;
    this.#random = components.random;
    this.#clock = components.clock;
    this.#healthWatch = watchHealth(this.#watched(), components.clock);
    const facts = this.#run().facts;
    this.#slots = facts.slots;
    const generates = facts.kinds.includes('chat');
    this.capabilities = {
      kinds: new Set<InferenceKind>(facts.kinds),
      contextTokens: facts.contextTokens,
      slots: facts.slots,
      extraFields: new Set(),
      features: new Set<EngineFeature>([
        ...(generates ? generatorFeatures : (['token-prompts'] as const)),
        ...(facts.continues ? (['continue'] as const) : []),
      ]),
    };
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
    this.#throughput.begin(this.#clock.monotonicMs());
    try {
      const unsupported = unsupportedFeature(request, this.capabilities) ?? unsupportedEcho(request);
      if (unsupported !== undefined) {
        throw unsupported;
      }
      for await (const event of this.#answer(request, signal)) {
        phase = isOutput(event) ? 'during-output' : phase;
        completionTokens += event.type === 'delta' ? (event.tokenIds?.length ?? 0) : 0;
        yield event;
      }
      yield { type: 'end' };
    } catch (thrown) {
      yield errorEvent(this.#explain(thrown), phase);
    } finally {
      this.#throughput.end(this.#clock.monotonicMs(), completionTokens);
    }
  }

  async tokenize(text: string): Promise<number[]> {
    const never = new AbortController().signal;
    for await (const message of this.#run().job((job) => ({ type: 'tokenize', job, text }), never)) {
      if (message.type === 'tokens') {
        return message.tokenIds;
      }
    }
    throw new MeshnodeError('engine_protocol', 'The engine gave no tokens.');
  }

  async health(signal: AbortSignal): Promise<void> {
    for await (const _ of this.#run().job((job) => ({ type: 'ping', job }), signal)) {
      return;
    }
  }

  figures(): LoadFigures {
    return {
      slots: this.#slots,
      inFlight: this.#throughput.running,
      queued: Math.max(0, this.#throughput.running - this.#slots),
      tokensPerSecond: this.#throughput.tokensPerSecond,
      cachedPromptTokens: this.#cachedPromptTokens,
      promptTokens: this.#promptTokens,
    };
  }

  unload(): Promise<void> {
    this.#healthWatch.cancel();
    return this.#supervised.stop();
  }

  #watched(): WatchedModel {
    const supervised = this.#supervised;
    return {
      get running() {
        return supervised.current() !== undefined;
      },
      ping: (signal) => this.health(signal),
      restart: (reason) => supervised.restart(reason),
    };
  }

  #run(): WorkerRun {
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
      case 'embedding': {
        const { inputs, dimensions } = request;
        const command = {
          type: 'embed',
          inputs,
          ...(dimensions === undefined ? {} : { dimensions }),
        } as const;
        return this.#score(this.#run().job((job) => ({ ...command, job }), signal));
      }
      case 'rerank': {
        const { query, documents } = request;
        const command = { type: 'rerank', query, documents } as const;
        return this.#score(this.#run().job((job) => ({ ...command, job }), signal));
      }
      case 'transcription':
        throw new MeshnodeError('model_unsupported', 'This model does not transcribe.');
    }
  }

  async *#generate(
    request: GenerationRequest,
    signal: AbortSignal,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const run = this.#run();
    const totals = new AnswerTotals();
    const leaving = new AbortController();
    const wanted = AbortSignal.any([signal, leaving.signal]);
    // One choice that fails, or a reader that leaves, ends the others too.
    const leave = (): void => leaving.abort(new MeshnodeError('cancelled', 'The request was cancelled.'));
    const baseSeed = request.sampling.seed ?? Math.floor(this.#random.float() * seedRange);
    const choices = Array.from({ length: request.output.choices }, (_, index) => {
      const command = generateCommand(request, (baseSeed + index) % seedRange);
      const messages = run.job((job) => ({ type: 'generate', job, ...command }), wanted);
      return this.#choice(index, request, messages, totals);
    });
    try {
      yield* mergeIterables(choices, leave);
      yield { type: 'usage', prompt: totals.prompt, cached: totals.cached, completion: totals.completion };
    } finally {
      this.#count(totals);
    }
  }

  /** The events of one choice. The first of all choices to begin says `accepted` for the request. */
  async *#choice(
    index: number,
    request: GenerationRequest,
    messages: AsyncIterable<JobMessage>,
    totals: AnswerTotals,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    for await (const message of messages) {
      if (message.type === 'started') {
        if (!totals.accepted) {
          totals.accepted = true;
          yield { type: 'accepted', replica: this.#replica, cachedTokens: message.cachedTokens };
        }
        if (request.output.echo && request.kind === 'completion' && typeof request.prompt === 'string') {
          yield { type: 'delta', index, text: request.prompt };
        }
      } else if (message.type === 'prefill') {
        yield { type: 'progress', stage: 'prefill', fraction: message.fraction };
      } else if (message.type === 'text') {
        yield { type: 'delta', index, text: message.text, tokenIds: message.tokenIds };
      } else if (message.type === 'done') {
        totals.add(message);
        yield { type: 'finish', index, reason: message.reason };
      }
    }
  }

  /** The events of an embedding or ranking job. */
  async *#score(messages: AsyncIterable<JobMessage>): AsyncGenerator<InferenceEvent, void, undefined> {
    yield { type: 'accepted', replica: this.#replica };
    const totals = new AnswerTotals();
    for await (const message of messages) {
      if (message.type === 'vector') {
        yield { type: 'vector', index: message.index, values: message.values };
      } else if (message.type === 'score') {
        yield { type: 'score', index: message.index, score: message.score };
      } else if (message.type === 'done') {
        totals.add(message);
        yield { type: 'usage', prompt: totals.prompt, cached: 0, completion: 0 };
      }
    }
    this.#count(totals);
  }

  get #replica(): string {
    return `${this.engine}/${this.name}`;
  }

  #count(totals: AnswerTotals): void {
    this.#promptTokens += totals.prompt;
    this.#cachedPromptTokens += totals.cached;
  }

  /** A process that was stopped on purpose did not get lost. */
  #explain(thrown: unknown): MeshnodeError {
    const error = asMeshnodeError(thrown, 'engine_error');
    return error.code === 'engine_lost' && this.#supervised.state.state === 'stopped'
      ? downError(this.name, this.#supervised.state)
      : error;
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

/** Seeds are 32-bit. */
const seedRange = 2 ** 32;

/** Tokens of one answer, all choices together; the prompt counts once. */
class AnswerTotals {
  accepted = false;
  prompt = 0;
  cached = 0;
  completion = 0;

  add(done: { promptTokens: number; cachedTokens: number; completionTokens: number }): void {
    this.prompt = done.promptTokens;
    this.cached = Math.max(this.cached, done.cachedTokens);
    this.completion += done.completionTokens;
  }
}

function generateCommand(request: GenerationRequest, seed: number): GenerateCommand {
  const { output } = request;
  return {
    input: request.kind === 'chat' ? { messages: request.messages } : { prompt: request.prompt },
    sampling: workerSampling(request, seed),
    stop: output.stop,
    format: output.format,
    ...(output.maxTokens === undefined ? {} : { maxTokens: output.maxTokens }),
  };
}

function workerSampling({ sampling }: GenerationRequest, seed: number): WorkerSampling {
  return {
    temperature: sampling.temperature ?? defaultSampling.temperature,
    topP: sampling.topP ?? defaultSampling.topP,
    topK: sampling.topK ?? defaultSampling.topK,
    minP: sampling.minP ?? defaultSampling.minP,
    repeatPenalty: sampling.repeatPenalty ?? defaultSampling.repeatPenalty,
    frequencyPenalty: sampling.frequencyPenalty ?? 0,
    presencePenalty: sampling.presencePenalty ?? 0,
    logitBias: sampling.logitBias ?? [],
    seed,
  };
}
