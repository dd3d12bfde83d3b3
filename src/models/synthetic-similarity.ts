// Tiny models that compare texts by spelling: `embedding` gives a vector of a text, `rerank` the
// probability that a document answers a query. Weights are set by hand and at random, never trained.
import type { Random } from '../util/random.ts';
import type { GgufMetadata, GgufValue } from './gguf.ts';
import { arrayValue, float32Value, stringValue, uint32Value } from './gguf-values.ts';
import type { GgufContent, TensorContent } from './gguf-writer.ts';
import { Matrix, matrixTensor, plainNorm, vectorTensor } from './synthetic-matrix.ts';
import {
  type AttentionMatrices,
  amplitude,
  copyFromBefore,
  copyValues,
  dimension,
  emptyAttention,
  emptyFeedForward,
  type FeedForward,
  headLength,
  makeEmbedding,
  normWeight,
  ropeBase,
  steadyPair,
  writeFeatures,
} from './synthetic-text-layer.ts';
import { tokenizerMetadata } from './synthetic-tokenizer.ts';

/** llama.cpp's numbers for how a text's vectors become one. */
const pooling = { mean: 1, rank: 4 } as const;

interface Shape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly feedForward: number;
}

/** One layer of text features, pooled by their mean. */
export function embeddingModel(random: Random): GgufContent {
  const shape: Shape = { layers: 1, hidden: 160, heads: 2, feedForward: 256 };
  const embedding = makeEmbedding(shape.hidden, random);
  const attention = readBytesBefore(emptyAttention(shape.hidden, shape.heads));
  const feedForward = emptyFeedForward(shape.hidden, shape.feedForward);
  writeFeatures(feedForward, random, dimension.free, shape.hidden);
  // Mostly triples and pairs of bytes, a little of which bytes there are at all.
  const visible = new Float32Array(shape.hidden);
  visible.fill(0.2, dimension.current, dimension.previous);
  visible.fill(1, dimension.free);
  return {
    metadata: new Map([
      ...shapeMetadata('synthetic embedding', shape),
      ['qwen3.pooling_type', uint32Value(pooling.mean)],
      ...tokenizerMetadata(),
    ]),
    tensors: [
      matrixTensor('token_embd.weight', 'Q8_0', embedding),
      ...layerTensors(0, attention, feedForward),
      vectorTensor('output_norm.weight', visible),
    ],
  };
}

const rerankShape: Shape = { layers: 2, hidden: 160, heads: 4, feedForward: 96 };

/** Features of the reranker, and where it puts what it makes of them. */
const featureCount = 2 * headLength;
const rerankDimension = {
  /** Set after the first separator: in the document. */
  inDocument: 2,
  features: dimension.free,
  queryMean: dimension.free + featureCount,
  documentMean: dimension.free + 2 * featureCount,
  score: dimension.free + 3 * featureCount,
} as const;

/**
 * Raises the means far above the rest of the state: the norm before the product then divides it by their
 * lengths, much as a cosine does, so that long and short documents compare.
 */
const meanGain = 100;

/** The score's weight in the answer and the score at which the probability is one half. */
const answer = { gain: 6, threshold: 15 } as const;

/**
 * Reads `query, end-of-text, document, end-of-text`. The second layer's heads average the features of the
 * query and of the document, its feed-forward block multiplies the averages element by element, and the
 * last token's sum of products is the score.
 */
export function rerankModel(random: Random): GgufContent {
  const { hidden, heads, feedForward } = rerankShape;
  const embedding = makeEmbedding(hidden, random);
  const textAttention = readBytesBefore(emptyAttention(hidden, heads));
  noticeSeparator(textAttention, 2);
  const textFeatures = emptyFeedForward(hidden, feedForward);
  const { features } = rerankDimension;
  writeFeatures(textFeatures, random, features, features + featureCount);
  const head = new Matrix(2, hidden);
  head.set(0, rerankDimension.score, answer.gain);
  head.set(0, dimension.constant, (-answer.gain * answer.threshold) / amplitude);
  return {
    metadata: new Map<string, GgufValue>([
      ...shapeMetadata('synthetic rerank', rerankShape),
      ['qwen3.pooling_type', uint32Value(pooling.rank)],
      ['qwen3.classifier.output_labels', arrayValue('string', ['yes', 'no'])],
      ...tokenizerMetadata(),
      ['tokenizer.chat_template.rerank', stringValue('{query}<|endoftext|>{document}<|endoftext|>')],
    ]),
    tensors: [
      matrixTensor('token_embd.weight', 'Q8_0', embedding),
      ...layerTensors(0, textAttention, textFeatures),
      ...layerTensors(1, averageTexts(), multiplyAverages()),
      plainNorm('output_norm.weight', hidden),
      matrixTensor('cls.output.weight', 'F32', head),
    ],
  };
}

/** The first two heads bring the two bytes before. */
function readBytesBefore(attention: AttentionMatrices): AttentionMatrices {
  copyFromBefore(attention, 0, 1, dimension.previous);
  copyFromBefore(attention, 1, 2, dimension.beforePrevious);
  return attention;
}

/** Makes `head` set `inDocument` once a separator has been seen. */
function noticeSeparator({ query, key, value, out }: AttentionMatrices, head: number): void {
  const first = head * headLength;
  query.set(first + steadyPair, dimension.constant, 1);
  // The separator's key points one way, every other token's the other way.
  key.set(first + steadyPair, dimension.constant, -1);
  key.set(first + steadyPair, dimension.separator, 2);
  value.set(first, dimension.separator, 1);
  out.set(rerankDimension.inDocument, first, 1);
}

/** Two heads average the features of the query, two those of the document. */
function averageTexts(): AttentionMatrices {
  const { features, queryMean, documentMean } = rerankDimension;
  const attention = emptyAttention(rerankShape.hidden, rerankShape.heads);
  for (let half = 0; half < 2; half++) {
    const part = half * headLength;
    attendTo(attention, half, 'query');
    copyValues(attention, half, features + part, queryMean + part, meanGain);
    attendTo(attention, 2 + half, 'document');
    copyValues(attention, 2 + half, features + part, documentMean + part, meanGain);
  }
  return attention;
}

/** Makes `head` look at all tokens of one text alike, and at none of the other. */
function attendTo({ query, key }: AttentionMatrices, head: number, text: 'query' | 'document'): void {
  const row = head * headLength + steadyPair;
  const sign = text === 'query' ? 1 : -1;
  query.set(row, dimension.constant, 1);
  key.set(row, dimension.constant, sign);
  key.set(row, rerankDimension.inDocument, -2 * sign);
}

/** silu(a) b - silu(-a) b = a b: two units multiply one element of the averages. */
function multiplyAverages(): FeedForward {
  const { queryMean, documentMean, score } = rerankDimension;
  const block = emptyFeedForward(rerankShape.hidden, rerankShape.feedForward);
  for (let index = 0; index < featureCount; index++) {
    for (const [unit, sign] of [
      [2 * index, 1],
      [2 * index + 1, -1],
    ] as const) {
      block.gate.set(unit, queryMean + index, sign);
      block.up.set(unit, documentMean + index, 1);
      block.down.set(score, unit, sign);
    }
  }
  return block;
}

function layerTensors(
  layer: number,
  attention: AttentionMatrices,
  { gate, up, down }: FeedForward,
): TensorContent[] {
  const prefix = `blk.${layer}`;
  const hidden = gate.columns;
  const headNorm = new Float32Array(headLength).fill(normWeight);
  return [
    plainNorm(`${prefix}.attn_norm.weight`, hidden),
    matrixTensor(`${prefix}.attn_q.weight`, 'Q8_0', attention.query),
    matrixTensor(`${prefix}.attn_k.weight`, 'Q8_0', attention.key),
    matrixTensor(`${prefix}.attn_v.weight`, 'Q8_0', attention.value),
    vectorTensor(`${prefix}.attn_q_norm.weight`, headNorm),
    vectorTensor(`${prefix}.attn_k_norm.weight`, headNorm),
    matrixTensor(`${prefix}.attn_output.weight`, 'Q8_0', attention.out),
    plainNorm(`${prefix}.ffn_norm.weight`, hidden),
    matrixTensor(`${prefix}.ffn_gate.weight`, 'Q8_0', gate),
    matrixTensor(`${prefix}.ffn_up.weight`, 'Q8_0', up),
    matrixTensor(`${prefix}.ffn_down.weight`, 'Q8_0', down),
  ];
}

function shapeMetadata(name: string, shape: Shape): GgufMetadata {
  return new Map<string, GgufValue>([
    ['general.architecture', stringValue('qwen3')],
    ['general.type', stringValue('model')],
    ['general.name', stringValue(name)],
    ['general.file_type', uint32Value(7)],
    ['qwen3.context_length', uint32Value(2048)],
    ['qwen3.embedding_length', uint32Value(shape.hidden)],
    ['qwen3.block_count', uint32Value(shape.layers)],
    ['qwen3.feed_forward_length', uint32Value(shape.feedForward)],
    ['qwen3.attention.head_count', uint32Value(shape.heads)],
    ['qwen3.attention.head_count_kv', uint32Value(shape.heads)],
    ['qwen3.attention.key_length', uint32Value(headLength)],
    ['qwen3.attention.value_length', uint32Value(headLength)],
    ['qwen3.attention.layer_norm_rms_epsilon', float32Value(1e-6)],
    ['qwen3.rope.dimension_count', uint32Value(headLength)],
    ['qwen3.rope.freq_base', float32Value(ropeBase)],
  ]);
}
