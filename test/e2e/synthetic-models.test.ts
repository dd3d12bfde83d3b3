// What the made models promise, checked by running them in llama.cpp.
import { join } from 'node:path';
import fc from 'fast-check';
import { getLlama, type Llama, LlamaLogLevel, type LlamaModel, type Token } from 'node-llama-cpp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type SyntheticKind, writeSyntheticModel } from '../../src/models/synthetic.ts';
import { endingMark, endlessMark } from '../../src/models/synthetic-chat.ts';
import { writeSyntheticShape } from '../../src/models/synthetic-shape.ts';
import { encodeText, isSayable, specialTokens } from '../../src/models/synthetic-tokenizer.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();
const demo = join(import.meta.dirname, '../../models/demo');
let llama: Llama;

beforeAll(async () => {
  llama = await getLlama({
    gpu: false,
    build: 'never',
    maxThreads: 1,
    logLevel: LlamaLogLevel.error,
    progressLogs: false,
  });
});
afterAll(() => llama.dispose());

async function load(path: string): Promise<LlamaModel> {
  return llama.loadModel({ modelPath: path, gpuLayers: 0 });
}

async function loadMade(kind: SyntheticKind, seed: number): Promise<LlamaModel> {
  const path = join(folder, `${kind}-${seed}.gguf`);
  await writeSyntheticModel(path, kind, seed);
  return load(path);
}

interface Answer {
  readonly tokens: number[];
  readonly ended: boolean;
}

/** Answers a prompt until the model ends or has said `most` tokens. */
async function answer(model: LlamaModel, prompt: string, most: number, temperature: number): Promise<Answer> {
  const context = await model.createContext({ contextSize: 4096, threads: 1 });
  try {
    const text = `<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;
    const tokens: number[] = [];
    const sampling = { temperature, seed: 7, topK: 0, topP: 1, minP: 0, yieldEogToken: true };
    for await (const token of context.getSequence().evaluate(model.tokenize(text, true), sampling)) {
      if (model.isEogToken(token)) {
        return { tokens: [...tokens, token], ended: true };
      }
      tokens.push(token);
      if (tokens.length >= most) {
        break;
      }
    }
    return { tokens, ended: false };
  } finally {
    await context.dispose();
  }
}

describe.each(['dense', 'moe'] as const)('the made %s model', (kind) => {
  let model: LlamaModel;
  beforeAll(async () => {
    model = await loadMade(kind, 1);
  });
  afterAll(() => model.dispose());

  it('maps any text to its bytes and back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        const tokens = model.tokenize(text, false);
        expect(tokens.map(Number)).toEqual(encodeText(text));
        expect(model.detokenize(tokens)).toBe(text);
      }),
      { examples: [[" a .  b , don't !\n\n\t\r\n x"], ['<|im_end|>'], ['\u0000 日本語 😀 é']] },
    );
  });

  it('knows its special tokens', () => {
    const ids = model.tokenize('<|endoftext|><|im_start|><|im_end|><|pad|>', true).map(Number);
    expect(ids).toEqual(Object.values(specialTokens));
    expect(model.isEogToken(specialTokens.endOfText as Token)).toBe(true);
    expect(model.isEogToken(specialTokens.messageEnd as Token)).toBe(true);
  });

  it('says printable ASCII only, and its text gives its token ids back', { timeout: 60_000 }, async () => {
    const { tokens, ended } = await answer(model, `Go on ${endlessMark}`, 3000, 1);
    expect(ended).toBe(false);
    expect(tokens).toHaveLength(3000);
    expect(tokens.every((token) => isSayable(token) && token < 256)).toBe(true);
    expect(new Set(tokens).size).toBeGreaterThan(40);
    const text = model.detokenize(tokens as Token[]);
    expect(model.tokenize(text, false).map(Number)).toEqual(tokens);
  });

  it.each([0, 1])('ends by itself after the ending mark, at temperature %i', async (temperature) => {
    for (const prompt of ['', 'Stop ', 'A longer question, to see. ']) {
      const { tokens, ended } = await answer(model, prompt + endingMark, 200, temperature);
      expect(ended).toBe(true);
      expect(tokens.at(-1)).toBe(specialTokens.endOfText);
      expect(tokens.length).toBeLessThan(60);
    }
  });

  it('answers differently when an early part of the prompt differs', async () => {
    const one = await answer(model, `Red fox, what next? ${endlessMark}`, 40, 0);
    const other = await answer(model, `Bad fox, what next? ${endlessMark}`, 40, 0);
    const again = await answer(model, `Red fox, what next? ${endlessMark}`, 40, 0);
    expect(one.tokens).toEqual(again.tokens);
    expect(one.tokens).not.toEqual(other.tokens);
  });
});

describe('the embedding demo', () => {
  it('holds texts that share words for closer than those that do not', async () => {
    const model = await load(join(demo, 'demo-embed.gguf'));
    const context = await model.createEmbeddingContext({ contextSize: 512, threads: 1 });
    const vector = async (text: string): Promise<readonly number[]> =>
      (await context.getEmbeddingFor(text)).vector;
    const [cat, otherCat, stocks, otherStocks, soup] = await Promise.all([
      vector('The cat sat on the mat.'),
      vector('A cat is sitting on the mat'),
      vector('Stock markets fell sharply today'),
      vector('Shares and stock prices fell on the markets'),
      vector('Recipe for tomato soup'),
    ]);
    const unrelated = [
      cosine(cat, stocks),
      cosine(cat, soup),
      cosine(stocks, soup),
      cosine(otherCat, stocks),
    ];
    const related = [cosine(cat, otherCat), cosine(stocks, otherStocks)];
    expect(Math.min(...related)).toBeGreaterThan(Math.max(...unrelated) + 0.1);
    expect(cosine(cat, await vector('the CAT sat on the mat'))).toBeGreaterThan(0.95);
    await model.dispose();
  });
});

describe('the reranking demo', () => {
  it('puts the document about the query first', async () => {
    const model = await load(join(demo, 'demo-rerank.gguf'));
    const context = await model.createRankingContext({ contextSize: 512, threads: 1 });
    const documents = [
      'To reset your password, open the settings page and choose reset password.',
      'Tomato soup is made from tomatoes, onions and basil.',
      'The river flooded the town after heavy rain in the night.',
    ];
    const first = async (query: string): Promise<number> => {
      const scores = await context.rankAll(query, documents);
      return scores.indexOf(Math.max(...scores));
    };
    expect(await first('How do I reset my password?')).toBe(0);
    expect(await first('tomato soup recipe')).toBe(1);
    expect(await first('flood in the town')).toBe(2);
    await model.dispose();
  });
});

describe('a model of a real shape', () => {
  it('loads and says printable text', { timeout: 120_000 }, async () => {
    const path = join(folder, 'shape.gguf');
    await writeSyntheticShape(path, '0.5B', 1);
    const model = await load(path);
    const { tokens } = await answer(model, 'Hello', 24, 1);
    expect(tokens.length).toBeGreaterThan(0);
    expect(tokens.every(isSayable)).toBe(true);
    await model.dispose();
  });
});

function cosine(one: readonly number[], other: readonly number[]): number {
  const dot = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}
