// The attached-server engine against a server that misbehaves in every way we know of.
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { errorTable } from '../../../../src/util/errors.ts';
import { engineLimits } from '../../../../src/util/limits/engine.ts';
import { createLogger } from '../../../../src/util/logging.ts';
import { attachDouble, attachTo, onceServer, startDouble } from '../../../support/attached.ts';
import type { DoubleServerKnobs } from '../../../support/double-openai-server.ts';
import {
  chatRequest,
  collect,
  complete,
  embeddingRequest,
  rerankRequest,
} from '../../../support/engine-answers.ts';
import { hurriedClock } from '../../../support/hurried-clock.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const prompt = 'Tell me of the sea.';
const key = 'sk-very-secret-1234';

/** The answer to a short chat of a double with these knobs. */
async function answerOf(knobs: Partial<DoubleServerKnobs>, maxTokens = 8) {
  const { model } = await attachDouble(knobs);
  return collect(model, chatRequest('double', prompt, { maxTokens }));
}

describe('an attached server', () => {
  test('gives its models, with the context it tells of', async () => {
    const { attached } = await attachDouble({ models: ['one', 'two'], contextTokens: 777 });
    expect(attached.models().map(({ name }) => name)).toEqual(['one', 'two']);
    expect(attached.models()[0]?.capabilities.contextTokens).toBe(777);
    expect(attached.health).toEqual({ ok: true });
  });

  test('is not attached when nothing listens', async () => {
    const server = await startDouble();
    await server.stop();
    await expect(attachTo(server.url)).rejects.toMatchObject({
      code: 'attach_failed',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test.each([
    'not a url',
    'file:///etc/passwd',
    'http://user:pass@127.0.0.1/v1',
    'http://127.0.0.1/v1?key=1',
  ])('is not attached by the URL %s', async (url) => {
    await expect(attachTo(url)).rejects.toMatchObject({ code: 'attach_failed' });
  });

  test('is found under /v1 when the URL has no path', async () => {
    const server = await startDouble();
    const attached = await attachTo(`http://127.0.0.1:${server.port}/`);
    expect(attached.url).toBe(server.url);
  });

  test('that is silent is given up', async () => {
    const server = await startDouble({ headersDelayMs: 10_000 });
    await expect(attachTo(server.url, { clock: hurriedClock(20) })).rejects.toMatchObject({
      code: 'attach_failed',
      message: expect.stringContaining('silent'),
    });
  });

  test('is given up when the caller aborts', async () => {
    const server = await startDouble({ headersDelayMs: 10_000 });
    const reason = new Error('enough');
    await expect(attachTo(server.url, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test('loses names that no request could carry, and models beyond the limit', async () => {
    const names = Array.from({ length: 600 }, (_, number) => `model-${number}`);
    const { attached } = await attachDouble({
      models: ['ok', 'ok', '', 'x'.repeat(600), 'line\nbreak', { id: 7 }, null, { name: 'no id' }, ...names],
    });
    expect(attached.models()).toHaveLength(512);
    expect(attached.models()[0]?.name).toBe('ok');
  });

  test('tells when models come and go', async () => {
    const { server, attached, model } = await attachDouble({}, { clock: hurriedClock(20) });
    server.knobs.models = ['newer'];
    await onceServer(attached, () => attached.models().some(({ name }) => name === 'newer'));
    expect(attached.models()).toHaveLength(1);
    expect(model.state.state).toBe('unloaded');
  });

  test('that goes away and comes back is noticed both times', async () => {
    const { server, attached, model } = await attachDouble({}, { clock: hurriedClock(20) });
    await server.stop();
    await onceServer(attached, () => !attached.health.ok);
    expect(model.state.state).toBe('restarting');
    const meanwhile = await collect(model, chatRequest('double', prompt));
    expect(meanwhile.error?.code).toBe('engine_unavailable');
    // Its address is for the owner of the node, not for clients.
    expect(attached.health.error?.message).toContain(server.url);
    expect(meanwhile.error?.message).toBe('The attached server does not answer at present.');
    await server.start();
    await onceServer(attached, () => attached.health.ok);
    await complete(model, chatRequest('double', prompt, { maxTokens: 2 }));
  });

  test('does not get a model back that was let go of, as long as it lists it', async () => {
    const { server, attached, model } = await attachDouble(
      { models: ['double', 'other'] },
      { clock: hurriedClock(20) },
    );
    await model.unload();
    server.knobs.models = ['double', 'other', 'third'];
    await onceServer(attached, () => attached.models().length === 2);
    expect(attached.models().map(({ name }) => name)).toEqual(['other', 'third']);
  });

  test('keeps its connections for requests one after another', async () => {
    const { server, model } = await attachDouble({ tokensPerSecond: 250, endDelayMs: 5 });
    for (let count = 0; count < 6; count++) {
      await complete(model, chatRequest('double', prompt, { maxTokens: 4 }));
    }
    // The first may still be reading its last bytes when the next request comes.
    expect(server.connections).toBeLessThanOrEqual(2);
  });

  test('is asked by its own name for the model, and never for weights it cannot prove', async () => {
    const { server, model } = await attachDouble();
    const request = chatRequest('an-alias', prompt, { maxTokens: 2 });
    await complete(model, request);
    expect(server.requests[0]?.body['model']).toBe('double');
    const exact = await collect(model, { ...request, model: { name: 'double', digest: 'ab'.repeat(32) } });
    expect(exact.error).toMatchObject({ code: 'model_unsupported', param: 'model' });
  });

  test('is asked for embeddings in batches whose counts are added up', async () => {
    const { server, model } = await attachDouble();
    const inputs = Array.from({ length: 70 }, () => 'a');
    const answer = await complete(model, embeddingRequest('double', inputs));
    expect(server.requests.map(({ body }) => (body['input'] as string[]).length)).toEqual([32, 32, 6]);
    expect(answer.vectors()).toHaveLength(70);
    expect(answer.usage).toEqual({ type: 'usage', prompt: 70, cached: 0, completion: 0 });
  });

  test('stops generating when the caller leaves', async () => {
    const { server, model } = await attachDouble({ tokensPerSecond: 200 });
    for await (const event of model.infer(chatRequest('double', prompt), new AbortController().signal)) {
      if (event.type === 'delta') {
        break;
      }
    }
    await vi.waitFor(() => expect([server.aborted, server.active]).toEqual([1, 0]), {
      timeout: 1_000,
      interval: 10,
    });
  });

  test('is held back by a slow reader', async () => {
    const { server, model } = await attachDouble({ contextTokens: 1_000_000 });
    const events = model.infer(
      chatRequest('double', prompt, { maxTokens: 200_000 }),
      new AbortController().signal,
    );
    let read = 0;
    for await (const event of events) {
      if (event.type === 'delta' && ++read === 10) {
        // The server runs in this process: were it not held back it would end within these turns.
        await new Promise((resolve) => setTimeout(resolve, 50));
        expect(server.active).toBe(1);
        break;
      }
    }
  });
});

describe('the API key', () => {
  test('goes to the server and to no log line', async () => {
    const lines: string[] = [];
    const log = createLogger('debug', { write: (line) => lines.push(line) }, { pretty: false });
    const { server, attached, model } = await attachDouble(
      { apiKey: key },
      { apiKey: key, log, clock: hurriedClock(20) },
    );
    await complete(model, chatRequest('double', prompt, { maxTokens: 2 }));
    expect(server.requests[0]?.headers['authorization']).toBe(`Bearer ${key}`);
    server.knobs.apiKey = 'another';
    await onceServer(attached, () => !attached.health.ok);
    expect(attached.health.error?.message).toContain('refused the API key');
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.join('')).not.toContain(key);
  });

  test('that the server refuses is named as the reason, without its text', async () => {
    const server = await startDouble({ apiKey: key });
    const failure: Error = await attachTo(server.url, { apiKey: 'wrong-key-99' }).then(
      () => expect.unreachable('attached with a wrong key'),
      (error: Error) => error,
    );
    expect(failure).toMatchObject({
      code: 'attach_failed',
      message: expect.stringContaining('refused the API key'),
    });
    expect(failure.message).not.toContain('wrong-key-99');
  });

  test('is cut out of error texts', async () => {
    const refusal = { status: 500, body: { error: { message: `bad ${key} thing` } } };
    const { model } = await attachDouble({ refusal, apiKey: key }, { apiKey: key });
    const { error } = await collect(model, chatRequest('double', prompt));
    expect(error?.message).toBe('The model server says: bad [hidden] thing');
  });

  test('follows no redirect', async () => {
    const { server: other } = await attachDouble();
    const refusal = { status: 307, body: '', headers: { location: `${other.url}/chat/completions` } };
    const { model } = await attachDouble({ refusal }, { apiKey: key });
    const { error } = await collect(model, chatRequest('double', prompt));
    expect(error?.code).toBe('engine_error');
    expect(other.requests).toHaveLength(0);
  });
});

describe('a refusal', () => {
  const body = (message: string, code: string | number | null = null) => ({
    error: { message, code, param: 'stop' },
  });
  test.each([
    [400, body('no such thing'), 'invalid_request'],
    [400, body('too long', 'context_length_exceeded'), 'context_length_exceeded'],
    [
      400,
      { object: 'error', message: "This model's maximum context length is 8 tokens." },
      'context_length_exceeded',
    ],
    [
      400,
      { error: { code: 400, message: 'x', type: 'exceed_context_size_error' } },
      'context_length_exceeded',
    ],
    [400, body('no grammar', 'unsupported_parameter'), 'unsupported_parameter'],
    [400, body('nice try', 'internal'), 'invalid_request'],
    [401, body('bad key'), 'engine_error'],
    [404, body('model "double" not found, try pulling it first'), 'model_not_found'],
    [404, '404 page not found', 'model_unsupported'],
    [413, 'too large', 'body_too_large'],
    [422, { detail: 'wrong type' }, 'invalid_request'],
    [429, body('slow down'), 'rate_limit_exceeded'],
    [500, '<html>oops</html>', 'engine_error'],
    [501, body('no embeddings here'), 'model_unsupported'],
    [503, body('loading model'), 'engine_unavailable'],
    [200, { error: 'Unexpected endpoint or method.' }, 'engine_error'],
    [200, { error: { code: 404, message: 'no such model' } }, 'model_not_found'],
  ] as const)('with status %d and body %j is %s', async (status, refusal, code) => {
    const { error } = await answerOf({ refusal: { status, body: refusal } });
    expect(error).toMatchObject({ code, phase: 'before-output', retryable: errorTable[code].retryable });
  });

  test('passes on when to try again and which field is at fault', async () => {
    const headers = { 'retry-after': '7' };
    const limited = await answerOf({ refusal: { status: 429, body: '', headers } });
    expect(limited.error?.retryAfterSeconds).toBe(7);
    const faulty = await answerOf({ refusal: { status: 400, body: body('bad stop') } });
    expect(faulty.error?.param).toBe('stop');
  });

  test('is passed on short and on one line', async () => {
    const { error } = await answerOf({
      refusal: { status: 500, body: body(`${'x'.repeat(2_000)}\nsecond`) },
    });
    expect(error?.message).toMatch(/^The model server says: x{500}$/);
  });

  test.each([
    ['dial tcp 10.1.2.3:8080: connection refused', 'dial tcp [address]: connection refused'],
    ['upstream http://gpu-7.internal:8080/v1/chat is down', 'upstream [address] is down'],
    ['connect [fd00::7]:443, then localhost:1234', 'connect [address], then [address]'],
    ['messages[0] has no "content": 12:30', 'messages[0] has no "content": 12:30'],
  ])('that says "%s" is passed on without addresses', async (said, shown) => {
    const { error } = await answerOf({ refusal: { status: 500, body: body(said) } });
    expect(error?.message).toBe(`The model server says: ${shown}`);
  });

  test('of a huge body is read no further than needed', async () => {
    const { error } = await answerOf({ refusal: { status: 500, body: 'x'.repeat(10_000_000) } });
    expect(error?.code).toBe('engine_error');
  });

  test('says which route the server lacks', async () => {
    const { model } = await attachDouble({ missingRoutes: ['/v1/rerank', '/v1/embeddings'] });
    const ranked = await collect(model, rerankRequest('double', 'a', ['b']));
    expect(ranked.error).toMatchObject({
      code: 'model_unsupported',
      message: 'The model server has no /rerank.',
    });
    const embedded = await collect(model, embeddingRequest('double', ['a']));
    expect(embedded.error?.code).toBe('model_unsupported');
  });
});

describe('a stream', () => {
  const spoiled = (text: string): Partial<DoubleServerKnobs> => ({ spoilWith: text, spoilAfterTokens: 3 });
  test.each([
    ['that is cut', { cutAfterTokens: 3 }, 'engine_lost'],
    ['that ends without a finish reason', { endAfterTokens: 3 }, 'engine_lost'],
    ['with garbage in it', spoiled('data: {not json\n\n'), 'engine_protocol'],
    ['with a chunk that is no object', spoiled('data: [1]\n\n'), 'engine_protocol'],
    ['that is done without a finish reason', spoiled('data: [DONE]\n\n'), 'engine_protocol'],
    [
      'with an error frame',
      spoiled('data: {"error":{"message":"out of memory","code":500}}\n\n'),
      'engine_error',
    ],
    ['with a named error event', spoiled('event: error\ndata: {"error":"boom"}\n\n'), 'engine_error'],
    [
      'with a choice nobody asked for',
      spoiled('data: {"choices":[{"index":1,"delta":{"content":"x"}}]}\n\n'),
      'engine_protocol',
    ],
    [
      'that the server gives up',
      spoiled('data: {"choices":[{"delta":{},"finish_reason":"abort"}]}\n\n'),
      'engine_lost',
    ],
    ['that breaks off inside an event', spoiled('data: {"choices":[{"del'), 'engine_lost'],
  ] as const)('%s ends with %s', async (_name, knobs, code) => {
    const answer = await answerOf({ ...knobs });
    expect(answer.error).toMatchObject({ code, phase: 'during-output' });
    expect(answer.textPieces()).toHaveLength(3);
  });

  test('with an event without an end is cut at the limit', async () => {
    const answer = await answerOf(spoiled(`data: ${'x'.repeat(17 * 1024 * 1024)}`));
    expect(answer.error).toMatchObject({
      code: 'engine_protocol',
      message: expect.stringContaining('16777216'),
    });
  });

  test('that falls silent ends with engine_timeout', async () => {
    const clock = new ManualClock();
    const { model } = await attachDouble({ hangAfterTokens: 2 }, { clock });
    const secondDelta = Promise.withResolvers<void>();
    let deltas = 0;
    const answering = collect(model, chatRequest('double', prompt), {
      onEvent: ({ type }) => type === 'delta' && ++deltas === 2 && secondDelta.resolve(),
    });
    await secondDelta.promise;
    await clock.advance(engineLimits.stallMs);
    expect((await answering).error).toMatchObject({ code: 'engine_timeout', phase: 'during-output' });
  });

  test('that never begins ends with engine_timeout', async () => {
    const clock = new ManualClock();
    const { server, model } = await attachDouble({ hangAfterTokens: 0 }, { clock });
    const answering = collect(model, chatRequest('double', prompt));
    await vi.waitFor(() => expect(server.active).toBe(1), { interval: 10 });
    await clock.advance(engineLimits.stallMs);
    expect((await answering).error).toMatchObject({ code: 'engine_timeout', phase: 'before-output' });
  });

  test('is not silent while its reader is slow', async () => {
    const clock = new ManualClock();
    const { model } = await attachDouble({}, { clock });
    const request = chatRequest('double', prompt, { maxTokens: 200 });
    const types: string[] = [];
    for await (const { type } of model.infer(request, new AbortController().signal)) {
      types.push(type);
      if (types.length === 3) {
        await clock.advance(10 * engineLimits.stallMs);
      }
    }
    expect(types.at(-1)).toBe('end');
  });

  test.each([
    ['without [DONE]', { skipDone: true }],
    ['of the wrong content type', { contentType: 'text/plain' }],
    ['that is one JSON document', { ignoreStream: true }],
  ] as const)('%s is complete all the same', async (_name, knobs) => {
    const usual = await answerOf({});
    const answer = await answerOf(knobs);
    expect(answer.text()).toBe(usual.text());
    expect(answer.finish()).toBe('length');
    expect(answer.usage).toMatchObject({ completion: 8 });
  });

  test('without counts has no usage event', async () => {
    const answer = await answerOf({ skipUsage: true });
    expect(answer.usage).toBeUndefined();
    expect(answer.events.at(-1)).toEqual({ type: 'end' });
  });

  test('with fewer choices than asked for is an error that names n', async () => {
    const { model, server } = await attachDouble();
    server.knobs.rawAnswer = Buffer.from(
      '{"choices":[{"message":{"content":"one"},"finish_reason":"stop"}]}',
    );
    const answer = await collect(model, chatRequest('double', prompt, { choices: 2 }));
    expect(answer.error).toMatchObject({ code: 'unsupported_parameter', param: 'n' });
  });

  test('names a tool call once even if the server repeats its name', async () => {
    const { model } = await attachDouble({ repeatToolIds: true });
    const tools = [
      { name: 'look', parameters: { type: 'object', properties: { far: { type: 'boolean' } } } },
    ];
    const answer = await complete(model, chatRequest('double', 'call it', { tools }));
    expect(answer.toolCalls().filter(({ id }) => id !== undefined)).toHaveLength(1);
    expect(
      answer
        .toolCalls()
        .map((piece) => piece.arguments ?? '')
        .join(''),
    ).toBe('{"far":true}');
  });

  test('of random bytes always ends with an error and never throws', async () => {
    const { model, server } = await attachDouble();
    const events = fc.constantFrom(
      'data: ',
      '\n\n',
      '[DONE]',
      '{"choices":[{',
      '"delta":{"content":',
      '"\\ud800"',
      '}}]}',
      ':',
      'event:',
    );
    const bytes = fc.array(
      fc.oneof(
        events.map((text) => Buffer.from(text)),
        fc.uint8Array({ maxLength: 20 }),
      ),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (pieces) => {
        server.knobs.rawAnswer = Buffer.concat(pieces);
        const answer = await collect(model, chatRequest('double', prompt));
        expect(answer.error).toBeDefined();
      }),
      { numRuns: 100 },
    );
  });
});
