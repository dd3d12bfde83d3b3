// A model that is on its way on another node of the mesh: whoever asks for it is told how far it is and when to come
// back, or waits for it, as for one of the own node.
import OpenAI, { type APIError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, endless, failureOf, streamedText, withFields } from '../conformance/node-under-test.ts';
import { DoubleOpenAiServer } from '../support/double-openai-server.ts';
import { paths, useMesh } from '../support/mesh-requests.ts';

const double = new DoubleOpenAiServer();
beforeAll(() => double.start());
afterAll(() => double.stop());

const ofDouble = { model: 'double', messages: [{ role: 'user' as const, content: 'Hello' }], max_tokens: 8 };

describe.each(paths)('over %s, a client of a node without models', (path) => {
  const mesh = useMesh(path, () => ({ ada: ['--attach', double.url], bee: [] }));
  beforeAll(() => mesh().lists('bee', { double: 1 }));

  it('is told how far a model is that is not ready there, and when to come back', async () => {
    const { openai } = mesh().client('bee');
    await double.stop();
    // The failed request makes its node look at once.
    const lost = await failureOf(openai.chat.completions.create(ofDouble));
    expect(lost).toBeInstanceOf(OpenAI.InternalServerError);
    await expect
      .poll(async () => (await mesh().models('bee'))['double']?.meshnode.state, {
        timeout: 5_000,
        interval: 20,
      })
      .toBe('loading');
    for (const stream of [false, true]) {
      const failure = await failureOf(openai.chat.completions.create(withFields(ofDouble, { stream })));
      expect(failure).toMatchObject({
        status: 503,
        code: 'model_loading',
        error: { loading: { stage: 'loading' } },
      });
      const retryAfter = Number((failure as APIError).headers?.get('retry-after'));
      expect(retryAfter).toBeGreaterThanOrEqual(1);
      expect(retryAfter).toBeLessThanOrEqual(60);
    }
    await double.start();
    await mesh().lists('bee', { double: 1 }, 20_000);
    expect(contentOf(await openai.chat.completions.create(ofDouble))).not.toBe('');
  });

  it('has its stream held while a model loads there, and then answered', async () => {
    await mesh().node('ada').client.load('demo-moe', new AbortController().signal);
    const release = await mesh().holdEngine('ada', 'demo-moe');
    await expect
      .poll(async () => (await mesh().models('bee'))['demo-moe']?.meshnode.state, {
        timeout: 5_000,
        interval: 20,
      })
      .toBe('loading');
    const { openai, answers } = mesh().client('bee');
    const asked = { ...endless, model: 'demo-moe', max_tokens: 20, stream: true } as const;
    const reading = openai.chat.completions.create(asked).then((stream) => Array.fromAsync(stream));
    // It goes out before there is a piece of the answer: proxies wait for no longer.
    await expect
      .poll(() => answers.map(({ status }) => status), { timeout: 10_000, interval: 20 })
      .toEqual([200]);
    release();
    expect(streamedText(await reading)).toHaveLength(20);
  });
});
