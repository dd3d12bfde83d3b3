// The first seconds of a node: its API answers, its last model is still loading. All tests begin at once.
import OpenAI, { type APIError } from 'openai';
import { describe, expect, it } from 'vitest';
import { contentOf, failureOf, hello, streamedText, useNode } from './node-under-test.ts';

// Models load one after the other: the one asked for comes last. With the engine that takes its time for it.
const models = ['--model', 'demo-embed', '--model', 'demo-rerank', '--model', 'demo'];
const under = useNode(() => [...models, '--engine', 'embedded'], { ready: false });

describe.concurrent('while a model is loading', () => {
  it('a request is refused with 503, and told what is going on and when to come back', async () => {
    const failure = await failureOf(under.connect().client.chat.completions.create(hello));
    expect(failure).toBeInstanceOf(OpenAI.InternalServerError);
    expect(failure).toMatchObject({
      status: 503,
      code: 'model_loading',
      error: { loading: { stage: expect.any(String) } },
    });
    const retryAfter = Number((failure as APIError).headers?.get('retry-after'));
    expect(retryAfter).toBeGreaterThanOrEqual(1);
    expect(retryAfter).toBeLessThanOrEqual(60);
  });

  it('the client waits as long as it is told, asks again, and is answered', async () => {
    const { client, answers } = under.connect({ maxRetries: 5 });
    const startMs = performance.now();
    expect(contentOf(await client.chat.completions.create(hello))).not.toBe('');
    const tookMs = performance.now() - startMs;
    const statuses = answers.map(({ status }) => status);
    expect(statuses.at(-1)).toBe(200);
    expect(statuses.slice(0, -1).every((status) => status === 503)).toBe(true);
    expect(statuses.length).toBeGreaterThan(1);
    expect(tookMs).toBeGreaterThanOrEqual(Number(answers[0]?.headers.get('retry-after')) * 1000);
  });

  it('a stream is held, and then answered', async () => {
    const { client, answers } = under.connect();
    const chunks = await Array.fromAsync(await client.chat.completions.create({ ...hello, stream: true }));
    expect(streamedText(chunks)).not.toBe('');
    expect(answers.map(({ status }) => status)).toEqual([200]);
  });

  it('a request that says that it waits is held, and then answered', async () => {
    const { client, answers } = under.connect();
    const headers = { 'x-meshnode-wait': '50' };
    expect(contentOf(await client.chat.completions.create(hello, { headers }))).not.toBe('');
    expect(answers.map(({ status }) => status)).toEqual([200]);
  });

  it('the model is in the list, with its state', async () => {
    const models = (await under.connect().client.models.list()).data;
    expect(models.map(({ id }) => id)).toContain('demo');
  });
});
