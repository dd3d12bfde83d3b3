// One model in one node-llama-cpp runtime: loading it, and the jobs it can do. Runs in the model's own
// process; knows nothing of messages.
import type {
  Llama,
  LlamaContextSequence,
  LlamaEmbeddingContext,
  LlamaGrammar,
  LlamaModel,
  LlamaRankingContext,
  Token,
} from 'node-llama-cpp';
import { getLlama, InsufficientMemoryError } from 'node-llama-cpp';
import type { OutputFormat, TextOrTokens } from '../../inference/request.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { assertBearableGrammar } from '../grammar-bounds.ts';
import { CacheGate } from './cache-gate.ts';
import { ChatTemplate, fallbackTemplate } from './chat-template.ts';
import { type GenerationControl, type GenerationResult, generate } from './generation.ts';
import type { GenerateCommand, LoadCommand } from './protocol.ts';
import { anyObject, toGrammarSchema } from './schema-grammar.ts';
import { Slots } from './slots.ts';

export type RuntimeKind = 'chat' | 'completion' | 'embedding' | 'rerank';

/** A device as the native runtime sees it. */
export interface RuntimeDevice {
  readonly name: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** llama.cpp's pooling types that turn a model into something other than a generator. */
const poolingNone = 0;
const poolingRank = 4;

/** What llama.cpp complained about last: its own errors say less than its log. */
let lastComplaint: string | undefined;

/** Starts the native runtime; never compiles anything. Rejects with `engine_missing` where no prebuilt one fits. */
export async function startRuntime(): Promise<Llama> {
  try {
    return await getLlama({
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      // The node's log takes the process's standard error; llama.cpp's own chatter stays out of it.
      logger: (level, message) => {
        if (level === 'error' || level === 'fatal') {
          lastComplaint ??= message.trim();
          process.stderr.write(`${message.trimEnd()}\n`);
        }
      },
    });
  } catch (cause) {
    throw new MeshnodeError('engine_missing', 'No prebuilt llama.cpp runtime works on this machine.', {
      cause,
    });
  }
}

/** The GPUs the runtime can use; empty on a machine that computes on its CPU. */
export async function listDevices(llama: Llama): Promise<RuntimeDevice[]> {
  const names = await llama.getGpuDeviceNames();
  if (names.length === 0) {
    return [];
  }
  const { total, free } = await llama.getVramState();
  // The runtime tells memory only as a sum over its devices.
  return [{ name: names.join(' + '), totalBytes: total, freeBytes: free }];
}

/** A loaded model. */
export class Runtime {
  readonly kinds: readonly RuntimeKind[];
  readonly contextTokens: number;
  readonly slotCount: number;
  readonly #llama: Llama;
  readonly #model: LlamaModel;
  readonly #work: Work;
  readonly #template: ChatTemplate | undefined;
  readonly #gate = new CacheGate();
  /** Characters of the longest token. */
  readonly #longestToken: number;
  readonly #grammars = new Map<string, LlamaGrammar>();

  /** Loads a model. Rejects with `model_too_large` or `model_failed`. */
  static async load(
    llama: Llama,
    command: LoadCommand,
    onFraction: (fraction: number) => void,
  ): Promise<Runtime> {
    if (command.maxMemoryBytes !== undefined && llama.gpu !== false) {
      await llama.setVramCap(command.maxMemoryBytes);
    }
    try {
      const model = await llama.loadModel({ modelPath: command.path, onLoadProgress: onFraction });
      const work = await createWork(model, command);
      return new Runtime(llama, model, work);
    } catch (cause) {
      throw loadFailure(cause);
    }
  }

  private constructor(llama: Llama, model: LlamaModel, work: Work) {
    this.#llama = llama;
    this.#model = model;
    this.#work = work;
    this.contextTokens = work.contextTokens;
    this.#longestToken = longestToken(model);
    this.slotCount = work.kind === 'generate' ? work.sequences : 1;
    if (work.kind !== 'generate') {
      this.kinds = [work.kind === 'embed' ? 'embedding' : 'rerank'];
      return;
    }
    this.kinds = ['chat', 'completion'];
    this.#template = new ChatTemplate(model.fileInfo.metadata.tokenizer?.chat_template ?? fallbackTemplate, {
      bos: model.tokens.bosString ?? '',
      eos: model.tokens.eosString ?? '',
    });
  }

  get continues(): boolean {
    return this.#template?.continues ?? false;
  }

  /** Token ids of a plain text: nothing in it counts as a special token. */
  tokenize(text: string): number[] {
    return this.#model.tokenize(text);
  }

  /** Refuses by its length what cannot fit, because tokenizing stops everything else in this process. */
  #assertMayFit(text: string): void {
    if (text.length > this.contextTokens * this.#longestToken) {
      throw new MeshnodeError(
        'context_length_exceeded',
        `The input has ${text.length} characters; this model is served with a context of ${this.contextTokens} tokens.`,
      );
    }
  }

  /** Generates an answer; see generation.ts. `onPrompt` tells the length of the prompt before anything is computed. */
  async generate(
    command: GenerateCommand,
    control: GenerationControl,
    onPrompt: (tokens: number) => void,
  ): Promise<GenerationResult> {
    if (this.#work.kind !== 'generate') {
      throw new MeshnodeError('model_unsupported', 'This model does not generate text.');
    }
    const prompt = this.#promptTokens(command.input);
    onPrompt(prompt.length);
    if (prompt.length >= this.contextTokens) {
      throw contextExceeded(prompt.length, this.contextTokens);
    }
    const grammar = await this.#grammar(command.format);
    const task = {
      prompt,
      sampling: command.sampling,
      maxTokens: command.maxTokens,
      stop: command.stop,
      grammar,
    };
    return this.#work.slots.with(prompt, control.signal, (sequence) =>
      generate(this.#model, sequence, task, control, this.#gate),
    );
  }

  /** The unit-length embedding of one input, cut to `dimensions` if given, and how many tokens it had. */
  async embed(
    input: TextOrTokens,
    dimensions?: number,
  ): Promise<{ values: Float32Array<ArrayBuffer>; tokens: number }> {
    if (this.#work.kind !== 'embed') {
      throw new MeshnodeError('model_unsupported', 'This model makes no embeddings.');
    }
    const tokens = this.#inputTokens(input);
    // Special tokens at both ends come on top.
    if (tokens.length + 2 >= this.contextTokens) {
      throw contextExceeded(tokens.length, this.contextTokens);
    }
    const { vector } = await this.#work.context.getEmbeddingFor(tokens);
    if (dimensions !== undefined && dimensions > vector.length) {
      const message = `${dimensions} dimensions were asked for; this model has ${vector.length}.`;
      throw new MeshnodeError('invalid_request', message, { param: 'dimensions' });
    }
    return { values: unitLength(vector.slice(0, dimensions)), tokens: tokens.length };
  }

  /** How well a document answers the query, 0 to 1, and how many tokens both had. */
  async rank(query: string, document: string): Promise<{ score: number; tokens: number }> {
    if (this.#work.kind !== 'rank') {
      throw new MeshnodeError('model_unsupported', 'This model does not rank documents.');
    }
    this.#assertMayFit(query + document);
    const tokens = this.#work.context.calculateInputLength(query, document);
    if (tokens >= this.contextTokens) {
      throw contextExceeded(tokens, this.contextTokens);
    }
    return { score: await this.#work.context.rank(query, document), tokens };
  }

  #promptTokens(input: GenerateCommand['input']): Token[] {
    if ('messages' in input) {
      const text = this.#template?.render(input.messages) ?? '';
      this.#assertMayFit(text);
      const tokens = this.#model.tokenize(text, true);
      const { bos, bosString, shouldPrependBosToken } = this.#model.tokens;
      const hasBos = bosString !== null && text.startsWith(bosString);
      return bos !== null && shouldPrependBosToken && !hasBos ? [bos, ...tokens] : tokens;
    }
    const tokens = this.#inputTokens(input.prompt);
    const { bos, shouldPrependBosToken } = this.#model.tokens;
    const bare =
      typeof input.prompt === 'string' && shouldPrependBosToken && bos !== null ? [bos, ...tokens] : tokens;
    if (bare.length > 0) {
      return bare;
    }
    if (bos === null) {
      throw new MeshnodeError('invalid_request', 'The prompt is empty.', { param: 'prompt' });
    }
    return [bos];
  }

  #inputTokens(input: TextOrTokens): Token[] {
    if (typeof input === 'string') {
      this.#assertMayFit(input);
      return this.#model.tokenize(input);
    }
    const size = this.#model.fileInfo.metadata.tokenizer.ggml.tokens.length;
    const wrong = input.find((token) => token >= size);
    if (wrong !== undefined) {
      throw new MeshnodeError('invalid_request', `Token ${wrong} does not exist: the model has ${size}.`, {
        param: 'prompt',
      });
    }
    return [...input] as Token[];
  }

  async #grammar(format: OutputFormat): Promise<LlamaGrammar | undefined> {
    if (format.type === 'text') {
      return undefined;
    }
    const key = JSON.stringify(format);
    const known = this.#grammars.get(key);
    if (known !== undefined) {
      return known;
    }
    const grammar = await this.#createGrammar(format);
    if (this.#grammars.size >= engineLimits.grammars) {
      this.#grammars.clear();
    }
    this.#grammars.set(key, grammar);
    return grammar;
  }

  async #createGrammar(format: Exclude<OutputFormat, { type: 'text' }>): Promise<LlamaGrammar> {
    try {
      if (format.type === 'grammar') {
        assertBearableGrammar(format.grammar);
        return await this.#llama.createGrammar({ grammar: format.grammar });
      }
      const schema = format.type === 'json' ? anyObject : toGrammarSchema(format.schema);
      // The library's generic type follows the literals of a schema; of ours they are known at run time only.
      const { grammar } = await this.#llama.createGrammarForJsonSchema(schema as { type: 'object' });
      return await this.#llama.createGrammar({ grammar: corrected(grammar) });
    } catch (cause) {
      if (cause instanceof MeshnodeError) {
        throw cause;
      }
      throw new MeshnodeError('invalid_schema', 'No grammar can be made of the response format.', {
        param: format.type === 'grammar' ? 'grammar' : 'response_format',
        cause,
      });
    }
  }
}

/** What a model is used for: a context of the kind its pooling asks for. */
type Work =
  | { kind: 'generate'; slots: Slots<LlamaContextSequence>; sequences: number; contextTokens: number }
  | { kind: 'embed'; context: LlamaEmbeddingContext; contextTokens: number }
  | { kind: 'rank'; context: LlamaRankingContext; contextTokens: number };

async function createWork(model: LlamaModel, command: LoadCommand): Promise<Work> {
  const most = Math.max(engineLimits.minContext, model.trainContextSize);
  const contextTokens = Math.min(command.contextTokens ?? engineLimits.defaultContext, most);
  const { threads } = command;
  const pooling = poolingOf(model);
  if (pooling === poolingRank) {
    const context = await model.createRankingContext({ contextSize: contextTokens, threads });
    return { kind: 'rank', context, contextTokens };
  }
  if (pooling !== poolingNone) {
    const context = await model.createEmbeddingContext({
      contextSize: contextTokens,
      batchSize: contextTokens,
      threads,
    });
    return { kind: 'embed', context, contextTokens };
  }
  const context = await model.createContext({
    sequences: command.parallel,
    // Asked for, it is a demand; else less will do when memory is short.
    contextSize:
      command.contextTokens === undefined
        ? { min: engineLimits.minContext, max: contextTokens }
        : contextTokens,
    threads,
  });
  const sequences = Array.from({ length: command.parallel }, () => context.getSequence());
  return {
    kind: 'generate',
    slots: new Slots(sequences),
    sequences: sequences.length,
    contextTokens: context.contextSize,
  };
}

function longestToken(model: LlamaModel): number {
  let longest = 1;
  for (const token of model.fileInfo.metadata.tokenizer.ggml.tokens) {
    longest = Math.max(longest, token.length);
  }
  return longest;
}

function poolingOf(model: LlamaModel): number {
  const { architecture } = model.fileInfo.metadata.general;
  const own = (model.fileInfo.metadata as unknown as Record<string, { pooling_type?: number } | undefined>)[
    architecture
  ];
  return own?.pooling_type ?? poolingNone;
}

/**
 * Two corrections of the grammars that node-llama-cpp makes. It lets an answer end only after four line
 * breaks, for its own chat loop to cut there: without them the end of the value is the end of the answer.
 * And it allows exponents of 16 digits, which no reader of JSON takes for a finite number.
 */
function corrected(grammar: string): string {
  const padding = ' "\\n\\n\\n\\n" [\\n]*';
  const exponent = ' ([eE] [-+]? ("0" | [1-9] [0-9]{0,15}))?';
  const [root = '', ...rules] = grammar.split('\n');
  if (!root.startsWith('root ::= ') || !root.endsWith(padding)) {
    throw new MeshnodeError('internal', 'The runtime makes grammars of an unknown form.');
  }
  return [root.slice(0, -padding.length), ...rules].join('\n').replaceAll(exponent, '');
}

function unitLength(vector: readonly number[]): Float32Array<ArrayBuffer> {
  const length = Math.hypot(...vector);
  return Float32Array.from(vector, (value) => (length === 0 ? 0 : value / length));
}

function contextExceeded(tokens: number, contextTokens: number): MeshnodeError {
  return new MeshnodeError(
    'context_length_exceeded',
    `The input has ${tokens} tokens; this model is served with a context of ${contextTokens}.`,
  );
}

function loadFailure(cause: unknown): MeshnodeError {
  if (cause instanceof MeshnodeError) {
    return cause;
  }
  if (cause instanceof InsufficientMemoryError) {
    return new MeshnodeError(
      'model_too_large',
      'There is not enough free memory for the model and its context.',
      {
        cause,
      },
    );
  }
  const said = lastComplaint ?? (cause instanceof Error ? cause.message : String(cause));
  const reason = said.split('\n')[0]?.slice(0, 300);
  return new MeshnodeError('model_failed', `llama.cpp could not load the model: ${reason}`, { cause });
}
