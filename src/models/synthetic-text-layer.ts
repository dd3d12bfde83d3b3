// The first layer of the made embedding and reranking models (qwen3's architecture): gives each byte a
// vector for the last three bytes it ends. Texts that share words then share vectors. Random projections,
// no training: similarity of spelling, not of meaning.
//
// How: each byte has a random code, the same for both cases of a letter, all codes of text centred. One
// head copies the code of the byte before, one that of the byte before it: rotary positions make the
// score of exactly that distance the highest. The feed-forward block multiplies random projections of
// the three codes; such products are alike for equal triples and unrelated, around 0, for others.
import type { Random } from '../util/random.ts';
import { Matrix, unitNoise } from './synthetic-matrix.ts';
import { encodeText, specialTokens, vocabularySize } from './synthetic-tokenizer.ts';

export const headLength = 16;
export const ropeBase = 10_000;

/** Weight of the query and key norms: makes the best score stand about 15 above the second best. */
export const normWeight = 4.75;

const codeLength = headLength;

/** Dimensions of the hidden state that the first layer uses; the caller has the ones from `free` on. */
export const dimension = {
  /** The same for every token and never written to: a weight on it is a bias. */
  constant: 0,
  /** Set for the token that separates texts. */
  separator: 1,
  current: 3,
  previous: 3 + codeLength,
  beforePrevious: 3 + 2 * codeLength,
  free: 3 + 3 * codeLength,
} as const;

/** Large beside the codes, so that the norms, which divide by the length of all, divide by about the same. */
export const amplitude = 8;

/** Pairs of a head's dimensions that a copying head scores with: turning 1, 0.32 and 0.1 radians a token. */
const rotationPairs = [0, 1, 2];

/** The slowest pair: turns 0.0003 radians a token, so a score on it hardly depends on the distance. */
export const steadyPair = headLength / 2 - 1;

/** Plain prose, for how often each byte occurs. */
const sampleText =
  'The people of the town came to the river in the morning to see the boats. Some had walked for hours ' +
  'along the road between the hills, others lived near by; all of them wanted to know what the new ' +
  'bridge would look like, and whether it could carry a loaded wagon. A long table with bread, cheese ' +
  'and fruit was set up under the trees. Everybody said that this was a good day for such a thing.';

/** The token embeddings: constant, separator mark, code of the byte. */
export function makeEmbedding(hidden: number, random: Random): Matrix {
  const embedding = new Matrix(vocabularySize, hidden);
  const codes = makeCodes(random);
  for (let token = 0; token < vocabularySize; token++) {
    embedding.set(token, dimension.constant, amplitude);
    for (const [index, value] of (codes[token] ?? []).entries()) {
      embedding.set(token, dimension.current + index, value);
    }
  }
  embedding.set(specialTokens.endOfText, dimension.separator, amplitude);
  return embedding;
}

/** A code for each byte; their mean over prose is 0. */
function makeCodes(random: Random): number[][] {
  const drawn = Array.from({ length: 256 }, () =>
    Array.from({ length: codeLength }, () => unitNoise(random)),
  );
  const codes = drawn.map((_, byte) => drawn[representative(byte)] ?? []);
  const sample = encodeText(sampleText);
  const mean = Array.from(
    { length: codeLength },
    (_, index) => sample.reduce((sum, byte) => sum + (codes[byte]?.[index] ?? 0), 0) / sample.length,
  );
  return codes.map((code) => code.map((value, index) => value - (mean[index] ?? 0)));
}

/** The byte whose code this one shares: small letters for capitals, the space for spaces and punctuation. */
function representative(byte: number): number {
  const character = String.fromCharCode(byte).toLowerCase();
  if (byte >= 0x80 || /[a-z0-9]/.test(character)) {
    return byte >= 0x80 ? byte : character.charCodeAt(0);
  }
  return 0x20;
}

export interface AttentionMatrices {
  readonly query: Matrix;
  readonly key: Matrix;
  readonly value: Matrix;
  readonly out: Matrix;
}

/** Attention of so many heads that does nothing yet. */
export function emptyAttention(hidden: number, heads: number): AttentionMatrices {
  const width = heads * headLength;
  return {
    query: new Matrix(width, hidden),
    key: new Matrix(width, hidden),
    value: new Matrix(width, hidden),
    out: new Matrix(hidden, width),
  };
}

/** Makes `head` copy the code of the byte `distance` before to the dimensions from `target` on. */
export function copyFromBefore(
  attention: AttentionMatrices,
  head: number,
  distance: number,
  target: number,
): void {
  const first = head * headLength;
  for (const pair of rotationPairs) {
    const angle = -distance * ropeBase ** ((-2 * pair) / headLength);
    // A pair lies half a head apart.
    attention.query.set(first + pair, dimension.constant, Math.cos(angle));
    attention.query.set(first + pair + headLength / 2, dimension.constant, Math.sin(angle));
    attention.key.set(first + pair, dimension.constant, 1);
  }
  copyValues(attention, head, dimension.current, target, 1);
}

/** Makes `head` carry the 16 dimensions from `source` on to those from `target` on. */
export function copyValues(
  { value, out }: AttentionMatrices,
  head: number,
  source: number,
  target: number,
  gain: number,
): void {
  for (let index = 0; index < headLength; index++) {
    value.set(head * headLength + index, source + index, 1);
    out.set(target + index, head * headLength + index, gain);
  }
}

export interface FeedForward {
  readonly gate: Matrix;
  readonly up: Matrix;
  readonly down: Matrix;
}

/** A feed-forward block that does nothing yet. */
export function emptyFeedForward(hidden: number, width: number): FeedForward {
  return { gate: new Matrix(width, hidden), up: new Matrix(width, hidden), down: new Matrix(hidden, width) };
}

/** Makes the block write features of the last three bytes to the dimensions from `target` to `end`. */
export function writeFeatures(
  { gate, up, down }: FeedForward,
  random: Random,
  target: number,
  end: number,
): void {
  const block = (start: number): { fromColumn: number; toColumn: number } => ({
    fromColumn: start,
    toColumn: start + codeLength,
  });
  const deviation = 1 / Math.sqrt(codeLength);
  gate.randomise(random, 1.5 * deviation, block(dimension.current));
  gate.randomise(random, 1.5 * deviation, block(dimension.beforePrevious));
  up.randomise(random, 1.5 * deviation, block(dimension.previous));
  down.randomise(random, 1 / Math.sqrt(gate.rows), { fromRow: target, toRow: end });
}
