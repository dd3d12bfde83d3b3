// A node with API keys: who has none is told so, on every route but two, and learns nothing else.
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { contentOf, failureOf, hello, useNode } from './node-under-test.ts';

const key = 'a-key-for-this-test-only';
const under = useNode(() => ['--model', 'demo'], {
  environment: { MESHNODE_API_KEY: `${key},another-key-of-it` },
});
const statusWith = async (headers: Record<string, string>, path = '/v1/models') =>
  (await under.connect().fetch(path, { headers })).status;

describe('a node with API keys', () => {
  it('answers whoever presents one as a bearer token', async () => {
    for (const apiKey of [key, 'another-key-of-it']) {
      const { client } = under.connect({ apiKey });
      expect(contentOf(await client.chat.completions.create(hello))).not.toBe('');
    }
  });

  it('answers whoever presents one as x-api-key', async () => {
    expect(await statusWith({ 'x-api-key': key })).toBe(200);
  });

  it('refuses a wrong key', async () => {
    const { client, answers } = under.connect({ apiKey: `${key}x`, maxRetries: 2 });
    for (const request of [client.models.list(), client.chat.completions.create(hello)]) {
      const failure = await failureOf(request);
      expect(failure).toBeInstanceOf(OpenAI.AuthenticationError);
      expect(failure).toMatchObject({ status: 401, code: 'invalid_api_key', type: 'authentication_error' });
      expect(String(failure)).not.toContain(key);
    }
    expect(answers).toHaveLength(2);
  });

  it.each([
    '/v1/models',
    '/v1/models/demo',
    '/v1/chat/completions',
    '/metrics',
    '/version',
    '/no/such/route',
  ])('refuses whoever presents none (%s)', async (path) => {
    expect(await statusWith({}, path)).toBe(401);
    expect(await statusWith({ authorization: key }, path)).toBe(401);
    expect(await statusWith({ 'x-api-key': '' }, path)).toBe(401);
  });

  it('shows that it lives without one', async () => {
    expect((await fetch(`${under.node.origin}/health`)).status).toBe(200);
  });
});
