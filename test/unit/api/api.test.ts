import { createHash } from 'node:crypto';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { startApi } from '../../../src/api/api.ts';
import { hashedKey } from '../../../src/http/guards.ts';
import type { InferenceEvent } from '../../../src/inference/events.ts';
import { rawConnect, rawGet, rawPost } from '../../support/raw-http.ts';
import {
  accepted,
  answerOf,
  end,
  readyModel,
  ScriptedDispatch,
  usage,
} from '../../support/scripted-dispatch.ts';
import { apiOptions, hello, keyRing, startTestApi } from '../../support/test-api.ts';

const failure = (event: Partial<Extract<InferenceEvent, { type: 'error' }>>): InferenceEvent => ({
  type: 'error',
  code: 'engine_lost',
  message: 'It broke.',
  retryable: true,
  phase: 'before-output',
  ...event,
});

async function errorOf(response: Response) {
  const { error } = (await response.json()) as { error: Record<string, unknown> };
  return error;
}

describe('whole answers over HTTP', () => {
  it('are what the official client expects', async () => {
    const { client, dispatch } = await startTestApi();
    const completion = await client.chat.completions.create(hello);
    expect(completion.choices).toEqual([
      {
        index: 0,
        message: { role: 'assistant', content: 'Hello world', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ]);
    expect(completion.usage?.prompt_tokens_details?.cached_tokens).toBe(3);
    expect(dispatch.last.options.stream).toBe(false);
  });

  it('have as many choices as were asked for (point 21)', async () => {
    const { client } = await startTestApi((request) => [
      accepted,
      ...(request.kind === 'chat'
        ? Array.from({ length: request.output.choices }, (_, index) => index)
        : []
      ).flatMap((index): InferenceEvent[] => [
        { type: 'delta', index, text: `answer ${index}` },
        { type: 'finish', index, reason: 'stop' },
      ]),
      usage,
      end,
    ]);
    const { choices } = await client.chat.completions.create({ ...hello, n: 3 });
    expect(choices.map(({ message }) => message.content)).toEqual(['answer 0', 'answer 1', 'answer 2']);
  });

  it('have a choice for each prompt of a completion', async () => {
    const { client, dispatch } = await startTestApi((request) =>
      answerOf({
        type: 'delta',
        index: 0,
        text: request.kind === 'completion' ? `<${String(request.prompt)}>` : '',
      }),
    );
    const { choices, usage: sum } = await client.completions.create({
      model: 'demo',
      prompt: ['a', 'b', 'c'],
    });
    expect(choices.map(({ index, text }) => [index, text])).toEqual([
      [0, '<a>'],
      [1, '<b>'],
      [2, '<c>'],
    ]);
    expect(sum).toMatchObject({ prompt_tokens: 21, completion_tokens: 6 });
    expect(dispatch.calls).toHaveLength(3);
  });

  it('stop at the first prompt that fails', async () => {
    const { client, dispatch } = await startTestApi((request) =>
      request.kind === 'completion' && request.prompt === 'b'
        ? [failure({ code: 'context_length_exceeded', retryable: false })]
        : answerOf({ type: 'delta', index: 0, text: 'x' }),
    );
    const asked = client.completions.create({ model: 'demo', prompt: ['a', 'b', 'c'] });
    await expect(asked).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
    expect(dispatch.calls).toHaveLength(2);
  });

  it('give embeddings as base64 and as numbers (point 1)', async () => {
    const vectors = [new Float32Array([0.5, -1.25, 3e-7]), new Float32Array([1, 2, 3]).subarray(0, 3)];
    const { client, post } = await startTestApi(() => [
      accepted,
      ...vectors.map((values, index): InferenceEvent => ({ type: 'vector', index, values })).reverse(),
      usage,
      end,
    ]);
    const byDefault = await client.embeddings.create({ model: 'demo', input: ['a', 'b'] });
    expect(byDefault.data.map(({ embedding }) => Float32Array.from(embedding))).toEqual(vectors);
    expect(byDefault.usage).toEqual({ prompt_tokens: 7, total_tokens: 7 });
    const plain = await post('/v1/embeddings', { model: 'demo', input: ['a', 'b'] });
    expect(((await plain.json()) as { data: unknown[] }).data[1]).toEqual({
      object: 'embedding',
      index: 1,
      embedding: [1, 2, 3],
    });
  });

  it('rank documents, best first', async () => {
    const scores = [0.1, 0.9, 0.5];
    const { post } = await startTestApi(() => [
      accepted,
      ...scores.map((score, index): InferenceEvent => ({ type: 'score', index, score })),
      end,
    ]);
    const response = await post('/v1/rerank', {
      model: 'demo',
      query: 'q',
      documents: ['a', { text: 'b' }, 'c'],
      top_n: 2,
      return_documents: true,
    });
    expect(await response.json()).toMatchObject({
      model: 'demo',
      results: [
        { index: 1, relevance_score: 0.9, document: { text: 'b' } },
        { index: 2, relevance_score: 0.5, document: { text: 'c' } },
      ],
    });
  });

  it('share a connection, pipelined, in order', async () => {
    const api = await startTestApi();
    const connection = await rawConnect(api.port);
    connection.write(
      rawPost('/v1/chat/completions', { ...hello, stream: true }) +
        rawGet('/v1/models') +
        rawPost('/v1/chat/completions', hello),
    );
    const text = await connection.until('"chat.completion"');
    const order = ['[DONE]', '"owned_by"', '"chat.completion"'].map((mark) => text.indexOf(mark));
    expect(order).toEqual([...order].sort((one, other) => one - other));
    expect(order).not.toContain(-1);
  });
});

describe('failures over HTTP', () => {
  it('name the node that answered, to whoever may ask', async () => {
    const { url } = await startTestApi(undefined, { keys: keyRing(hashedKey('mine', 'a-key')) });
    const peerOf = async (path: string, key: string) =>
      (await fetch(`${url}${path}`, { headers: { 'x-api-key': key } })).headers.get('x-meshnode-peer');
    expect(await peerOf('/v1/models', 'a-key')).toBe('workstation');
    expect(await peerOf('/v1/nothing', 'a-key')).toBe('workstation');
    expect(await peerOf('/v1/models', 'wrong')).toBeNull();
  });

  it('have message, type, param and code, and a request id (point 10)', async () => {
    const { post } = await startTestApi();
    const response = await post(
      '/v1/chat/completions',
      { ...hello, temperature: 'hot' },
      { 'x-request-id': 'mine' },
    );
    expect(response.status).toBe(400);
    expect(response.headers.get('x-request-id')).toBe('mine');
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await errorOf(response)).toEqual({
      message: expect.stringContaining('`temperature`'),
      type: 'invalid_request_error',
      param: 'temperature',
      code: 'invalid_request',
    });
  });

  it('of a loading model say when to come back and how far it is (point 9)', async () => {
    const loading = { stage: 'loading', fraction: 0.4 };
    const { post, client } = await startTestApi(() => [
      failure({ code: 'model_loading', retryAfterSeconds: 500, data: { loading, path: '/secret' } }),
    ]);
    const response = await post('/v1/chat/completions', hello);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '60']);
    expect(await errorOf(response)).toMatchObject({ code: 'model_loading', loading });
    const asked = client.chat.completions.create({ ...hello, stream: true });
    await expect(asked).rejects.toMatchObject({ status: 503, code: 'model_loading' });
  });

  it('of a full queue have rate-limit headers (point 11)', async () => {
    const { post } = await startTestApi(() => [
      failure({ code: 'queue_full', retryAfterSeconds: 2.2, data: { limit: 256 } }),
    ]);
    const { status, headers } = await post('/v1/chat/completions', hello);
    expect(status).toBe(429);
    expect(headers.get('retry-after')).toBe('3');
    expect(headers.get('x-ratelimit-limit-requests')).toBe('256');
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(headers.get('x-ratelimit-reset-requests')).toBe('3s');
    expect(headers.get('x-should-retry')).toBeNull();
  });

  it('are not repeated by the client once tokens were produced (point 12)', async () => {
    const api = await startTestApi(() => [
      accepted,
      { type: 'delta', index: 0, text: 'Half' },
      failure({ phase: 'during-output' }),
    ]);
    const client = new OpenAI({ baseURL: `${api.url}/v1`, apiKey: 'any', maxRetries: 2 });
    await expect(client.chat.completions.create(hello)).rejects.toMatchObject({ status: 502 });
    expect(api.dispatch.calls).toHaveLength(1);
  });

  it('are repeated by the client while nothing was produced', async () => {
    const api = await startTestApi(() => [failure({ retryAfterSeconds: 0 })]);
    const client = new OpenAI({ baseURL: `${api.url}/v1`, apiKey: 'any', maxRetries: 1 });
    await expect(client.chat.completions.create(hello)).rejects.toMatchObject({ status: 502 });
    expect(api.dispatch.calls).toHaveLength(2);
  });

  it.each([
    ['context_length_exceeded', 400],
    ['model_not_found', 404],
    ['shutting_down', 503],
    ['deadline_exceeded', 504],
  ] as const)('keep the code %s (points 13, 14)', async (code, status) => {
    const { client } = await startTestApi(() => [failure({ code, retryable: false })]);
    await expect(client.chat.completions.create(hello)).rejects.toMatchObject({ status, code });
  });

  it('of routes and methods are JSON (point 15)', async () => {
    const api = await startTestApi();
    for (const path of ['/v1', '/v1/unknown', '/v1/audio/speech', '/favicon.ico']) {
      const response = await fetch(`${api.url}${path}`);
      expect([response.status, (await errorOf(response))['code']]).toEqual([404, 'unknown_url']);
    }
    const wrong = await fetch(`${api.url}/v1/chat/completions`);
    expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
    expect((await errorOf(wrong))['code']).toBe('method_not_allowed');
  });

  it('of bodies have their own codes (point 16)', async () => {
    const { post } = await startTestApi();
    const media = await post('/v1/chat/completions', hello, { 'content-type': 'text/plain' });
    expect([media.status, (await errorOf(media))['code']]).toEqual([415, 'unsupported_media_type']);
    const json = await post('/v1/chat/completions', '{"model":');
    expect([json.status, (await errorOf(json))['code']]).toEqual([400, 'invalid_json']);
  });
});

describe('bodies of 64 MiB (point 16)', () => {
  const mebibyte = 1024 * 1024;
  const bodyOf = (bytes: number): string => {
    const rest = JSON.stringify({ ...hello, messages: [{ role: 'user', content: '' }] }).length;
    return JSON.stringify({ ...hello, messages: [{ role: 'user', content: 'x'.repeat(bytes - rest) }] });
  };

  it('are read, and one byte more is not, announced or not', async () => {
    const { url, post, dispatch } = await startTestApi();
    const largest = bodyOf(64 * mebibyte);
    expect((await post('/v1/chat/completions', largest)).status).toBe(200);
    expect(dispatch.calls).toHaveLength(1);

    const announced = await post('/v1/chat/completions', `${largest} `);
    expect([announced.status, (await errorOf(announced))['code']]).toEqual([413, 'body_too_large']);

    const bytes = Buffer.from(`${largest} `);
    const chunked = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      duplex: 'half',
      body: new ReadableStream({
        start(controller) {
          for (let at = 0; at < bytes.length; at += mebibyte) {
            controller.enqueue(bytes.subarray(at, at + mebibyte));
          }
          controller.close();
        },
      }),
    });
    expect([chunked.status, (await errorOf(chunked))['code']]).toEqual([413, 'body_too_large']);
    expect(dispatch.calls).toHaveLength(1);
  });
});

describe('models', () => {
  it('are listed without paths, with what they can do', async () => {
    const api = await startTestApi();
    const response = await fetch(`${api.url}/v1/models`);
    const text = await response.text();
    expect(text).not.toContain('/home/');
    expect(JSON.parse(text)).toEqual({
      object: 'list',
      data: [
        {
          id: 'demo',
          object: 'model',
          created: 1_700_000_000,
          owned_by: 'meshnode',
          meshnode: { state: 'ready', replicas: 1, kinds: ['chat', 'completion'], context: 4096 },
        },
      ],
    });
  });

  it('are found by names with slashes and colons, however they are encoded (point 24)', async () => {
    const { client, dispatch, url } = await startTestApi();
    dispatch.served.push(readyModel('org/repo:Q4'));
    expect((await client.models.retrieve('org/repo:Q4')).id).toBe('org/repo:Q4');
    expect((await fetch(`${url}/v1/models/org/repo:Q4/?beta=true`)).status).toBe(200);
    expect((await client.models.list()).data).toHaveLength(2);
  });

  it('that do not exist are answered with near names (point 14)', async () => {
    const { client } = await startTestApi();
    await expect(client.models.retrieve('demi')).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
      message: expect.stringContaining("'demo'"),
    });
  });
});

describe('operations', () => {
  it('tell life, readiness and version', async () => {
    let ready = false;
    const api = await startTestApi(undefined, {
      readiness: () => ({ ready, waitingFor: ready ? [] : ['demo is loading'] }),
    });
    const get = async (path: string) => {
      const response = await fetch(`${api.url}${path}`);
      return [response.status, await response.json()];
    };
    expect(await get('/health')).toEqual([200, { status: 'ok' }]);
    expect(await get('/readyz')).toEqual([503, { status: 'waiting', waiting_for: ['demo is loading'] }]);
    ready = true;
    expect(await get('/readyz?verbose')).toEqual([200, { status: 'ready', waiting_for: [] }]);
    expect(await get('/version')).toEqual([200, { name: 'meshnode', version: '1.2.3', peer: 'workstation' }]);
  });

  it('answer probes of the root (point 24)', async () => {
    const api = await startTestApi();
    const probe = await fetch(`${api.url}/`, { method: 'HEAD' });
    expect([probe.status, await probe.text()]).toEqual([200, '']);
    expect(await (await fetch(`${api.url}/`)).text()).toContain('meshnode 1.2.3');
  });

  it('count requests by bounded labels', async () => {
    const { post, url, dispatch } = await startTestApi(undefined, { limits: {} });
    await post('/v1/chat/completions', hello);
    await post('/v1/chat/completions', { ...hello, model: 'name of a stranger' });
    await fetch(`${url}/some/path`);
    dispatch.script = () => [accepted, failure({})];
    await post('/v1/chat/completions', hello);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    for (const line of [
      'meshnode_requests_total{model="demo",route="/v1/chat/completions",code="200"} 1',
      'meshnode_requests_total{model="demo",route="/v1/chat/completions",code="502"} 1',
      'meshnode_requests_total{model="unknown",route="/v1/chat/completions",code="200"} 1',
      'meshnode_requests_total{model="none",route="none",code="404"} 1',
      'meshnode_ttft_seconds_count{model="demo"} 1',
      'meshnode_tpot_seconds_count{model="demo"} 1',
      'meshnode_queue_depth 0',
    ]) {
      expect(metrics).toContain(line);
    }
    expect(metrics).not.toContain('stranger');
  });
});

describe('waiting for a model', () => {
  it('is wished for in seconds, within bounds', async () => {
    const { post, dispatch } = await startTestApi();
    const wish = async (seconds: string) => {
      const { status } = await post('/v1/chat/completions', hello, { 'x-meshnode-wait': seconds });
      return [status, dispatch.calls.at(-1)?.options.waitForLoadMs];
    };
    expect(await wish('2.5')).toEqual([200, 2_500]);
    expect(await wish('99999')).toEqual([200, 600_000]);
    expect((await wish('soon'))[0]).toBe(400);
  });
});

describe('who may call', () => {
  const sha256 = createHash('sha256').update('secret').digest('hex');
  const keys = keyRing({ name: 'laptop', sha256 });

  it('is everybody on this machine, without a key', async () => {
    const api = await startTestApi();
    expect((await fetch(`${api.url}/v1/models`)).status).toBe(200);
  });

  it.each(['0.0.0.0', '::', '192.0.2.1', 'example.org'])('needs a key when listening on %s', async (host) => {
    await expect(startApi(apiOptions({ host }))).rejects.toMatchObject({ code: 'key_required' });
  });

  it('is who has a key, in either header, once there are keys (point 23)', async () => {
    const api = await startTestApi(undefined, { keys, host: '0.0.0.0' });
    const statusWith = async (headers: Record<string, string>, path = '/v1/models') =>
      (await fetch(`${api.url}${path}`, { headers })).status;
    expect(await statusWith({ authorization: 'Bearer secret' })).toBe(200);
    expect(await statusWith({ 'x-api-key': 'secret' })).toBe(200);
    expect(await statusWith({ authorization: 'Bearer wrong' })).toBe(401);
    expect(await statusWith({})).toBe(401);
    expect(await statusWith({}, '/metrics')).toBe(401);
    expect(await statusWith({}, '/no/such/route')).toBe(401);
    expect(await statusWith({}, '/health')).toBe(200);
  });

  it('is no page of another site, and no name that was rebound', async () => {
    const api = await startTestApi(undefined, {
      allowedOrigins: ['https://chat.example.org'],
      allowedHosts: ['node.home'],
    });
    const answer = async (host: string, origin?: string) => {
      const connection = await rawConnect(api.port);
      const originLine = origin === undefined ? '' : `Origin: ${origin}\r\n`;
      connection.write(`GET /v1/models HTTP/1.1\r\nHost: ${host}\r\n${originLine}Connection: close\r\n\r\n`);
      const text = await connection.closed;
      return [text.slice(9, 12), /access-control-allow-origin: (.*)\r/.exec(text)?.[1]];
    };
    expect(await answer('localhost:9337')).toEqual(['200', undefined]);
    expect(await answer('node.home')).toEqual(['200', undefined]);
    expect(await answer('evil.example:9337')).toEqual(['403', undefined]);
    expect(await answer('localhost', 'http://localhost:5173')).toEqual(['200', 'http://localhost:5173']);
    expect(await answer('localhost', 'https://chat.example.org')).toEqual([
      '200',
      'https://chat.example.org',
    ]);
    expect(await answer('localhost', 'https://evil.example')).toEqual(['403', undefined]);
    expect(await answer('localhost', 'null')).toEqual(['403', undefined]);
  });

  it('is told to browsers before they send a request', async () => {
    const api = await startTestApi(undefined, { keys });
    const preflight = (origin: string, path = '/v1/chat/completions') =>
      fetch(`${api.url}${path}`, {
        method: 'OPTIONS',
        headers: {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization,x-stainless-os',
        },
      });
    const allowed = await preflight('http://localhost:3000');
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-origin')).toBe('http://localhost:3000');
    expect(allowed.headers.get('access-control-allow-methods')).toBe('POST, OPTIONS');
    expect(allowed.headers.get('access-control-allow-headers')).toBe('authorization,x-stainless-os');
    expect((await preflight('https://evil.example')).status).toBe(403);
    expect((await preflight('http://localhost:3000', '/nothing')).status).toBe(404);
  });
});

describe('strangers', () => {
  it('never bring about a 500 or an end of the process', async () => {
    const api = await startTestApi();
    const bodies = [
      '[]',
      '3',
      '"x"',
      'null',
      '{}',
      '{"__proto__":1}',
      '{"model":{}}',
      `{"\ud800":1,"model":"demo"}`,
    ];
    const paths = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/rerank'];
    for (const path of paths) {
      for (const body of bodies) {
        const { status } = await api.post(path, body);
        expect(status).toBe(400);
      }
    }
    expect((await fetch(`${api.url}/health`)).status).toBe(200);
  });

  it('may use any names for fields that are dropped', async () => {
    const { post } = await startTestApi();
    const odd = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`${index} ü\r\n;,`, 1]));
    const { status, headers } = await post('/v1/chat/completions', { ...hello, '\ud800': 1, ...odd });
    expect(status).toBe(200);
    expect(headers.get('x-meshnode-ignored')).toMatch(/^[\w.-]+(, [\w.-]+){15}, \.\.\.$/);
  });
});

describe('closing', () => {
  it('lets a running stream end', async () => {
    const go = Promise.withResolvers<void>();
    const dispatch = new ScriptedDispatch(async function* () {
      yield accepted;
      yield { type: 'delta', index: 0, text: 'Hello' };
      await go.promise;
      yield { type: 'finish', index: 0, reason: 'stop' };
      yield end;
    });
    const api = await startApi(apiOptions({ dispatch }));
    const connection = await rawConnect(api.port);
    connection.write(rawPost('/v1/chat/completions', { ...hello, stream: true }));
    await connection.until('Hello');
    const closed = api.close(10_000);
    go.resolve();
    expect(await connection.closed).toContain('[DONE]');
    await closed;
  });
});
