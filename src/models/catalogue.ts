// The names a model can be asked for without knowing where it lies, and the pure choice of a model for a
// machine. Sizes and contexts are approximate: what is true of a file is read from the file.
import { nodeLimits } from '../util/limits/node.ts';

/** A model with a name of its own. */
export interface CatalogueEntry {
  readonly name: string;
  /** Where it comes from: a file of the folder of shipped models, or a reference to the hub. */
  readonly source: { readonly file: string } | { readonly hub: string };
  readonly kind: 'chat' | 'embedding' | 'rerank';
  /** Bytes of the weights, approximate. */
  readonly sizeBytes: number;
  /** Tokens it was made for, approximate. */
  readonly contextTokens: number;
  /** Whether `suggestModel` may choose it. */
  readonly suggested: boolean;
}

const MB = 1e6;
const GB = 1e9;
const shipped = { contextTokens: 1024, suggested: false } as const;

/** Every named model. Those for chat stand in the order of what they can do, weakest first. */
export const catalogue: readonly CatalogueEntry[] = [
  { name: 'demo', source: { file: 'demo.gguf' }, kind: 'chat', sizeBytes: 1 * MB, ...shipped },
  { name: 'demo-moe', source: { file: 'demo-moe.gguf' }, kind: 'chat', sizeBytes: 1 * MB, ...shipped },
  {
    name: 'demo-embed',
    source: { file: 'demo-embed.gguf' },
    kind: 'embedding',
    sizeBytes: 1 * MB,
    ...shipped,
  },
  {
    name: 'demo-rerank',
    source: { file: 'demo-rerank.gguf' },
    kind: 'rerank',
    sizeBytes: 1 * MB,
    ...shipped,
  },

  chat('qwen3-0.6b', 'hf:Qwen/Qwen3-0.6B-GGUF:Q8_0', 639 * MB, 32_768, true),
  chat('llama-3.2-1b', 'hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M', 808 * MB, 131_072),
  chat('qwen3-1.7b', 'hf:Qwen/Qwen3-1.7B-GGUF:Q8_0', 1.83 * GB, 32_768, true),
  chat('llama-3.2-3b', 'hf:bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M', 2.02 * GB, 131_072),
  chat('gemma-3-4b', 'hf:ggml-org/gemma-3-4b-it-GGUF:Q4_K_M', 2.49 * GB, 131_072),
  chat('qwen3-4b', 'hf:Qwen/Qwen3-4B-GGUF:Q4_K_M', 2.5 * GB, 32_768, true),
  chat('qwen3-8b', 'hf:Qwen/Qwen3-8B-GGUF:Q4_K_M', 5.03 * GB, 32_768, true),
  chat('gemma-3-12b', 'hf:ggml-org/gemma-3-12b-it-GGUF:Q4_K_M', 7.3 * GB, 131_072),
  chat('qwen3-14b', 'hf:Qwen/Qwen3-14B-GGUF:Q4_K_M', 9 * GB, 32_768, true),
  chat('gpt-oss-20b', 'hf:ggml-org/gpt-oss-20b-GGUF:MXFP4', 12.1 * GB, 131_072, true),
  chat('qwen3-30b-a3b', 'hf:Qwen/Qwen3-30B-A3B-GGUF:Q4_K_M', 18.6 * GB, 32_768, true),
  chat('qwen3-32b', 'hf:Qwen/Qwen3-32B-GGUF:Q4_K_M', 19.8 * GB, 32_768),
  chat('llama-3.3-70b', 'hf:bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M', 42.5 * GB, 131_072),
  chat('gpt-oss-120b', 'hf:ggml-org/gpt-oss-120b-GGUF:MXFP4', 63.4 * GB, 131_072, true),

  other('embedding', 'nomic-embed-text', 'hf:nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0', 146 * MB, 2048),
  other('embedding', 'qwen3-embedding-0.6b', 'hf:Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0', 639 * MB, 32_768),
  other('rerank', 'bge-reranker-v2-m3', 'hf:gpustack/bge-reranker-v2-m3-GGUF:Q4_K_M', 438 * MB, 8192),
];

export const catalogueNames: readonly string[] = catalogue.map((entry) => entry.name);

/** The entry of a name, if there is one. */
export function findCatalogueEntry(name: string): CatalogueEntry | undefined {
  return catalogue.find((entry) => entry.name === name);
}

/** Memory beside the weights: context, compute buffers and the runtime of a small model. */
const runtimeBytes = 512 * 1024 * 1024;
/** Context and buffers grow with the model; a tenth of the weights covers a default context. */
const contextShare = 0.1;

/** Whether a model runs in this much memory with headroom, as far as its size tells. */
export function fitsMemory({ sizeBytes }: CatalogueEntry, usableMemoryBytes: number): boolean {
  const budgetBytes = usableMemoryBytes * (1 - nodeLimits.memoryHeadroom);
  return sizeBytes * (1 + contextShare) + runtimeBytes <= budgetBytes;
}

/**
 * The most capable model for chat that runs in `usableMemoryBytes` with headroom, for a node that was
 * told no model. Undefined if not even the smallest fits.
 */
export function suggestModel(
  entries: readonly CatalogueEntry[],
  usableMemoryBytes: number,
): CatalogueEntry | undefined {
  return entries.findLast(
    (entry) => entry.suggested && entry.kind === 'chat' && fitsMemory(entry, usableMemoryBytes),
  );
}

function chat(
  name: string,
  hub: string,
  sizeBytes: number,
  contextTokens: number,
  suggested = false,
): CatalogueEntry {
  return { name, source: { hub }, kind: 'chat', sizeBytes, contextTokens, suggested };
}

function other(
  kind: 'embedding' | 'rerank',
  name: string,
  hub: string,
  sizeBytes: number,
  contextTokens: number,
): CatalogueEntry {
  return { name, source: { hub }, kind, sizeBytes, contextTokens, suggested: false };
}
