// The "language model" of the test doubles: text that depends only on the prompt and the seed, in tokens
// of a small vocabulary. The word "briefly" in a prompt makes its answer end by itself; others never end.
import { isJsonObject, type JsonValue } from '../../src/util/json.ts';
import { seededRandom } from '../../src/util/random.ts';

// biome-ignore format: a word list reads better in rows
const words = [
  ' amber', ' birch', ' cedar', ' delta', ' ember', ' fjord', ' grove', ' harbour', ' inlet', ' juniper',
  ' kelp', ' lagoon', ' meadow', ' north', ' ocean', ' pine', ' quartz', ' river', ' stone', ' tide',
  ' upland', ' valley', ' willow', ' yonder', ' naïve', ' 日本', ' 👩‍🚀', ' größer', ' Ωmega', ' zephyr',
];
const idOfWord = new Map(words.map((word, id) => [word, id]));
/** Ids from here on stand for one code point each. */
const firstCodePointId = 1000;
/** Tokens of an answer that ends by itself. */
export const briefTokens = 12;

/** Token ids of a text: its words where known, else its code points. */
export function tokenizeDouble(text: string): number[] {
  const ids: number[] = [];
  for (const [piece] of text.matchAll(/ ?[^ ]+| /g)) {
    const id = idOfWord.get(piece);
    ids.push(...(id === undefined ? Array.from(piece, codePointId) : [id]));
  }
  return ids;
}

/** The text of token ids; the inverse of `tokenizeDouble`. */
export function detokenizeDouble(ids: readonly number[]): string {
  return ids
    .map((id) => (id < firstCodePointId ? words[id] : String.fromCodePoint(id - firstCodePointId)))
    .join('');
}

function codePointId(character: string): number {
  return firstCodePointId + (character.codePointAt(0) ?? 0);
}

export interface TextPlan {
  readonly prompt: string;
  readonly seed: number;
  /** Most tokens; absent: until the answer ends. */
  readonly maxTokens?: number | undefined;
  readonly stop: readonly string[];
  /** Answer with an instance of this JSON schema instead. */
  readonly schema?: JsonValue | undefined;
}

/** What one more token lets out: nothing while its text may be the beginning of a stop sequence. */
export interface TextPiece {
  readonly text: string;
  /** The tokens that lie wholly within the text given so far and were not named before. */
  readonly ids: readonly number[];
  /** Tokens generated for this piece: 1, or 0 for what was held back at the end. */
  readonly generated: number;
}

/** Generates an answer, one piece per token; returns why it ended. */
export function* generateText(plan: TextPlan): Generator<TextPiece, 'stop' | 'length', undefined> {
  const held = new HeldTokens(plan.stop);
  let count = 0;
  for (const id of answerIds(plan)) {
    if (count === plan.maxTokens) {
      yield held.flush();
      return 'length';
    }
    count++;
    const { piece, stopped } = held.add(id);
    yield piece;
    if (stopped) {
      return 'stop';
    }
  }
  yield held.flush();
  return 'stop';
}

/** Tokens whose text may belong to a stop sequence. */
class HeldTokens {
  readonly #stop: readonly string[];
  #ids: number[] = [];

  constructor(stop: readonly string[]) {
    this.#stop = stop;
  }

  add(id: number): { piece: TextPiece; stopped: boolean } {
    this.#ids.push(id);
    const text = detokenizeDouble(this.#ids);
    const found = this.#stop.map((stop) => text.indexOf(stop)).filter((index) => index !== -1);
    if (found.length > 0) {
      const kept = text.slice(0, Math.min(...found));
      return { piece: { text: kept, ids: this.#release(kept.length).ids, generated: 1 }, stopped: true };
    }
    const safe = this.#release(text.length - longestStopStart(text, this.#stop));
    return { piece: { ...safe, generated: 1 }, stopped: false };
  }

  flush(): TextPiece {
    return { ...this.#release(Number.POSITIVE_INFINITY), generated: 0 };
  }

  /** Lets the whole tokens among the first `length` characters out. */
  #release(length: number): { text: string; ids: readonly number[] } {
    let count = 0;
    let text = '';
    for (const id of this.#ids) {
      const longer = text + detokenizeDouble([id]);
      if (longer.length > length) {
        break;
      }
      text = longer;
      count++;
    }
    return { text, ids: this.#ids.splice(0, count) };
  }
}

/** Length of the longest end of `text` with which a stop sequence could begin. */
function longestStopStart(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) {
        longest = length;
      }
    }
  }
  return longest;
}

function* answerIds(plan: TextPlan): Generator<number, void, undefined> {
  if (plan.schema !== undefined) {
    yield* tokenizeDouble(JSON.stringify(instanceOfSchema(plan.schema)));
    return;
  }
  const random = seededRandom(hash(`${plan.prompt}\n${plan.seed}`));
  const brief = /\bbriefly\b/.test(plan.prompt);
  for (let count = 0; !brief || count < briefTokens; count++) {
    yield Math.floor(random.float() * words.length);
  }
}

/** A value that a JSON schema of the plain kind (no references) accepts. */
export function instanceOfSchema(schema: JsonValue): JsonValue {
  if (!isJsonObject(schema)) {
    return null;
  }
  const { const: constant, enum: options, anyOf, type } = schema;
  if (constant !== undefined) {
    return constant;
  }
  if (Array.isArray(options)) {
    return options[0] ?? null;
  }
  if (Array.isArray(anyOf)) {
    return instanceOfSchema(anyOf[0] ?? null);
  }
  switch (type) {
    case 'object': {
      const properties = isJsonObject(schema['properties']) ? schema['properties'] : {};
      return Object.fromEntries(
        Object.entries(properties).map(([name, one]) => [name, instanceOfSchema(one)]),
      );
    }
    case 'array':
      return schema['items'] === undefined ? [] : [instanceOfSchema(schema['items'])];
    case 'string':
      return 'river';
    case 'integer':
    case 'number':
      return typeof schema['minimum'] === 'number' ? schema['minimum'] : 7;
    case 'boolean':
      return true;
    default:
      return null;
  }
}

/** A vector of length one that depends only on the text. */
export function vectorOf(text: string, dimensions: number): number[] {
  const random = seededRandom(hash(text));
  const raw = Array.from({ length: dimensions }, () => random.float() - 0.5);
  const length = Math.hypot(...raw);
  return raw.map((value) => value / length);
}

/** The share of the query's words that the document has. */
export function scoreOf(query: string, document: string): number {
  const wanted = query.toLowerCase().split(/\W+/).filter(Boolean);
  const found = wanted.filter((word) => document.toLowerCase().includes(word));
  return wanted.length === 0 ? 0 : found.length / wanted.length;
}

/** Remembers prompts and tells how much of a new one was there before, like a KV cache. */
export class PromptMemory {
  readonly #prompts: number[][] = [];

  /** How many leading tokens of the prompt are known; at least one is always computed. Remembers the prompt. */
  take(prompt: number[]): number {
    const cached = Math.max(0, ...this.#prompts.map((known) => commonPrefix(known, prompt)));
    this.#prompts.push(prompt);
    if (this.#prompts.length > 16) {
      this.#prompts.shift();
    }
    return Math.min(cached, Math.max(0, prompt.length - 1));
  }
}

function commonPrefix(one: readonly number[], other: readonly number[]): number {
  let length = 0;
  while (length < one.length && one[length] === other[length]) {
    length++;
  }
  return length;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let state = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    state = Math.imul(state ^ text.charCodeAt(index), 0x01000193);
  }
  return state >>> 0;
}
