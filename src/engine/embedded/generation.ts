// One generation in one sequence: the prompt into the cache, then token by token until the model ends, a
// limit or a stop sequence is met, or nobody wants it any more. Runs in the model's own process.
import type {
  LlamaContextSequence,
  LlamaGrammar,
  LlamaModel,
  SequenceEvaluateOptions,
  Token,
} from 'node-llama-cpp';
import { LlamaGrammarEvaluationState, TokenBias } from 'node-llama-cpp';
import { engineLimits } from '../../util/limits/engine.ts';
import { StopDetector, type TextPiece } from '../stop-detector.ts';
import type { CacheGate } from './cache-gate.ts';
import type { WorkerSampling } from './protocol.ts';
import { commonPrefix } from './slots.ts';
import { TokenTextDecoder } from './text-decoder.ts';

export interface GenerationTask {
  readonly prompt: readonly Token[];
  readonly sampling: WorkerSampling;
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly grammar: LlamaGrammar | undefined;
}

/** Where a generation reports to, and who can stop or slow it. */
export interface GenerationControl {
  readonly signal: AbortSignal;
  /** Milliseconds, monotonic. */
  readonly nowMs: () => number;
  /** Resolves at once, or when the reader has caught up. */
  readonly whenWanted: () => Promise<void>;
  readonly onStart: (cachedTokens: number) => void;
  readonly onPrefill: (fraction: number) => void;
  readonly onText: (piece: TextPiece) => void;
}

export interface GenerationResult {
  readonly reason: 'stop' | 'length';
  readonly cachedTokens: number;
  /** Tokens generated; the end-of-generation token does not count. */
  readonly completionTokens: number;
}

/** Tokens that count for repetition penalties, llama.cpp's own default. */
const penaltyWindow = 64;

/** Generates into `control.onText`. Rejects with the signal's reason when it aborts. `gate` is the context's. */
export async function generate(
  model: LlamaModel,
  sequence: LlamaContextSequence,
  task: GenerationTask,
  control: GenerationControl,
  gate: CacheGate,
): Promise<GenerationResult> {
  const cachedTokens = await reusePrefix(sequence, task.prompt, gate);
  control.signal.throwIfAborted();
  control.onStart(cachedTokens);
  await prefill(sequence, task.prompt, control, gate);

  const decoder = new TokenTextDecoder(
    (tokens, before) => model.detokenize(tokens as readonly Token[], false, before as readonly Token[]),
    task.prompt.slice(-penaltyWindow),
  );
  const stops = new StopDetector(task.stop);
  const room = sequence.contextSize - task.prompt.length;
  const most = Math.min(task.maxTokens ?? room, room);
  const generated: Token[] = [];

  const finish = (reason: GenerationResult['reason']): GenerationResult => {
    const rest = decoder.flush();
    const last = rest === undefined ? { stopped: false } : show(stops, rest, control);
    if (!last.stopped) {
      give(stops.flush(), control);
    }
    return { reason: last.stopped ? 'stop' : reason, cachedTokens, completionTokens: generated.length };
  };

  const tokens = sequence.evaluate(task.prompt.slice(-1), samplingOptions(model, task, generated));
  for await (const token of tokens) {
    control.signal.throwIfAborted();
    generated.push(token);
    const piece = decoder.push(token);
    if (piece !== undefined && show(stops, piece, control).stopped) {
      return { reason: 'stop', cachedTokens, completionTokens: generated.length };
    }
    if (generated.length >= most) {
      return finish('length');
    }
    await control.whenWanted();
    await gate.pass();
    control.signal.throwIfAborted();
  }
  return finish('stop');
}

/** Keeps what the cache shares with the prompt, drops the rest. Returns how many tokens need no computing. */
async function reusePrefix(
  sequence: LlamaContextSequence,
  prompt: readonly Token[],
  gate: CacheGate,
): Promise<number> {
  // The last token is always computed: its output is where the answer starts.
  const reusable = prompt.slice(0, commonPrefix(sequence.contextTokens, prompt.slice(0, -1)));
  if (reusable.length < sequence.nextTokenIndex) {
    await gate.change(() =>
      reusable.length === 0
        ? sequence.clearHistory()
        : sequence.adaptStateToTokens(reusable as Token[], false),
    );
  }
  return sequence.nextTokenIndex;
}

/**
 * Computes the prompt except its last token, in pieces sized by the measured speed: a cancel is noticed
 * between two pieces, and they bring the progress.
 */
async function prefill(
  sequence: LlamaContextSequence,
  prompt: readonly Token[],
  control: GenerationControl,
  gate: CacheGate,
): Promise<void> {
  const end = prompt.length - 1;
  let pieceTokens: number = engineLimits.prefillFirstTokens;
  while (sequence.nextTokenIndex < end) {
    await gate.pass();
    const start = sequence.nextTokenIndex;
    const startedMs = control.nowMs();
    await sequence.evaluateWithoutGeneratingNewTokens(
      prompt.slice(start, Math.min(end, start + pieceTokens)),
    );
    control.signal.throwIfAborted();
    const tookMs = Math.max(1, control.nowMs() - startedMs);
    pieceTokens = nextPiece(pieceTokens, tookMs);
    if (sequence.nextTokenIndex < end) {
      control.onPrefill(sequence.nextTokenIndex / end);
    }
  }
}

/** Tokens of the next prefill piece: as many as take engineLimits.prefillMs, at most four times the last. */
function nextPiece(tokens: number, tookMs: number): number {
  const fitting = Math.floor((tokens * engineLimits.prefillMs) / tookMs);
  return Math.max(1, Math.min(fitting, tokens * 4, engineLimits.prefillMostTokens));
}

function samplingOptions(
  model: LlamaModel,
  task: GenerationTask,
  generated: Token[],
): SequenceEvaluateOptions {
  const { sampling, grammar } = task;
  const penalised =
    sampling.repeatPenalty !== 1 || sampling.frequencyPenalty !== 0 || sampling.presencePenalty !== 0;
  return {
    temperature: sampling.temperature,
    topP: sampling.topP,
    topK: sampling.topK,
    minP: sampling.minP,
    seed: sampling.seed,
    ...(grammar === undefined
      ? {}
      : { grammarEvaluationState: new LlamaGrammarEvaluationState({ model, grammar }) }),
    ...(sampling.logitBias.length === 0 ? {} : { tokenBias: biasOf(model, sampling.logitBias) }),
    ...(penalised
      ? {
          repeatPenalty: {
            punishTokens: () => generated.slice(-penaltyWindow),
            maxPunishTokens: penaltyWindow,
            penalty: sampling.repeatPenalty,
            frequencyPenalty: sampling.frequencyPenalty,
            presencePenalty: sampling.presencePenalty,
          },
        }
      : {}),
  };
}

/** What the library's `TokenBias` holds, beneath its types. */
interface BiasTable {
  readonly _biases: Map<number, number>;
}

/** OpenAI's -100 bans a token. Finite, so that a grammar which allows no other still gets it. */
const banLogit = -1e4;

function biasOf(model: LlamaModel, logitBias: WorkerSampling['logitBias']): TokenBias {
  const bias = TokenBias.for(model);
  // The library's `set` passes over end-of-generation tokens: the very ones that callers ban for long answers.
  const table = (bias as unknown as BiasTable)._biases;
  for (const [tokenId, amount] of logitBias) {
    table.set(tokenId, amount <= -100 ? banLogit : amount);
  }
  return bias;
}

function show(stops: StopDetector, piece: TextPiece, control: GenerationControl): { stopped: boolean } {
  const { show: shown, stopped } = stops.push(piece);
  give(shown, control);
  return { stopped };
}

function give(piece: TextPiece, control: GenerationControl): void {
  if (piece.text !== '' || piece.tokenIds.length > 0) {
    control.onText(piece);
  }
}
