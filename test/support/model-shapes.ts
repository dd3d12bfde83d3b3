// Tensor tables of known models, made by arithmetic from their published shapes: no file, no download.
import { type GgmlTypeName, type GgufTensor, type GgufValue, tensorBytes } from '../../src/models/gguf.ts';
import { uint32Value } from '../../src/models/gguf-values.ts';
import { type ModelDemand, modelDemand } from '../../src/models/model-demand.ts';
import type { ModelFiles } from '../../src/models/model-files.ts';

export interface ModelShape {
  readonly name: string;
  readonly layers: number;
  readonly embedding: number;
  readonly feedForward: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headLength: number;
  readonly vocabulary: number;
  /** The head is the token table. */
  readonly isTied?: boolean;
  readonly experts?: { readonly count: number; readonly used: number };
}

/** Shapes as their makers published them. */
export const modelShapes = {
  llama8b: {
    ...{ name: 'Llama 3.1 8B Q4', layers: 32, embedding: 4096, feedForward: 14_336 },
    ...{ heads: 32, kvHeads: 8, headLength: 128, vocabulary: 128_256 },
  },
  qwen32b: {
    ...{ name: 'Qwen2.5 32B Q4', layers: 64, embedding: 5120, feedForward: 27_648 },
    ...{ heads: 40, kvHeads: 8, headLength: 128, vocabulary: 152_064 },
  },
  llama70b: {
    ...{ name: 'Llama 3.3 70B Q4', layers: 80, embedding: 8192, feedForward: 28_672 },
    ...{ heads: 64, kvHeads: 8, headLength: 128, vocabulary: 128_256 },
  },
  qwen4bTied: {
    ...{ name: 'Qwen3 4B Q4', layers: 36, embedding: 2560, feedForward: 9728, isTied: true },
    ...{ heads: 32, kvHeads: 8, headLength: 128, vocabulary: 151_936 },
  },
  qwen235bMixture: {
    ...{ name: 'Qwen3 235B A22B Q4', layers: 94, embedding: 4096, feedForward: 1536 },
    ...{ heads: 64, kvHeads: 4, headLength: 128, vocabulary: 151_936, experts: { count: 128, used: 8 } },
  },
} as const satisfies Record<string, ModelShape>;

/** What a model of this shape asks for. */
export function demandOf(shape: ModelShape, contextTokens: number, slots = 1): ModelDemand {
  return modelDemand(modelOf(shape), { name: shape.name, contextTokens, parallel: slots });
}

/** The model in 4 bits, its head in 6, as the usual files have it. */
export function modelOf(shape: ModelShape): ModelFiles {
  const tensors = tensorsOf(shape);
  const file = {
    ...{ path: `${shape.name}.gguf`, version: 3, alignment: 32, dataOffset: 0 },
    metadata: new Map<string, GgufValue>([
      ['general.architecture', { type: 'string', value: 'shape' }],
      ...Object.entries({
        'shape.block_count': shape.layers,
        'shape.embedding_length': shape.embedding,
        'shape.attention.head_count': shape.heads,
        'shape.attention.head_count_kv': shape.kvHeads,
        'shape.attention.key_length': shape.headLength,
        'shape.attention.value_length': shape.headLength,
        'shape.vocab_size': shape.vocabulary,
        'shape.expert_count': shape.experts?.count ?? 0,
        'shape.expert_used_count': shape.experts?.used ?? 0,
      }).map(([key, value]): [string, GgufValue] => [key, uint32Value(value)]),
    ]),
    tensors,
    fileSizeBytes: tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0),
  };
  return { files: [file], sizeBytes: file.fileSizeBytes, tensorCount: tensors.length };
}

function tensorsOf(shape: ModelShape): GgufTensor[] {
  const { layers, embedding, vocabulary, isTied = false } = shape;
  return [
    tensor('token_embd.weight', 'Q4_K', [embedding, vocabulary]),
    ...Array.from({ length: layers }, (_, layer) => layerTensors(shape, layer)).flat(),
    tensor('output_norm.weight', 'F32', [embedding]),
    ...(isTied ? [] : [tensor('output.weight', 'Q6_K', [embedding, vocabulary])]),
  ];
}

function layerTensors(shape: ModelShape, layer: number): GgufTensor[] {
  const { embedding, feedForward, heads, kvHeads, headLength, experts } = shape;
  const matrix = (name: string, ...dimensions: number[]): GgufTensor =>
    tensor(`blk.${layer}.${name}.weight`, 'Q4_K', dimensions);
  const mixed = experts === undefined ? [] : [experts.count];
  const suffix = experts === undefined ? '' : '_exps';
  return [
    tensor(`blk.${layer}.attn_norm.weight`, 'F32', [embedding]),
    matrix('attn_q', embedding, heads * headLength),
    matrix('attn_k', embedding, kvHeads * headLength),
    matrix('attn_v', embedding, kvHeads * headLength),
    matrix('attn_output', heads * headLength, embedding),
    tensor(`blk.${layer}.ffn_norm.weight`, 'F32', [embedding]),
    ...(experts === undefined
      ? []
      : [tensor(`blk.${layer}.ffn_gate_inp.weight`, 'F32', [embedding, experts.count])]),
    matrix(`ffn_gate${suffix}`, embedding, feedForward, ...mixed),
    matrix(`ffn_up${suffix}`, embedding, feedForward, ...mixed),
    matrix(`ffn_down${suffix}`, feedForward, embedding, ...mixed),
  ];
}

function tensor(name: string, type: GgmlTypeName, dimensions: readonly number[]): GgufTensor {
  const sizeBytes = Number(tensorBytes(type, dimensions.map(BigInt)) ?? 0n);
  return { name, type, dimensions, offset: 0, sizeBytes };
}
