// What holds for every route: the model list, typed errors, request ids, headers, fields that are refused.
import OpenAI, { APIError } from 'openai';
import { describe, expect, it } from 'vitest';
import { contentOf, failureOf, hello, useNode, withFields } from './node-under-test.ts';

const under = useNode(() => ['--model', 'demo', '--model', 'demo-embed']);
const openai = () => under.connect().client;

describe('the model list', () => {
  it('names each model, and tells nothing of where it lies', async () => {
    const list = await Array.fromAsync(openai().models.list());
    expect(list.map(({ id }) => id)).toEqual(['demo', 'demo-embed']);
    expect(list.every(({ owned_by }) => owned_by === 'meshnode')).toBe(true);
    expect(JSON.stringify(list)).not.toMatch(/gguf|[\\/]/);
  });

  it('gives one model by its name', async () => {
    const [first] = (await openai().models.list()).data;
    expect(await openai().models.retrieve('demo')).toEqual(first);
  });

  it('does not know other names, but near ones', async () => {
    const failure = await failureOf(openai().models.retrieve('org/dmeo'));
    expect(failure).toBeInstanceOf(OpenAI.NotFoundError);
    expect(failure).toMatchObject({ code: 'model_not_found', param: 'model' });
    expect(String(await failureOf(openai().models.retrieve('dmeo')))).toContain("'demo'");
  });
});

describe('a request that cannot be answered is a typed error', () => {
  const chat = (fields: object) => openai().chat.completions.create(withFields(hello, fields));

  it('for a model that is not served: 404, naming near ones', async () => {
    const failure = await failureOf(chat({ model: 'dmeo' }));
    expect(failure).toBeInstanceOf(OpenAI.NotFoundError);
    expect(failure).toMatchObject({ code: 'model_not_found', type: 'not_found_error', param: 'model' });
    expect(String(failure)).toContain("Did you mean 'demo'");
  });

  it('for a model that does something else: 400', async () => {
    const failure = await failureOf(chat({ model: 'demo-embed' }));
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
    expect(failure).toMatchObject({ code: 'model_unsupported', param: 'model' });
    const reverse = await failureOf(openai().embeddings.create({ model: 'demo', input: 'x' }));
    expect(reverse).toMatchObject({ status: 400, code: 'model_unsupported' });
  });

  it.each([false, true])('for a prompt larger than the context: 400 (stream: %s)', async (stream) => {
    const messages = [{ role: 'user', content: 'word '.repeat(1000) }];
    const failure = await failureOf(chat({ messages, stream }));
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
    expect(failure).toMatchObject({ code: 'context_length_exceeded' });
  });

  it.each<[string, object]>([
    ['messages', { messages: undefined }],
    ['messages[0].role', { messages: [{ role: 'narrator', content: 'x' }] }],
    ['messages[0].content', { messages: [{ role: 'user' }] }],
    ['temperature', { temperature: 'hot' }],
    ['max_tokens', { max_tokens: -1 }],
    ['n', { n: 1000 }],
    ['stop[0]', { stop: [7] }],
    ['logit_bias', { logit_bias: { word: 1 } }],
    ['response_format.type', { response_format: { type: 'poem' } }],
    ['model', { model: undefined }],
  ])('for a wrong field: 400 that names %s', async (param, fields) => {
    const failure = await failureOf(chat(fields));
    expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
    expect(failure).toMatchObject({ type: 'invalid_request_error', param });
  });

  it.each(['id_slot', 'lora', 'n_predict', 'chat_template', 'return_progress'])(
    'for a field that belongs to the serving node: 400 (%s)',
    async (name) => {
      const failure = await failureOf(chat({ [name]: 1 }));
      expect(failure).toBeInstanceOf(OpenAI.BadRequestError);
      expect(failure).toMatchObject({ code: 'forbidden_parameter', param: name });
    },
  );

  it('for a route that does not exist: 404', async () => {
    const failure = await failureOf(openai().moderations.create({ input: 'x' }));
    expect(failure).toBeInstanceOf(OpenAI.NotFoundError);
    expect(failure).toMatchObject({ code: 'unknown_url' });
  });

  it('for a wrong method: 405 that names the right one', async () => {
    const failure = await failureOf(openai().get('/chat/completions'));
    expect(failure).toBeInstanceOf(APIError);
    expect(failure).toMatchObject({ status: 405, code: 'method_not_allowed' });
    expect((failure as APIError).headers?.get('allow')).toContain('POST');
  });

  it('for a body above 64 MiB: 413', async () => {
    const input = 'x'.repeat(64 * 1024 * 1024);
    const failure = await failureOf(openai().embeddings.create({ model: 'demo-embed', input }));
    expect(failure).toBeInstanceOf(APIError);
    expect(failure).toMatchObject({ status: 413, code: 'body_too_large' });
  });

  it.each<[string, Record<string, string>]>([
    ['of another type', { 'content-type': 'text/plain' }],
    ['that is compressed', { 'content-type': 'application/json', 'content-encoding': 'gzip' }],
  ])('for a body %s: 415', async (_, headers) => {
    const failure = await failureOf(openai().chat.completions.create(hello, { headers }));
    expect(failure).toMatchObject({ status: 415, code: 'unsupported_media_type' });
  });

  it.each(['{"model": "demo",', '', '[]', '"demo"', '{"model": NaN}'])(
    'for the body %j: 400',
    async (body) => {
      const response = await under.connect().fetch('/v1/chat/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({
        error: { code: body === '[]' || body === '"demo"' ? 'invalid_request' : 'invalid_json' },
      });
    },
  );

  it('for a foreign web page: 403', async () => {
    const failure = await failureOf(
      openai().chat.completions.create(hello, { headers: { origin: 'https://evil.example' } }),
    );
    expect(failure).toBeInstanceOf(OpenAI.PermissionDeniedError);
    expect(failure).toMatchObject({ code: 'forbidden_origin', type: 'permission_error' });
  });

  it('is not sent again by the client', async () => {
    const { client, answers } = under.connect({ maxRetries: 2 });
    await failureOf(client.chat.completions.create({ ...hello, model: 'none' }));
    expect(answers.map(({ status }) => status)).toEqual([404]);
  });
});

describe('the headers of an answer', () => {
  it('hold a request id, which the client shows, errors too', async () => {
    const { client, answers } = under.connect();
    const answer = await client.chat.completions.create(hello);
    expect(answer._request_id).toBe(answers[0]?.headers.get('x-request-id'));
    expect(answer._request_id).toMatch(/^req_\w+$/);
    const again = await client.chat.completions.create(hello);
    expect(again._request_id).not.toBe(answer._request_id);
    const failure = await failureOf(client.models.retrieve('none'));
    expect(failure).toMatchObject({ requestID: answers.at(-1)?.headers.get('x-request-id') });
  });

  it("repeat the client's own request id, unless it could harm", async () => {
    const send = async (id: string) =>
      (
        await openai()
          .models.list({ headers: { 'x-request-id': id } })
          .asResponse()
      ).headers.get('x-request-id');
    expect(await send('trace-7f.3:1')).toBe('trace-7f.3:1');
    expect(await send('two words')).toMatch(/^req_/);
    expect(await send('x'.repeat(129))).toMatch(/^req_/);
  });

  it('tell the way of the request', async () => {
    for (const stream of [false, true]) {
      const { client, answers } = under.connect();
      const response = await client.chat.completions.create(withFields(hello, { stream })).asResponse();
      await response.text();
      const headers = answers[0]?.headers;
      expect(headers?.get('x-meshnode-peer')).toMatch(/\S/);
      expect(headers?.get('x-meshnode-attempts')).toBe('1');
      expect(headers?.get('x-meshnode-route')).toBe('mode=solo; where=local; reason=only; model=demo');
      expect(Number(headers?.get('openai-processing-ms'))).toBeGreaterThanOrEqual(0);
    }
  });

  it('name unknown fields, which were ignored', async () => {
    const { client, answers } = under.connect();
    const plain = await client.chat.completions.create(hello);
    const answer = await client.chat.completions.create(
      withFields(hello, { colour: 'red', 'x y\n': 1, store: true, metadata: { a: 'b' }, user: 'me' }),
    );
    expect(contentOf(answer)).toBe(contentOf(plain));
    expect(answers.map(({ headers }) => headers.get('x-meshnode-ignored'))).toEqual([null, 'colour, x_y_']);
  });
});
