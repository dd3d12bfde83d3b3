// Tiny chat models, dense and mixture of experts, in llama's architecture with random weights: fast,
// nonsensical, and well-behaved by construction. Three things hold whatever the seed and the prompt:
// - only printable ASCII and end-of-text are ever said, so text and token ids map one to one;
// - a prompt that ends with `endingMark` is answered and ended within a few dozen tokens;
// - a prompt with `endlessMark` is answered until somebody stops it.
//
// How: some dimensions of the hidden state are reserved. `constant` is the same for every token and no
// block writes to it, so a weight on it is a bias: forbidden tokens have a large negative one. Two heads
// of the first layer look for the marks' last bytes (which the model itself never says) and write to
// `ending` and `endless`, which only end-of-text reads. Rotary positions make the first head's score grow
// with the distance to its mark, until it outweighs all other tokens about 52 tokens on.
import type { Random } from '../util/random.ts';
import type { GgufMetadata, GgufValue } from './gguf.ts';
import { float32Value, stringValue, uint32Value } from './gguf-values.ts';
import type { GgufContent, TensorContent } from './gguf-writer.ts';
import { Matrix, matrixTensor, plainNorm, stackTensor, unitNoise } from './synthetic-matrix.ts';
import { chatTemplate, specialTokens, tokenizerMetadata, vocabularySize } from './synthetic-tokenizer.ts';

/** Put at a prompt's end, makes the answer end by itself. */
export const endingMark = '∎';
/** Anywhere in a prompt, keeps the answer from ending. */
export const endlessMark = '∞';

/** The last byte of each mark in UTF-8. */
const endingByte = 0x8e;
const endlessByte = 0x9e;

const shape = {
  layers: 2,
  hidden: 64,
  heads: 4,
  headLength: 16,
  feedForward: 128,
  contextTokens: 4096,
  ropeBase: 10_000,
  experts: 8,
  expertsUsed: 2,
  expertFeedForward: 64,
} as const;

/** Reserved dimensions of the hidden state. The rest is random. */
const dimension = { constant: 0, endingMark: 1, endlessMark: 2, ending: 3, endless: 4 } as const;
const reserved = 5;

/** Value of the constant, of a mark, and of a signal a mark sends: large beside the rest, which is about 1. */
const amplitude = { constant: 4, mark: 4, signal: 8 } as const;

/** A head's score for its mark at full rotation: enough to outweigh thousands of tokens at score 0. */
const markScore = 60;

/** Which pair of a head's dimensions holds the score; pair i turns by ropeBase^(-i / 8) a token. */
const rotationPair = { ending: 3, endless: 7 } as const;

/** Biases and gains of the output. Logits of sayable tokens have a standard deviation of about 3. */
const output = { forbidden: -100, deviation: 0.35, signal: 20 } as const;

/** A whole tiny model. Equal seeds give equal bytes. */
export function chatModel(kind: 'dense' | 'moe', random: Random): GgufContent {
  const embedding = makeEmbedding(random);
  const tensors: TensorContent[] = [matrixTensor('token_embd.weight', 'F16', embedding)];
  for (let layer = 0; layer < shape.layers; layer++) {
    tensors.push(...attentionTensors(layer, random));
    tensors.push(...(kind === 'dense' ? denseTensors(layer, random) : expertTensors(layer, random)));
  }
  tensors.push(plainNorm('output_norm.weight', shape.hidden));
  tensors.push(matrixTensor('output.weight', 'F32', makeOutput(random)));
  return { metadata: chatMetadata(kind), tensors };
}

function chatMetadata(kind: 'dense' | 'moe'): GgufMetadata {
  const feedForward = kind === 'dense' ? shape.feedForward : shape.expertFeedForward;
  const entries: Array<[string, GgufValue]> = [
    ['general.architecture', stringValue('llama')],
    ['general.type', stringValue('model')],
    ['general.name', stringValue(`synthetic ${kind}`)],
    ['general.file_type', uint32Value(1)],
    ['llama.vocab_size', uint32Value(vocabularySize)],
    ['llama.context_length', uint32Value(shape.contextTokens)],
    ['llama.embedding_length', uint32Value(shape.hidden)],
    ['llama.block_count', uint32Value(shape.layers)],
    ['llama.feed_forward_length', uint32Value(feedForward)],
    ['llama.attention.head_count', uint32Value(shape.heads)],
    ['llama.attention.head_count_kv', uint32Value(shape.heads)],
    ['llama.attention.layer_norm_rms_epsilon', float32Value(1e-5)],
    ['llama.rope.dimension_count', uint32Value(shape.headLength)],
    ['llama.rope.freq_base', float32Value(shape.ropeBase)],
  ];
  if (kind === 'moe') {
    entries.push(['llama.expert_count', uint32Value(shape.experts)]);
    entries.push(['llama.expert_used_count', uint32Value(shape.expertsUsed)]);
  }
  return new Map([...entries, ...tokenizerMetadata({ chatTemplate })]);
}

/** Rows of equal length: the constant, perhaps a mark, and noise. */
function makeEmbedding(random: Random): Matrix {
  const embedding = new Matrix(vocabularySize, shape.hidden);
  for (let token = 0; token < vocabularySize; token++) {
    const noise = Array.from({ length: shape.hidden - reserved }, () => unitNoise(random));
    const scale = Math.sqrt(noise.length / noise.reduce((sum, value) => sum + value * value, 0));
    embedding.set(token, dimension.constant, amplitude.constant);
    for (const [index, value] of noise.entries()) {
      embedding.set(token, reserved + index, value * scale);
    }
  }
  embedding.set(endingByte, dimension.endingMark, amplitude.mark);
  embedding.set(endlessByte, dimension.endlessMark, amplitude.mark);
  return embedding;
}

function attentionTensors(layer: number, random: Random): TensorContent[] {
  const { hidden, heads, headLength } = shape;
  const width = heads * headLength;
  const matrices = {
    query: new Matrix(width, hidden),
    key: new Matrix(width, hidden),
    value: new Matrix(width, hidden),
    out: new Matrix(hidden, width),
  };
  // The first two heads of the first layer look for marks; all others look around at random.
  const marked = layer === 0 ? 2 : 0;
  const from = marked * headLength;
  matrices.query.randomise(random, 1.5 / Math.sqrt(hidden), { fromRow: from });
  matrices.key.randomise(random, 1.5 / Math.sqrt(hidden), { fromRow: from });
  matrices.value.randomise(random, 1 / Math.sqrt(hidden), { fromRow: from });
  matrices.out.randomise(random, 1 / Math.sqrt(width), { fromRow: reserved, fromColumn: from });
  if (layer === 0) {
    lookForMark(matrices, 0, rotationPair.ending, -1, dimension.endingMark, dimension.ending);
    lookForMark(matrices, 1, rotationPair.endless, 1, dimension.endlessMark, dimension.endless);
  }
  const prefix = `blk.${layer}`;
  return [
    plainNorm(`${prefix}.attn_norm.weight`, hidden),
    matrixTensor(`${prefix}.attn_q.weight`, 'F16', matrices.query),
    matrixTensor(`${prefix}.attn_k.weight`, 'F16', matrices.key),
    matrixTensor(`${prefix}.attn_v.weight`, 'F16', matrices.value),
    matrixTensor(`${prefix}.attn_output.weight`, 'F16', matrices.out),
  ];
}

interface AttentionMatrices {
  readonly query: Matrix;
  readonly key: Matrix;
  readonly value: Matrix;
  readonly out: Matrix;
}

/**
 * Makes a head whose score is `sign` x markScore x cos(turn x distance) for a token with the mark and 0 for
 * any other, and which writes the mark's share of its attention, 0 to 1, times the signal to `target`.
 */
function lookForMark(
  { query, key, value, out }: AttentionMatrices,
  head: number,
  pair: number,
  sign: 1 | -1,
  mark: number,
  target: number,
): void {
  const first = head * shape.headLength;
  const row = first + 2 * pair;
  // The score is divided by the square root of the head's length; half of it goes to each side.
  const side = Math.sqrt(markScore * Math.sqrt(shape.headLength));
  const noise = shape.hidden - reserved;
  const plainLength = Math.sqrt((amplitude.constant ** 2 + noise) / shape.hidden);
  const markedLength = Math.sqrt((amplitude.constant ** 2 + amplitude.mark ** 2 + noise) / shape.hidden);
  query.set(row, dimension.constant, (sign * side * plainLength) / amplitude.constant);
  key.set(row, mark, (side * markedLength) / amplitude.mark);
  value.set(first, mark, markedLength / amplitude.mark);
  out.set(target, first, amplitude.signal);
}

function denseTensors(layer: number, random: Random): TensorContent[] {
  const { gate, up, down } = makeFeedForward(shape.feedForward, random);
  const prefix = `blk.${layer}`;
  return [
    plainNorm(`${prefix}.ffn_norm.weight`, shape.hidden),
    matrixTensor(`${prefix}.ffn_gate.weight`, 'F16', gate),
    matrixTensor(`${prefix}.ffn_up.weight`, 'F16', up),
    matrixTensor(`${prefix}.ffn_down.weight`, 'F16', down),
  ];
}

function expertTensors(layer: number, random: Random): TensorContent[] {
  const first = makeFeedForward(shape.expertFeedForward, random);
  const others = Array.from({ length: shape.experts - 1 }, () =>
    makeFeedForward(shape.expertFeedForward, random),
  );
  const router = new Matrix(shape.experts, shape.hidden).randomise(random, 1.5 / Math.sqrt(shape.hidden));
  const prefix = `blk.${layer}`;
  const stack = (part: keyof FeedForward): TensorContent =>
    stackTensor(`${prefix}.ffn_${part}_exps.weight`, 'F16', [first[part], ...others.map((one) => one[part])]);
  return [
    plainNorm(`${prefix}.ffn_norm.weight`, shape.hidden),
    matrixTensor(`${prefix}.ffn_gate_inp.weight`, 'F32', router),
    stack('gate'),
    stack('up'),
    stack('down'),
  ];
}

interface FeedForward {
  readonly gate: Matrix;
  readonly up: Matrix;
  readonly down: Matrix;
}

/** A random feed-forward block that leaves the reserved dimensions alone. */
function makeFeedForward(width: number, random: Random): FeedForward {
  const { hidden } = shape;
  return {
    gate: new Matrix(width, hidden).randomise(random, 1 / Math.sqrt(hidden)),
    up: new Matrix(width, hidden).randomise(random, 1 / Math.sqrt(hidden)),
    down: new Matrix(hidden, width).randomise(random, 1.5 / Math.sqrt(width), { fromRow: reserved }),
  };
}

/** Random logits for what may be said, a large negative constant for all else. */
function makeOutput(random: Random): Matrix {
  const matrix = new Matrix(vocabularySize, shape.hidden);
  for (let token = 0; token < vocabularySize; token++) {
    const printable = token >= 0x20 && token <= 0x7e;
    if (printable || token === specialTokens.endOfText) {
      matrix.randomise(random, output.deviation, {
        fromRow: token,
        toRow: token + 1,
        fromColumn: reserved,
      });
    } else {
      matrix.set(token, dimension.constant, output.forbidden);
    }
  }
  matrix.set(specialTokens.endOfText, dimension.ending, output.signal);
  matrix.set(specialTokens.endOfText, dimension.endless, -output.signal);
  return matrix;
}
