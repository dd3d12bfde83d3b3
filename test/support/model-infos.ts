// Models by their shape alone.
import type { ModelInfo } from '../../src/models/model-info.ts';

/** About an 8 B model at 4 bits: 128 KiB of cache a token. */
export const eightBillion: ModelInfo = {
  architecture: 'llama',
  parameterCount: 8e9,
  quantisation: 'Q4_K_M',
  weightsBytes: 4.9e9,
  layerCount: 32,
  contextTokens: 131_072,
  embeddingLength: 4096,
  kvHeadCounts: Array.from({ length: 32 }, () => 8),
  keyLength: 128,
  valueLength: 128,
  vocabularySize: 128_000,
  poolingType: 'none',
  uses: new Set(['chat', 'completion']),
};
