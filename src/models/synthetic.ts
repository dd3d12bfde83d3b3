// Writes the small GGUF models the project makes for itself: for its tests, and the embedding and
// reranking demo. Deterministic: equal kind and seed give equal bytes.
import { seededRandom } from '../util/random.ts';
import { type GgufContent, writeGguf } from './gguf-writer.ts';
import { chatModel } from './synthetic-chat.ts';
import { embeddingModel, rerankModel } from './synthetic-similarity.ts';

/** `dense` and `moe` chat; `embedding` gives vectors of texts; `rerank` scores documents for a query. */
export type SyntheticKind = 'dense' | 'moe' | 'embedding' | 'rerank';

/** Writes a tiny model (under 1 MiB). */
export async function writeSyntheticModel(path: string, kind: SyntheticKind, seed: number): Promise<void> {
  await writeGguf(path, syntheticModel(kind, seed));
}

function syntheticModel(kind: SyntheticKind, seed: number): GgufContent {
  const random = seededRandom(seed);
  switch (kind) {
    case 'dense':
    case 'moe':
      return chatModel(kind, random);
    case 'embedding':
      return embeddingModel(random);
    case 'rerank':
      return rerankModel(random);
  }
}
