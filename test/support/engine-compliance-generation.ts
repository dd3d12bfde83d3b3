// Compliance: chats and completions stream lawful text, count it, and are reproducible where declared.
import { describe, expect, test } from 'vitest';
import { chatRequest, collect, complete, completionRequest } from './engine-answers.ts';
import type { Suite } from './engine-compliance.ts';

export function testGeneration(suite: Suite): void {
  describe('generates', () => {
    test('a chat in at least two deltas', async () => {
      const { model, expects } = suite.engine();
      const answer = await complete(model, chatRequest(model.name, expects.endlessPrompt, { maxTokens: 32 }));
      expect(answer.textPieces().length).toBeGreaterThanOrEqual(2);
      expect(answer.text()).not.toBe('');
    });

    test('a chat that ends by itself with the reason stop', async () => {
      const { model, expects } = suite.engine();
      const answer = await complete(model, chatRequest(model.name, expects.endingPrompt, { maxTokens: 400 }));
      expect(answer.finish()).toBe('stop');
      expect(answer.events.at(-1)).toEqual({ type: 'end' });
    });

    test('a completion', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.kinds.has('completion'), 'no completion declared');
      const answer = await complete(
        model,
        completionRequest(model.name, expects.endlessText ?? expects.endlessPrompt, { maxTokens: 16 }),
      );
      expect(answer.text()).not.toBe('');
      expect(answer.finish()).toBe('length');
    });

    test('at most as many tokens as asked for, and says length', async () => {
      const { model, expects } = suite.engine();
      const answer = await complete(model, chatRequest(model.name, expects.endlessPrompt, { maxTokens: 7 }));
      expect(answer.finish()).toBe('length');
      if (expects.countsTokens) {
        expect(answer.usage?.completion).toBe(7);
        expect(answer.usage?.prompt).toBeGreaterThan(0);
      }
    });

    test('the same greedy text for the same request', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!expects.deterministic, 'not expected to be deterministic');
      const ask = () => complete(model, chatRequest(model.name, expects.endlessPrompt, { maxTokens: 24 }));
      const first = await ask();
      expect((await ask()).text()).toBe(first.text());
    });

    test('the same text for the same seed', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!expects.deterministic || !model.capabilities.features.has('seed'), 'no seed declared');
      const request = () =>
        chatRequest(model.name, expects.endlessPrompt, {
          maxTokens: 24,
          sampling: { temperature: 1, seed: 42 },
        });
      const first = await complete(model, request());
      expect((await complete(model, request())).text()).toBe(first.text());
    });

    test('several choices, each with its own finish', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.features.has('choices'), 'no choices declared');
      const answer = await complete(
        model,
        chatRequest(model.name, expects.endlessPrompt, {
          choices: 2,
          maxTokens: 8,
          sampling: { temperature: 1 },
        }),
      );
      for (const index of [0, 1]) {
        expect(answer.text(index), `text of choice ${index}`).not.toBe('');
        expect(answer.finish(index), `finish of choice ${index}`).toBe('length');
      }
    });

    test('token ids that are the tokens of exactly the text', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.features.has('token-ids'), 'no token ids declared');
      const answer = await complete(model, chatRequest(model.name, expects.endlessPrompt, { maxTokens: 24 }));
      const ids = answer.tokenIds();
      expect(ids.length).toBeGreaterThan(0);
      expect(ids.length).toBeLessThanOrEqual(24);
      if (expects.countsTokens) {
        expect(answer.usage?.completion).toBe(24);
      }
      if (expects.tokenizesItsAnswers) {
        expect(await model.tokenize(answer.text())).toEqual(ids);
      }
    });

    test('log probabilities whose tokens are the text', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!model.capabilities.features.has('logprobs'), 'no logprobs declared');
      for (const make of [chatRequest, completionRequest]) {
        const answer = await complete(
          model,
          make(model.name, expects.endlessPrompt, { maxTokens: 8, topLogprobs: 2 }),
        );
        const logprobs = answer.logprobs();
        const bytes = Buffer.from(logprobs.flatMap((one) => [...one.bytes]));
        expect(bytes.toString('utf8')).toBe(answer.text());
        expect(logprobs.every(({ logprob, top }) => logprob <= 0 && top.length <= 2)).toBe(true);
      }
    });

    test('counts that find a repeated long prompt in the cache', async ({ skip }) => {
      const { model, expects } = suite.engine();
      skip(!expects.reusesPrefix, 'no reuse of prefixes expected');
      const prompt = `${'The tide comes in and the tide goes out. '.repeat(8)}${expects.endlessPrompt}`;
      await complete(model, chatRequest(model.name, prompt, { maxTokens: 2 }));
      const again = await complete(model, chatRequest(model.name, prompt, { maxTokens: 2 }));
      expect(again.usage?.cached).toBeGreaterThan(0);
      expect(model.figures().cachedPromptTokens).toBeGreaterThan(0);
    });

    test('an error before any output when the prompt exceeds the context', async ({ skip }) => {
      const { model } = suite.engine();
      const { contextTokens } = model.capabilities;
      skip(contextTokens === undefined, 'the context is unknown');
      const prompt = 'word '.repeat((contextTokens ?? 0) + 16);
      const answer = await collect(model, chatRequest(model.name, prompt, { maxTokens: 4 }));
      expect(answer.error).toMatchObject({ code: 'context_length_exceeded', phase: 'before-output' });
      expect(answer.text()).toBe('');
    });

    test('token ids of texts, or says that it cannot', async () => {
      const { model } = suite.engine();
      if (!model.capabilities.features.has('token-ids')) {
        await model.tokenize('north').then(
          (ids) => expect(ids.length).toBeGreaterThan(0),
          (error: unknown) => expect(error).toMatchObject({ code: 'model_unsupported' }),
        );
        return;
      }
      const ids = await model.tokenize('north of the harbour');
      expect(ids.length).toBeGreaterThan(0);
      expect(ids.every((id) => Number.isInteger(id) && id >= 0)).toBe(true);
      expect(await model.tokenize('north of the harbour')).toEqual(ids);
      expect(await model.tokenize('')).toEqual([]);
    });

    test('answers to prompts given as token ids', async ({ skip }) => {
      const { model, expects } = suite.engine();
      const { features } = model.capabilities;
      skip(
        !features.has('token-prompts') || !features.has('token-ids'),
        'no token prompts, or no ids to make one of',
      );
      const ids = await model.tokenize(expects.endlessText ?? expects.endlessPrompt);
      const answer = await complete(model, completionRequest(model.name, ids, { maxTokens: 4 }));
      expect(answer.text()).not.toBe('');
    });
  });
}
