// Completions, embeddings and rankings: the official client against a real node and its real engine.
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { endless, failureOf, useNode } from './node-under-test.ts';
import { ranking } from './shapes.ts';

/** Declares the tests for a node with this engine. */
export function describeCompletionsAndLists(engine: 'embedded' | 'llama-server'): void {
  const models = ['--model', 'demo', '--model', 'demo-embed', '--model', 'demo-rerank'];
  const under = useNode(() => [...models, '--engine', engine]);
  const openai = () => under.connect().client;

  describe('a completion', () => {
    const prompt = 'The capital of';
    const request = {
      model: 'demo',
      prompt,
      temperature: 0,
      max_tokens: 24,
      logit_bias: endless.logit_bias,
    } satisfies OpenAI.CompletionCreateParamsNonStreaming;
    const complete = (fields: Partial<OpenAI.CompletionCreateParamsNonStreaming> = {}) =>
      openai().completions.create({ ...request, ...fields });

    it('goes on with a text', async () => {
      const { choices, usage } = await complete();
      expect(choices[0]?.text).not.toBe('');
      expect(choices[0]?.finish_reason).toBe('length');
      expect(usage).toMatchObject({ prompt_tokens: prompt.length, completion_tokens: 24 });
    });

    it('goes on with token ids as with the text that they are', async () => {
      const { choices } = await complete({ prompt: [...Buffer.from(prompt)] });
      expect(choices[0]?.text).toBe((await complete()).choices[0]?.text);
    });

    it('of several prompts has a choice for each, in order', async () => {
      const prompts = [prompt, 'Seven grey', prompt];
      const { choices, usage } = await complete({ prompt: prompts });
      expect(choices.map(({ index }) => index)).toEqual([0, 1, 2]);
      expect(choices[2]?.text).toBe(choices[0]?.text);
      expect(usage).toMatchObject({ prompt_tokens: prompts.join('').length, completion_tokens: 72 });
    });

    it('of several lists of token ids has a choice for each', async () => {
      const { choices } = await complete({ prompt: [[...Buffer.from(prompt)], [1, 2, 3]] });
      expect(choices).toHaveLength(2);
      expect(choices[0]?.text).toBe((await complete()).choices[0]?.text);
    });

    it('begins with the prompt if it is to be echoed', async () => {
      const { choices } = await complete({ echo: true });
      expect(choices[0]?.text).toBe(prompt + (await complete()).choices[0]?.text);
    });

    it('of token ids refuses to echo them, and does not forget about it', async () => {
      const failure = await failureOf(complete({ prompt: [72, 105], echo: true }));
      expect(failure).toMatchObject({ status: 400, code: 'unsupported_parameter', param: 'echo' });
    });

    it('can be streamed, with its usage', async () => {
      const stream = await openai().completions.create({
        ...request,
        stream: true,
        stream_options: { include_usage: true },
      });
      const chunks = await Array.fromAsync(stream);
      const text = chunks.map(({ choices }) => choices[0]?.text ?? '').join('');
      expect(text).toBe((await complete()).choices[0]?.text);
      expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 24 } });
      expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('length');
    });

    it('ends before a stop sequence', async () => {
      const whole = (await complete()).choices[0]?.text ?? '';
      const stop = whole.slice(8, 12);
      const { choices } = await complete({ stop });
      expect(choices[0]).toMatchObject({ text: whole.slice(0, whole.indexOf(stop)), finish_reason: 'stop' });
    });

    it.runIf(engine === 'llama-server')('has log probabilities of exactly its text', async () => {
      const { choices } = await complete({ logprobs: 2 });
      expect(choices[0]?.logprobs?.tokens?.join('')).toBe(choices[0]?.text);
    });

    it.runIf(engine === 'embedded')('has no logprobs with this engine', async () => {
      const failure = await failureOf(complete({ logprobs: 1 }));
      expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
      expect(failure).toMatchObject({ code: 'unsupported_parameter', param: 'logprobs' });
    });
  });

  describe('embeddings', () => {
    const model = 'demo-embed';
    const river = 'A river floods in spring.';
    const embed = (fields: Omit<OpenAI.EmbeddingCreateParams, 'model'>) =>
      openai().embeddings.create({ model, ...fields });

    it('travel as base64 unless numbers are asked for, and are the same numbers', async () => {
      const packed = await embed({ input: river });
      const plain = await embed({ input: river, encoding_format: 'float' });
      expect(packed.data[0]?.embedding).toEqual(plain.data[0]?.embedding);
      expect(Math.hypot(...(plain.data[0]?.embedding ?? []))).toBeCloseTo(1, 4);
    });

    it('of several inputs come in their order, equal ones for equal inputs', async () => {
      const { data, usage } = await embed({ input: [river, 'Bread is baked.', river] });
      expect(data.map(({ index }) => index)).toEqual([0, 1, 2]);
      expect(data[2]?.embedding).toEqual(data[0]?.embedding);
      expect(data[1]?.embedding).not.toEqual(data[0]?.embedding);
      expect(usage.prompt_tokens).toBe(2 * river.length + 'Bread is baked.'.length);
    });

    it('of token ids are those of the text that they are', async () => {
      const [text] = (await embed({ input: river })).data;
      const ids = [...Buffer.from(river)];
      for (const input of [ids, [ids]]) {
        expect((await embed({ input })).data[0]?.embedding).toEqual(text?.embedding);
      }
    });

    it('have as many dimensions as asked for, the leading ones at unit length', async () => {
      const whole = (await embed({ input: river })).data[0]?.embedding ?? [];
      const cut = (await embed({ input: river, dimensions: 64 })).data[0]?.embedding ?? [];
      expect(cut).toHaveLength(64);
      expect(Math.hypot(...cut)).toBeCloseTo(1, 4);
      const scale = Math.hypot(...whole.slice(0, 64));
      for (const [place, value] of cut.entries()) {
        expect(value * scale).toBeCloseTo(whole[place] ?? Number.NaN, 4);
      }
    });

    it('of more dimensions than the model has are refused', async () => {
      const failure = await failureOf(embed({ input: river, dimensions: 4096 }));
      expect(failure).toMatchObject({ status: 400, param: 'dimensions' });
    });
  });

  describe('a ranking', () => {
    const documents = [
      'Bread is baked at dawn.',
      'The river floods in spring.',
      'Seven stones lie in a row.',
    ];
    const rank = async (fields: object = {}) => {
      const response = await under.connect().fetch('/v1/rerank', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          model: 'demo-rerank',
          query: 'When does the river flood?',
          documents,
          ...fields,
        }),
      });
      return ranking.parse(await response.json());
    };

    it('puts the best document first', async () => {
      const { results } = await rank();
      expect(results[0]?.index).toBe(1);
      expect(results.map(({ index }) => index).sort()).toEqual([0, 1, 2]);
      const scores = results.map((result) => result.relevance_score);
      expect(scores).toEqual(scores.toSorted((one, other) => other - one));
    });

    it('gives as many as asked for, with their texts if wanted', async () => {
      const { results } = await rank({ top_n: 1, return_documents: true });
      expect(results).toMatchObject([{ index: 1, document: { text: documents[1] } }]);
    });
  });
}
