// An attached OpenAI server behind a node: what the engine can do reaches the client unharmed, and what it
// does wrong never looks like an answer.
import OpenAI, { APIError } from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DoubleOpenAiServer, defaultKnobs } from '../support/double-openai-server.ts';
import { rawConnect, rawPost } from '../support/raw-http.ts';
import { contentOf, failureOf, streamedText, useNode } from './node-under-test.ts';

const double = new DoubleOpenAiServer();
beforeAll(() => double.start());
afterAll(() => double.stop());
beforeEach(() => {
  const misdeeds = {
    cutAfterTokens: undefined,
    endAfterTokens: undefined,
    spoilWith: undefined,
    refusal: undefined,
  };
  Object.assign(double.knobs, defaultKnobs, misdeeds);
});

const under = useNode(() => ['--attach', double.url]);
beforeAll(() => under.node.process.event('model', { model: 'double', state: 'ready' }));
const openai = () => under.connect().client;

const request = {
  model: 'double',
  messages: [{ role: 'user', content: 'Tell me of the river.' }],
  temperature: 0,
  max_tokens: 24,
} satisfies OpenAI.ChatCompletionCreateParamsNonStreaming;

const weather = {
  type: 'function',
  function: {
    name: 'weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' } },
      required: ['city', 'days'],
      additionalProperties: false,
    },
  },
} satisfies OpenAI.ChatCompletionTool;

describe('an attached model', () => {
  it('is in the list', async () => {
    expect((await openai().models.list()).data.map(({ id }) => id)).toEqual(['double']);
  });

  it('answers, under an id of the node', async () => {
    const answer = await openai().chat.completions.create(request);
    expect(contentOf(answer)).not.toBe('');
    expect(answer.id).not.toContain('double');
    expect(answer.usage?.completion_tokens).toBe(24);
  });

  it('streams the same answer, with its usage', async () => {
    const whole = await openai().chat.completions.create(request);
    const stream = await openai().chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await Array.fromAsync(stream);
    expect(streamedText(chunks)).toBe(contentOf(whole));
    expect(chunks.at(-1)?.usage?.completion_tokens).toBe(24);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
  });

  it('answers completions, embeddings and several choices', async () => {
    const { choices } = await openai().completions.create({
      model: 'double',
      prompt: 'The river',
      max_tokens: 8,
    });
    expect(choices[0]?.text).not.toBe('');
    const { data } = await openai().embeddings.create({ model: 'double', input: ['one', 'two', 'one'] });
    expect(data[2]?.embedding).toEqual(data[0]?.embedding);
    expect(data[0]?.embedding).toHaveLength(defaultKnobs.dimensions);
    const several = await openai().chat.completions.create({ ...request, n: 2 });
    expect(several.choices.map(({ index }) => index)).toEqual([0, 1]);
  });

  it('gives log probabilities of exactly its text', async () => {
    const asked = { ...request, logprobs: true, top_logprobs: 2 };
    const answer = await openai().chat.completions.create(asked);
    const tokens = answer.choices[0]?.logprobs?.content ?? [];
    expect(tokens.map(({ token }) => token).join('')).toBe(contentOf(answer));
    expect(tokens.every(({ top_logprobs }) => top_logprobs.length === 2)).toBe(true);
    const chunks = await Array.fromAsync(await openai().chat.completions.create({ ...asked, stream: true }));
    const streamed = chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? []);
    expect(streamed.map(({ token }) => token).join('')).toBe(contentOf(answer));
  });
});

describe('tools of an attached model', () => {
  const asked = { ...request, tools: [weather], tool_choice: 'required' as const };

  it('are passed on, and called', async () => {
    const answer = await openai().chat.completions.create(asked);
    const [choice] = answer.choices;
    expect(choice).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } });
    const [call] = choice?.message.tool_calls ?? [];
    expect(call).toMatchObject({ type: 'function', function: { name: 'weather' } });
    expect(JSON.parse(call?.type === 'function' ? call.function.arguments : '')).toEqual({
      city: expect.any(String),
      days: expect.any(Number),
    });
    expect(double.requests.at(-1)?.body).toMatchObject({ tools: [weather], tool_choice: 'required' });
  });

  it('are called in a stream that the .stream() helper gathers to the same', async () => {
    const whole = await openai().chat.completions.create(asked);
    const gathered = await openai().chat.completions.stream(asked).finalChatCompletion();
    const called = ({ choices }: OpenAI.ChatCompletion) =>
      choices[0]?.message.tool_calls?.map((call) => call.type === 'function' && call.function.arguments);
    expect(called(gathered)).toEqual(called(whole));
    expect(gathered.choices[0]?.finish_reason).toBe('tool_calls');
  });

  it('may have answered before', async () => {
    const calls = [
      {
        id: 'call_1',
        type: 'function' as const,
        function: { name: 'weather', arguments: '{"city":"Paris"}' },
      },
    ];
    const answer = await openai().chat.completions.create({
      ...request,
      messages: [
        ...request.messages,
        { role: 'assistant', tool_calls: calls },
        { role: 'tool', tool_call_id: 'call_1', content: 'Rain.' },
      ],
      tools: [weather],
      tool_choice: 'none',
    });
    expect(contentOf(answer)).not.toBe('');
    expect(double.requests.at(-1)?.body['messages']).toMatchObject([
      {},
      { role: 'assistant', tool_calls: calls },
      { role: 'tool', tool_call_id: 'call_1', content: 'Rain.' },
    ]);
  });
});

describe('an attached server that fails', () => {
  const read = async () => {
    const pieces = [];
    for await (const chunk of await openai().chat.completions.create({ ...request, stream: true })) {
      pieces.push(chunk);
    }
    return pieces;
  };

  it.each([
    ['breaks off', { cutAfterTokens: 5 }],
    ['ends as if all were well', { endAfterTokens: 5 }],
    ['sends rubbish', { spoilWith: 'data: {"choi\n\n', spoilAfterTokens: 5 }],
  ])('in the middle of a stream (%s) makes the client throw', async (_, knobs) => {
    Object.assign(double.knobs, knobs);
    const failure = await failureOf(read());
    expect(failure).toBeInstanceOf(APIError);
    expect((failure as APIError).code).toMatch(/^engine_/);
  });

  it('in the middle of a stream is told as an error, then the connection breaks', async () => {
    double.knobs.cutAfterTokens = 5;
    const connection = await rawConnect(Number(new URL(under.node.origin).port));
    connection.write(rawPost('/v1/chat/completions', { ...request, stream: true }));
    const received = await connection.closed;
    expect(received.match(/"content":"[^"]/g)).toHaveLength(5);
    expect(received).toMatch(/data: \{"error":\{.*"code":"engine_lost"\}\}\r?\n/);
    expect(received).not.toContain('[DONE]');
    expect(received).not.toContain('\r\n0\r\n\r\n');
  });

  it('in the middle of a whole answer is a 502', async () => {
    double.knobs.cutAfterTokens = 5;
    const failure = await failureOf(openai().chat.completions.create(request));
    expect(failure).toBeInstanceOf(OpenAI.InternalServerError);
    expect(failure).toMatchObject({ status: 502, code: 'engine_lost' });
  });

  it('for it is full is a 429 that says when to come back', async () => {
    const body = { error: { message: 'Too many.', type: 'rate_limit_error', param: null, code: null } };
    double.knobs.refusal = { status: 429, body, headers: { 'retry-after': '7' } };
    const { client, answers } = under.connect();
    const failure = await failureOf(client.chat.completions.create(request));
    expect(failure).toBeInstanceOf(OpenAI.RateLimitError);
    expect(answers[0]?.headers.get('retry-after')).toBe('7');
    expect(answers[0]?.headers.get('x-ratelimit-remaining-requests')).toBe('0');
  });

  it('altogether is told, and forgotten once it is back', async () => {
    await double.stop();
    const failure = await failureOf(openai().chat.completions.create(request));
    expect(failure).toBeInstanceOf(OpenAI.InternalServerError);
    await double.start();
    const ask = () =>
      openai()
        .chat.completions.create(request)
        .then(contentOf, () => '');
    await expect.poll(ask, { timeout: 20_000, interval: 100 }).not.toBe('');
  });

  it('when the client leaves: the server is told within a second', async () => {
    double.knobs.tokensPerSecond = 20;
    const before = double.aborted;
    for await (const _ of await openai().chat.completions.create({
      ...request,
      max_tokens: 400,
      stream: true,
    })) {
      break;
    }
    await expect.poll(() => double.aborted, { timeout: 1_000, interval: 20 }).toBe(before + 1);
    expect(double.active).toBe(0);
  });
});
