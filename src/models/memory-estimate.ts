// How much memory a model will take, before it is loaded. Pure arithmetic from the model's shape; errs on
// the large side, since a model that does not fit costs more than a context that could have been longer.
import { kvBytesPerToken, type ModelInfo } from './model-info.ts';

const MiB = 1024 * 1024;

export interface MemoryDemand {
  /** Tokens of one sequence, prompt and answer together. */
  readonly contextTokens: number;
  /** Sequences held at once. */
  readonly parallel: number;
  /** Bytes of one element of the key-value cache: 2 for F16 (the default), about 1.06 for Q8_0. */
  readonly kvElementBytes?: number;
}

export interface MemoryEstimate {
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly computeBytes: number;
  readonly overheadBytes: number;
  readonly totalBytes: number;
}

/** Tokens llama.cpp pushes through the graph at once (its `n_ubatch`). */
const batchTokens = 512;

/** Vectors of the embedding length that are alive at the widest point of a layer: input, residual, norm, q, k and v, output. */
const liveVectors = 8;

/** The process itself: runtime, libraries, tokenizer tables. Measured at 60 to 90 MiB. */
export const processBytes = 96 * MiB;

/**
 * Estimates the memory of a loaded model:
 * - weights: the bytes of all tensors;
 * - key-value cache: context x sequences x layers x kv heads x (key + value length) x element size. Sliding
 *   windows and latent attention keep less; they are counted in full;
 * - compute: for a batch of tokens the live vectors of a layer, the logits and the attention mask over all
 *   cached tokens, as 32-bit floats;
 * - overhead: the process.
 */
export function estimateMemory(info: ModelInfo, demand: MemoryDemand): MemoryEstimate {
  const cachedTokens = demand.contextTokens * demand.parallel;
  const kvBytes = Math.ceil(cachedTokens * kvBytesPerToken(info, demand.kvElementBytes ?? 2));
  const { layersBytes, outputBytes } = computeMemory(info, cachedTokens);
  const computeBytes = layersBytes + outputBytes;
  return {
    weightsBytes: info.weightsBytes,
    kvBytes,
    computeBytes,
    overheadBytes: processBytes,
    totalBytes: info.weightsBytes + kvBytes + computeBytes + processBytes,
  };
}

/**
 * Bytes of what is alive while a batch is computed: `layersBytes` on every device that holds layers (live vectors and
 * mask), `outputBytes` more on the one that holds the output (logits).
 */
export function computeMemory(
  info: ModelInfo,
  cachedTokens: number,
): { readonly layersBytes: number; readonly outputBytes: number } {
  const batch = Math.min(batchTokens, cachedTokens);
  return {
    layersBytes: batch * (liveVectors * info.embeddingLength + cachedTokens) * 4,
    outputBytes: batch * (info.vocabularySize ?? 0) * 4,
  };
}
