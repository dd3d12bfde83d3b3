// Compliance: embeddings and rankings answer every item that was asked for.
import { describe, expect, test } from 'vitest';
import { complete, embeddingRequest, rerankRequest } from './engine-answers.ts';
import type { Suite } from './engine-compliance.ts';

export function testLists(suite: Suite): void {
  describe('lists', () => {
    test('one vector for each input, equal for equal inputs', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.kinds.has('embedding'), 'no embeddings declared');
      const answer = await complete(
        model,
        embeddingRequest(model.name, ['a grey river', 'seven stones', 'a grey river']),
      );
      const [first, second, third] = answer.vectors().map((values) => [...values]);
      expect(answer.vectors()).toHaveLength(3);
      expect(distance(first, third)).toBeLessThan(1e-3);
      expect(distance(first, second)).toBeGreaterThan(1e-3);
      if (expects.normalisedVectors) {
        expect(Math.hypot(...(first ?? []))).toBeCloseTo(1, 3);
      }
    });

    test('vectors for more inputs than fit in one batch, in their order', async ({ skip }) => {
      const { model } = suite.engine();
      skip(!model.capabilities.kinds.has('embedding'), 'no embeddings declared');
      const inputs = Array.from({ length: 70 }, (_, index) => `stone number ${index}`);
      const vectors = (await complete(model, embeddingRequest(model.name, inputs))).vectors();
      const [alone] = (await complete(model, embeddingRequest(model.name, ['stone number 69']))).vectors();
      expect(vectors).toHaveLength(70);
      expect(distance([...(vectors[69] ?? [])], [...(alone ?? [])])).toBeLessThan(1e-2);
    });

    test('a score for each document, the relevant one highest', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.kinds.has('rerank'), 'no rerank declared');
      const documents = [
        'Bread is baked at dawn.',
        'The river floods in spring.',
        'Seven stones lie in a row.',
      ];
      const scores = (
        await complete(model, rerankRequest(model.name, 'When does the river flood?', documents))
      ).scores();
      expect(scores).toHaveLength(3);
      if (expects.ranksByRelevance) {
        expect(scores.indexOf(Math.max(...scores))).toBe(1);
      }
    });
  });
}

function distance(one: readonly number[] = [], other: readonly number[] = []): number {
  expect(one.length).toBe(other.length);
  return Math.hypot(...one.map((value, index) => value - (other[index] ?? 0)));
}
