// Models with the shapes of real ones and random weights, for timing: an engine runs them at the speed of
// the real thing. Streamed to disk block by block from a pool of random blocks, so that size costs no memory.
import { type Random, seededRandom } from '../util/random.ts';
import { elementCount, type GgufMetadata, type GgufValue, ggmlTypes } from './gguf.ts';
import { float32Value, stringValue, uint32Value } from './gguf-values.ts';
import { type GgufContent, type TensorContent, writeGguf } from './gguf-writer.ts';
import { plainNorm } from './synthetic-matrix.ts';
import { encodeTensor, toFloat16 } from './synthetic-quantise.ts';
import { chatTemplate, specialTokens, tokenizerMetadata } from './synthetic-tokenizer.ts';

export interface ModelShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly feedForward: number;
  /**
   * Embedding and output are separate here, so where the real model shares one matrix the vocabulary is
   * half of its: file size and parameters come out the same.
   */
  readonly vocabulary: number;
}

/** Shapes by their number of parameters, after common models of that size. */
export const modelShapes = {
  '0.5B': { layers: 24, hidden: 896, heads: 14, kvHeads: 2, feedForward: 4864, vocabulary: 75_968 },
  '0.7B': { layers: 24, hidden: 1536, heads: 24, kvHeads: 8, feedForward: 4096, vocabulary: 32_000 },
  '1B': { layers: 16, hidden: 2048, heads: 32, kvHeads: 8, feedForward: 8192, vocabulary: 64_128 },
  '3B': { layers: 28, hidden: 3072, heads: 24, kvHeads: 8, feedForward: 8192, vocabulary: 64_128 },
  '8B': { layers: 32, hidden: 4096, heads: 32, kvHeads: 8, feedForward: 14_336, vocabulary: 128_256 },
} as const satisfies Record<string, ModelShape>;

export type ModelShapeName = keyof typeof modelShapes;

/** Writes a model of a real shape, Q4_0: half a byte a parameter. Throws the signal's reason. */
export async function writeSyntheticShape(
  path: string,
  size: ModelShapeName,
  seed: number,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  await writeGguf(path, shapedModel(`synthetic ${size}`, modelShapes[size], seed), options);
}

/** A model of any shape; lengths must be multiples of 32. Says only printable ASCII and end-of-text. */
export function shapedModel(name: string, shape: ModelShape, seed: number): GgufContent {
  const random = seededRandom(seed);
  const pool = new BlockPool(random);
  const { hidden, feedForward } = shape;
  const keyValue = (hidden / shape.heads) * shape.kvHeads;
  // What a layer adds is made smaller the more layers add.
  const added = 1 / Math.sqrt(2 * shape.layers);
  const tensors: TensorContent[] = [embeddingTensor(shape, pool)];
  for (let layer = 0; layer < shape.layers; layer++) {
    const prefix = `blk.${layer}`;
    tensors.push(
      plainNorm(`${prefix}.attn_norm.weight`, hidden),
      pool.tensor(`${prefix}.attn_q.weight`, [hidden, hidden]),
      pool.tensor(`${prefix}.attn_k.weight`, [hidden, keyValue]),
      pool.tensor(`${prefix}.attn_v.weight`, [hidden, keyValue]),
      pool.tensor(`${prefix}.attn_output.weight`, [hidden, hidden], { gain: added, keepConstant: true }),
      plainNorm(`${prefix}.ffn_norm.weight`, hidden),
      pool.tensor(`${prefix}.ffn_gate.weight`, [hidden, feedForward]),
      pool.tensor(`${prefix}.ffn_up.weight`, [hidden, feedForward]),
      pool.tensor(`${prefix}.ffn_down.weight`, [feedForward, hidden], { gain: added, keepConstant: true }),
    );
  }
  tensors.push(plainNorm('output_norm.weight', hidden), outputTensor(shape, pool));
  return { metadata: shapeMetadata(name, shape), tensors };
}

function shapeMetadata(name: string, shape: ModelShape): GgufMetadata {
  return new Map<string, GgufValue>([
    ['general.architecture', stringValue('llama')],
    ['general.type', stringValue('model')],
    ['general.name', stringValue(name)],
    ['general.file_type', uint32Value(2)],
    ['llama.vocab_size', uint32Value(shape.vocabulary)],
    ['llama.context_length', uint32Value(8192)],
    ['llama.embedding_length', uint32Value(shape.hidden)],
    ['llama.block_count', uint32Value(shape.layers)],
    ['llama.feed_forward_length', uint32Value(shape.feedForward)],
    ['llama.attention.head_count', uint32Value(shape.heads)],
    ['llama.attention.head_count_kv', uint32Value(shape.kvHeads)],
    ['llama.attention.layer_norm_rms_epsilon', float32Value(1e-5)],
    ['llama.rope.dimension_count', uint32Value(shape.hidden / shape.heads)],
    ['llama.rope.freq_base', float32Value(500_000)],
    ...tokenizerMetadata({ size: shape.vocabulary, chatTemplate }),
  ]);
}

const { blockElements, blockBytes } = ggmlTypes.Q4_0;

/** Standard deviation of a nibble less 8, as `centred` leaves them. */
const nibbleDeviation = Math.sqrt(17.5);

/** Blocks drawn at random once and used over and over: 32 768 of them, 576 KiB. */
const poolBlocks = 32_768;

interface TensorOptions {
  /** Times the usual standard deviation, 1 / sqrt(inputs). */
  readonly gain?: number;
  /** Leaves the first output zero: the dimension of the constant, see below. */
  readonly keepConstant?: boolean;
}

class BlockPool {
  readonly #random: Random;
  readonly #blocks: Uint8Array;

  constructor(random: Random) {
    this.#random = random;
    this.#blocks = random.bytes(poolBlocks * blockBytes).map(centred);
  }

  /** A tensor of random blocks, [inputs, outputs]. */
  tensor(
    name: string,
    dimensions: readonly [number, number],
    { gain = 1, keepConstant = false }: TensorOptions = {},
  ): TensorContent {
    const [inputs] = dimensions;
    const total = (elementCount(dimensions) / blockElements) * blockBytes;
    const zeroed = keepConstant ? (inputs / blockElements) * blockBytes : 0;
    return {
      name,
      type: 'Q4_0',
      dimensions,
      data: () => this.#stream(total, zeroed, gain / (nibbleDeviation * Math.sqrt(inputs))),
    };
  }

  /** One row of random values with the given scale, its first block left to the caller. */
  row(inputs: number, scale: number): Uint8Array {
    const blocks = inputs / blockElements;
    const from = Math.floor(this.#random.float() * (poolBlocks - blocks));
    const row = this.#blocks.slice(from * blockBytes, (from + blocks) * blockBytes);
    setScales(row, scale);
    return row;
  }

  /** `zeroed` bytes of zeros, then blocks of the pool, each time from another place on. */
  *#stream(total: number, zeroed: number, scale: number): Generator<Uint8Array> {
    yield new Uint8Array(zeroed);
    setScales(this.#blocks, scale);
    let left = total - zeroed;
    while (left > 0) {
      const from = Math.floor(this.#random.float() * poolBlocks) * blockBytes;
      const chunk = this.#blocks.subarray(from, from + left);
      left -= chunk.length;
      yield chunk;
    }
  }
}

/**
 * Two random nibbles with 0 (the value -8) replaced by 8 (the value 0): their mean is then 0. Otherwise
 * every matrix would add to the mean of the hidden state, which would drown all else after some layers.
 */
function centred(byte: number): number {
  const low = byte & 0x0f || 8;
  const high = byte >>> 4 || 8;
  return low | (high << 4);
}

/** Writes the scale at the head of each block. */
function setScales(blocks: Uint8Array, scale: number): void {
  const bits = toFloat16(scale);
  for (let offset = 0; offset < blocks.length; offset += blockBytes) {
    blocks[offset] = bits & 0xff;
    blocks[offset + 1] = bits >>> 8;
  }
}

// The first dimension of the hidden state is a constant: every embedding has it, no layer writes to it, and
// the output gives every token that must not be said a large negative weight on it (as in synthetic-chat.ts).

const constant = 4;
const forbidden = -100;
/** Deviation of sayable logits. */
const logitDeviation = 2.5;

function embeddingTensor({ hidden, vocabulary }: ModelShape, pool: BlockPool): TensorContent {
  return {
    name: 'token_embd.weight',
    type: 'Q4_0',
    dimensions: [hidden, vocabulary],
    data: () => rows(vocabulary, () => withFirstBlock(pool.row(hidden, 1 / nibbleDeviation), constant)),
  };
}

function outputTensor({ hidden, vocabulary }: ModelShape, pool: BlockPool): TensorContent {
  const scale = logitDeviation / (nibbleDeviation * Math.sqrt(hidden));
  const never = withFirstBlock(new Uint8Array((hidden / blockElements) * blockBytes), forbidden);
  const sayable = (token: number): boolean =>
    (token >= 0x20 && token <= 0x7e) || token === specialTokens.endOfText;
  return {
    name: 'output.weight',
    type: 'Q4_0',
    dimensions: [hidden, vocabulary],
    data: () =>
      rows(vocabulary, (token) => (sayable(token) ? withFirstBlock(pool.row(hidden, scale), 0) : never)),
  };
}

/** The row with its first block holding `value` for the constant and zeros beside it. */
function withFirstBlock(row: Uint8Array, value: number): Uint8Array {
  const values = new Float32Array(blockElements);
  values[0] = value;
  row.set(encodeTensor('Q4_0', values));
  return row;
}

/** Rows gathered into larger chunks, since each chunk costs a write. */
function* rows(count: number, row: (index: number) => Uint8Array): Generator<Uint8Array> {
  const rowsPerChunk = 512;
  for (let start = 0; start < count; start += rowsPerChunk) {
    const length = Math.min(rowsPerChunk, count - start);
    yield Buffer.concat(Array.from({ length }, (_, index) => row(start + index)));
  }
}
