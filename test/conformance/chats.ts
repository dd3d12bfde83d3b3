// Chat completions: the official client against a real node and its real engine.
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  contentOf,
  endless,
  failureOf,
  hello,
  streamedText,
  useNode,
  withFields,
} from './node-under-test.ts';

/** Declares the tests for a node with this engine. */
export function describeChats(engine: 'embedded' | 'llama-server'): void {
  const under = useNode(() => ['--model', 'demo', '--engine', engine]);
  const chats = () => under.connect().client.chat.completions;

  /** Every token may come: two answers are hardly ever the same. */
  const diverse = withFields({ ...endless, temperature: 2, top_p: 1 }, { top_k: 0, min_p: 0 });

  async function chunksOf(request: OpenAI.ChatCompletionCreateParamsNonStreaming) {
    return Array.fromAsync(await chats().create({ ...request, stream: true }));
  }

  describe('a chat', () => {
    it('is answered as one object', async () => {
      const nowSeconds = Date.now() / 1000;
      const answer = await chats().create(hello);
      expect(contentOf(answer)).not.toBe('');
      expect(answer).toMatchObject({ model: 'demo', choices: [{ index: 0, finish_reason: 'stop' }] });
      expect(answer.choices).toHaveLength(1);
      expect(Math.abs(answer.created - nowSeconds)).toBeLessThan(10);
    });

    it('counts its tokens', async () => {
      const { usage } = await chats().create({ ...endless, max_tokens: 9 });
      expect(usage).toMatchObject({ completion_tokens: 9, prompt_tokens: expect.any(Number) });
      expect(usage?.prompt_tokens).toBeGreaterThan('Count for ever.'.length);
    });

    it('finds a long prompt that it has seen in its cache', async () => {
      const messages = [
        { role: 'user' as const, content: 'The river flows past seven grey stones. '.repeat(20) },
      ];
      const ask = async () => (await chats().create({ ...endless, messages, max_tokens: 4 })).usage;
      const first = await ask();
      const second = await ask();
      expect(second?.prompt_tokens).toBe(first?.prompt_tokens);
      expect(second?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(700);
    });

    it('gives the same answer for the same seed, and others for other seeds', async () => {
      const ask = async (seed: number) =>
        contentOf(await chats().create({ ...diverse, seed, max_tokens: 40 }));
      // One after the other, and the prompt cached: what is computed beside a request may move its last bits.
      await ask(1);
      const first = await ask(1);
      expect(await ask(1)).toBe(first);
      expect(new Set([first, await ask(2), await ask(3)]).size).toBeGreaterThan(1);
    });

    it('ends before a stop sequence and never shows a part of it', async () => {
      const whole = contentOf(await chats().create({ ...endless, max_tokens: 60 }));
      const stop = whole.slice(20, 26);
      const expected = whole.slice(0, whole.indexOf(stop));
      for (const given of [stop, ['never to be seen', stop]]) {
        const request = { ...endless, max_tokens: 60, stop: given };
        const answer = await chats().create(request);
        expect(contentOf(answer)).toBe(expected);
        expect(answer.choices[0]?.finish_reason).toBe('stop');
        const chunks = await chunksOf(request);
        expect(streamedText(chunks)).toBe(expected);
        expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop');
      }
    });

    it.each(['max_tokens', 'max_completion_tokens'])(
      'ends with the reason length after %s',
      async (limit) => {
        const answer = await chats().create({ ...endless, [limit]: 7 });
        expect(answer.choices[0]?.finish_reason).toBe('length');
        expect(answer.usage?.completion_tokens).toBe(7);
      },
    );

    it('does not end where the end is banned by logit_bias', async () => {
      const { max_tokens: _, ...open } = hello;
      expect((await chats().create(open)).choices[0]?.finish_reason).toBe('stop');
      const banned = await chats().create({ ...hello, logit_bias: endless.logit_bias, max_tokens: 300 });
      expect(banned.choices[0]?.finish_reason).toBe('length');
      expect(banned.usage?.completion_tokens).toBe(300);
    });

    it('goes on with an assistant message at its end', async () => {
      const whole = contentOf(await chats().create({ ...endless, max_tokens: 40 }));
      const begun = whole.slice(0, 15);
      const answer = await chats().create({
        ...endless,
        messages: [...endless.messages, { role: 'assistant', content: begun }],
        max_tokens: 25,
      });
      expect(begun + contentOf(answer)).toBe(whole);
    });

    it('takes content as parts, and the role developer for system', async () => {
      const ask = async (messages: OpenAI.ChatCompletionMessageParam[]) =>
        contentOf(await chats().create({ ...endless, messages, max_tokens: 20 }));
      const plain = await ask([
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Say hello.' },
      ]);
      const inParts = await ask([
        { role: 'developer', content: [{ type: 'text', text: 'Be brief.' }] },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Say ' },
            { type: 'text', text: 'hello.' },
          ],
        },
      ]);
      expect(inParts).toBe(plain);
    });
  });

  describe('a streamed chat', () => {
    it('is the same answer in pieces', async () => {
      const whole = await chats().create(hello);
      const chunks = await chunksOf(hello);
      expect(streamedText(chunks)).toBe(contentOf(whole));
      expect(chunks.length).toBeGreaterThan(3);
      expect(chunks[0]).toMatchObject({
        model: 'demo',
        choices: [{ delta: { role: 'assistant', content: '' } }],
      });
      expect(chunks.at(-1)?.choices[0]).toMatchObject({ delta: {}, finish_reason: 'stop' });
      expect(chunks.some((chunk) => 'usage' in chunk)).toBe(false);
    });

    it('tells its usage in a last chunk if asked', async () => {
      const { usage } = await chats().create(hello);
      const chunks = await chunksOf(withFields(hello, { stream_options: { include_usage: true } }));
      expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
      const last = chunks.at(-1);
      expect(last?.choices).toEqual([]);
      expect(last?.usage).toMatchObject({
        prompt_tokens: usage?.prompt_tokens,
        completion_tokens: usage?.completion_tokens,
      });
    });

    it('can be gathered by the .stream() helper', async () => {
      const stream = chats().stream(hello);
      let heard = '';
      stream.on('content', (piece) => {
        heard += piece;
      });
      const answer = await stream.finalChatCompletion();
      expect(contentOf(answer)).toBe(contentOf(await chats().create(hello)));
      expect(heard).toBe(contentOf(answer));
      expect(answer.choices[0]?.finish_reason).toBe('stop');
    });
  });

  describe('several choices', () => {
    const three = { ...diverse, n: 3, seed: 7, max_tokens: 20 };

    it('come as one object, each with its own text', async () => {
      const answer = await chats().create(three);
      expect(answer.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
      expect(new Set(answer.choices.map(({ message }) => message.content)).size).toBeGreaterThan(1);
      expect(answer.usage?.completion_tokens).toBe(60);
    });

    it('come as one stream', async () => {
      const chunks = await chunksOf(three);
      const texts = [0, 1, 2].map((index) => streamedText(chunks, index));
      expect(texts).not.toContain('');
      expect(new Set(texts).size).toBeGreaterThan(1);
      const reasons = chunks
        .flatMap(({ choices }) => choices)
        .flatMap((choice) => choice.finish_reason ?? []);
      expect(reasons).toEqual(['length', 'length', 'length']);
    });
  });

  describe('a response format', () => {
    const place = z.strictObject({
      city: z.string().max(12),
      kind: z.enum(['town', 'village']),
      large: z.boolean(),
      rivers: z.array(z.string().max(8)).max(2),
    });
    const request = { ...hello, response_format: zodResponseFormat(place, 'place') };

    it('with a strict schema makes answers that are valid', async () => {
      for (const temperature of [0, 2]) {
        const answer = await chats().create({ ...request, temperature, seed: 5 });
        expect(place.safeParse(JSON.parse(contentOf(answer))).success, contentOf(answer)).toBe(true);
        expect(answer.choices[0]?.finish_reason).toBe('stop');
      }
    });

    it('with a strict schema can be streamed', async () => {
      const chunks = await chunksOf(request);
      expect(place.safeParse(JSON.parse(streamedText(chunks))).success).toBe(true);
    });

    it('is parsed by the .parse() helper', async () => {
      const answer = await chats().parse(request);
      expect(answer.choices[0]?.message.parsed).toEqual(JSON.parse(contentOf(answer)));
    });

    it('of any JSON object makes one', async () => {
      const answer = await chats().create({
        ...hello,
        response_format: { type: 'json_object' },
        // A small model may go on for long: the closing brace is made likely.
        logit_bias: { [String('}'.charCodeAt(0))]: 20 },
      });
      expect(JSON.parse(contentOf(answer))).toBeTypeOf('object');
      expect(contentOf(answer)).toMatch(/^\{/);
    });

    const unenforced = engine === 'embedded' ? 'pattern' : 'not';

    it('with a keyword that cannot be enforced is refused, naming it', async () => {
      const failure = await failureOf(
        chats().create({
          ...hello,
          response_format: {
            type: 'json_schema',
            json_schema: { name: 'x', strict: true, schema: { type: 'string', [unenforced]: '^a+$' } },
          },
        }),
      );
      expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
      expect(failure).toMatchObject({ code: 'invalid_schema', param: 'response_format' });
      expect(String(failure)).toContain(`'${unenforced}'`);
    });
  });

  describe('what this engine has not is refused and never dropped', () => {
    const tool = {
      type: 'function' as const,
      function: { name: 'weather', parameters: { type: 'object', properties: {} } },
    };
    it.each<[string, object]>([
      ['tools', { tools: [tool] }],
      ...(engine === 'embedded'
        ? [['logprobs', { logprobs: true, top_logprobs: 2 }] as [string, object]]
        : []),
      [
        'messages[0].content',
        {
          messages: [
            {
              role: 'user',
              content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }],
            },
          ],
        },
      ],
    ])('%s', async (param, fields) => {
      for (const stream of [false, true]) {
        const failure = await failureOf(chats().create(withFields(hello, { ...fields, stream })));
        expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
        expect(failure).toMatchObject({ status: 400, code: 'unsupported_parameter', param });
      }
    });
  });
}
