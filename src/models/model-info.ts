// What a model is, from its metadata and tensor table: shape, tokenizer, what it can be asked for. Every
// value may be absent in somebody's file; nothing here decides whether a model is served.
import { ggufLimits } from '../util/limits/models.ts';
import { elementCount, type GgmlTypeName, type Gguf, type GgufMetadata, type GgufTensor } from './gguf.ts';
import {
  metadataArray,
  metadataBoolean,
  metadataCount,
  metadataCounts,
  metadataString,
} from './gguf-values.ts';
import type { ModelFiles } from './model-files.ts';

/** What a model can be asked for; a subset of the inference contract's kinds. */
export type ModelUse = 'chat' | 'completion' | 'embedding' | 'rerank';

/** How the vectors of a text's tokens become one. */
export type PoolingType = 'none' | 'mean' | 'cls' | 'last' | 'rank';

export interface ModelInfo {
  /** E.g. `llama`, `qwen3moe`, `bert`. */
  readonly architecture: string;
  readonly name?: string;
  /** Parameters, counted from the tensors. */
  readonly parameterCount: number;
  /** E.g. `Q4_K_M`; from the file's own label, else the type most parameters have. */
  readonly quantisation: string;
  /** Bytes of all tensors. */
  readonly weightsBytes: number;
  readonly layerCount: number;
  /** Tokens of context the model was trained for. */
  readonly contextTokens?: number;
  readonly embeddingLength: number;
  readonly headCount?: number;
  /** Key-value heads, one entry per layer; 0 where a layer keeps no keys (recurrent ones). */
  readonly kvHeadCounts: readonly number[];
  /** Elements of a key and of a value, per head. */
  readonly keyLength: number;
  readonly valueLength: number;
  /** Experts per layer and how many each token uses, for a mixture of experts. */
  readonly experts?: { readonly count: number; readonly used: number };
  readonly vocabularySize?: number;
  /** Jinja source. */
  readonly chatTemplate?: string;
  readonly poolingType: PoolingType;
  readonly uses: ReadonlySet<ModelUse>;
}

const poolingTypes: readonly PoolingType[] = ['none', 'mean', 'cls', 'last', 'rank'];

/** Architectures that only encode: they have no next token to give. */
const encoderArchitectures: ReadonlySet<string> = new Set([
  'bert',
  'eurobert',
  'gemma-embedding',
  'jina-bert-v2',
  'jina-bert-v3',
  'llama-embed',
  'modern-bert',
  'neo-bert',
  'nomic-bert',
  'nomic-bert-moe',
  't5encoder',
]);

/** llama.cpp's names of `general.file_type`. */
const fileTypes: Readonly<Record<number, string>> = {
  0: 'F32',
  1: 'F16',
  2: 'Q4_0',
  3: 'Q4_1',
  7: 'Q8_0',
  8: 'Q5_0',
  9: 'Q5_1',
  10: 'Q2_K',
  11: 'Q3_K_S',
  12: 'Q3_K_M',
  13: 'Q3_K_L',
  14: 'Q4_K_S',
  15: 'Q4_K_M',
  16: 'Q5_K_S',
  17: 'Q5_K_M',
  18: 'Q6_K',
  19: 'IQ2_XXS',
  20: 'IQ2_XS',
  21: 'Q2_K_S',
  22: 'IQ3_XS',
  23: 'IQ3_XXS',
  24: 'IQ1_S',
  25: 'IQ4_NL',
  26: 'IQ3_S',
  27: 'IQ3_M',
  28: 'IQ2_S',
  29: 'IQ2_M',
  30: 'IQ4_XS',
  31: 'IQ1_M',
  32: 'BF16',
  36: 'TQ1_0',
  37: 'TQ2_0',
  38: 'MXFP4',
  39: 'NVFP4',
  40: 'Q1_0',
  41: 'Q2_0',
};

/** Describes a model from its files. The first file's metadata counts. */
export function describeModel(model: ModelFiles): ModelInfo {
  const [first] = model.files;
  return describeGguf({ ...first, tensors: model.files.flatMap((file) => file.tensors) });
}

/** Describes a model from one file that holds all its tensors. */
export function describeGguf({ metadata, tensors }: Pick<Gguf, 'metadata' | 'tensors'>): ModelInfo {
  const architecture = metadataString(metadata, 'general.architecture') ?? 'unknown';
  const shape = readShape(metadata, architecture);
  const name = metadataString(metadata, 'general.name');
  const vocabularySize = readVocabularySize(metadata, architecture);
  const chatTemplate = metadataString(metadata, 'tokenizer.chat_template');
  const poolingType = poolingTypes[metadataCount(metadata, `${architecture}.pooling_type`) ?? 0] ?? 'none';
  return {
    architecture,
    ...(name !== undefined && { name }),
    parameterCount: tensors.reduce((sum, tensor) => sum + elementCount(tensor.dimensions), 0),
    quantisation: quantisationLabel(metadata, tensors),
    weightsBytes: tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0),
    ...shape,
    ...(vocabularySize !== undefined && { vocabularySize }),
    ...(chatTemplate !== undefined && { chatTemplate }),
    poolingType,
    uses: readUses(metadata, architecture, poolingType),
  };
}

/** Bytes that one token takes in the key-value cache, all layers together; 2 bytes an element are F16. */
export function kvBytesPerToken(info: ModelInfo, bytesPerElement = 2): number {
  return kvBytesPerTokenOfLayers(info, bytesPerElement).reduce((sum, bytes) => sum + bytes, 0);
}

/** Bytes that one token takes in the key-value cache of each layer. */
export function kvBytesPerTokenOfLayers(info: ModelInfo, bytesPerElement = 2): number[] {
  const headBytes = (info.keyLength + info.valueLength) * bytesPerElement;
  return info.kvHeadCounts.map((heads) => heads * headBytes);
}

type Shape = Pick<
  ModelInfo,
  | 'layerCount'
  | 'contextTokens'
  | 'embeddingLength'
  | 'headCount'
  | 'kvHeadCounts'
  | 'keyLength'
  | 'valueLength'
  | 'experts'
>;

function readShape(metadata: GgufMetadata, architecture: string): Shape {
  const count = (key: string): number | undefined => metadataCount(metadata, `${architecture}.${key}`);
  const layerCount = Math.min(count('block_count') ?? 0, ggufLimits.layers);
  const embeddingLength = count('embedding_length') ?? 0;
  const contextTokens = count('context_length');
  const headCounts = metadataCounts(metadata, `${architecture}.attention.head_count`);
  const headCount = headCounts === undefined ? undefined : Math.max(0, ...headCounts);
  const kvHeads = metadataCounts(metadata, `${architecture}.attention.head_count_kv`) ?? headCounts ?? [0];
  const headLength = headCount ? Math.floor(embeddingLength / headCount) : 0;
  const experts = readExperts(count('expert_count'), count('expert_used_count'));
  return {
    layerCount,
    embeddingLength,
    ...(contextTokens !== undefined && { contextTokens }),
    ...(headCount !== undefined && { headCount }),
    kvHeadCounts: Array.from({ length: layerCount }, (_, layer) => kvHeads[layer] ?? kvHeads.at(-1) ?? 0),
    keyLength: count('attention.key_length') ?? headLength,
    valueLength: count('attention.value_length') ?? headLength,
    ...(experts !== undefined && { experts }),
  };
}

function readExperts(count = 0, used = 0): ModelInfo['experts'] {
  return count > 0 ? { count, used } : undefined;
}

function readVocabularySize(metadata: GgufMetadata, architecture: string): number | undefined {
  return (
    metadataArray(metadata, 'tokenizer.ggml.tokens')?.count ??
    metadataCount(metadata, `${architecture}.vocab_size`)
  );
}

function quantisationLabel(metadata: GgufMetadata, tensors: readonly GgufTensor[]): string {
  const fileType = metadataCount(metadata, 'general.file_type');
  const label = fileType === undefined ? undefined : fileTypes[fileType];
  return label ?? commonestType(tensors) ?? 'unknown';
}

/** The type that most parameters are stored in. */
function commonestType(tensors: readonly GgufTensor[]): GgmlTypeName | undefined {
  const elements = new Map<GgmlTypeName, number>();
  for (const { type, dimensions } of tensors) {
    elements.set(type, (elements.get(type) ?? 0) + elementCount(dimensions));
  }
  return [...elements].sort(([, one], [, other]) => other - one)[0]?.[0];
}

function readUses(
  metadata: GgufMetadata,
  architecture: string,
  poolingType: PoolingType,
): ReadonlySet<ModelUse> {
  // `general.type` tells adapters, projectors and the like, which are no models by themselves.
  if ((metadataString(metadata, 'general.type') ?? 'model') !== 'model' || architecture === 'clip') {
    return new Set();
  }
  if (poolingType === 'rank') {
    return new Set(['rerank']);
  }
  const causal = metadataBoolean(metadata, `${architecture}.attention.causal`) ?? true;
  if (poolingType !== 'none' || !causal || encoderArchitectures.has(architecture)) {
    return new Set(['embedding']);
  }
  return metadataString(metadata, 'tokenizer.chat_template') === undefined
    ? new Set(['completion'])
    : new Set(['chat', 'completion']);
}
