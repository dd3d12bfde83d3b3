// What another node of the mesh refuses reaches the client as if its own node had said it: the same code, status,
// field and time to come back.
import OpenAI, { type APIError } from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { inferLimits, peerLimits } from '../../src/util/limits/dispatch.ts';
import { contentOf, failureOf, hello, withFields } from '../conformance/node-under-test.ts';
import { DoubleOpenAiServer } from '../support/double-openai-server.ts';
import { idle, paths, useMesh } from '../support/mesh-requests.ts';

const double = new DoubleOpenAiServer();
beforeAll(() => double.start());
afterAll(() => double.stop());
beforeEach(() => {
  double.knobs.refusal = undefined;
});

const ofDouble = { model: 'double', messages: [{ role: 'user' as const, content: 'Hello' }] };
const tooLong = [{ role: 'user', content: 'word '.repeat(1000) }];
const schemaOf = (schema: object) => ({
  response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } },
});

/** Requests that cannot be answered, and what is said of them. */
const refused: readonly [what: string, fields: object, wanted: object][] = [
  [
    'a prompt larger than the context',
    { messages: tooLong },
    { status: 400, code: 'context_length_exceeded', type: 'invalid_request_error' },
  ],
  [
    'a streamed prompt larger than the context',
    { messages: tooLong, stream: true },
    { status: 400, code: 'context_length_exceeded', type: 'invalid_request_error' },
  ],
  [
    'a field that the engine there does not have',
    { tools: [{ type: 'function', function: { name: 'weather' } }] },
    { status: 400, code: 'unsupported_parameter', param: 'tools' },
  ],
  [
    'a schema that the engine there has no word for',
    schemaOf({ type: 'object', properties: { a: { not: { type: 'string' } } } }),
    { status: 400, code: 'invalid_schema' },
  ],
  [
    'a model that does something else',
    { model: 'demo-embed' },
    { status: 400, code: 'model_unsupported', param: 'model' },
  ],
  [
    'a model that nobody serves',
    { model: 'dmeo' },
    { status: 404, code: 'model_not_found', type: 'not_found_error', param: 'model' },
  ],
];

/** Requests that one node may have at another for a model of one slot: one that runs, and those that wait. */
const mostOfOneNode = Math.min(1 + peerLimits.queuedPerPeer, inferLimits.answersPerPeer);

describe.each(paths)('over %s, a client of a node without models', (path) => {
  const mesh = useMesh(path, () => ({
    ada: ['--model', 'demo', '--model', 'demo-embed', '--attach', double.url, '--parallel', '1'],
    bee: [],
  }));
  const all = { demo: 1, 'demo-embed': 1, double: 1 };
  beforeAll(() => mesh().lists('bee', all));

  it.each(refused)('is refused %s as a client of the other node is', async (_, fields, wanted) => {
    const ask = (name: string) =>
      failureOf(mesh().client(name).openai.chat.completions.create(withFields(hello, fields)));
    const [direct, remote] = [await ask('ada'), await ask('bee')];
    expect(direct).toMatchObject(wanted);
    expect(remote).toMatchObject(wanted);
    expect(remote?.constructor).toBe(direct?.constructor);
    expect((remote as APIError).error).toEqual((direct as APIError).error);
  });

  it('is told names near to the one that it got wrong', async () => {
    const { openai } = mesh().client('bee');
    const failure = await failureOf(openai.chat.completions.create({ ...hello, model: 'dmeo' }));
    expect(String(failure)).toContain("Did you mean 'demo'");
  });

  it('gets the 429 of a full engine there, and when to come back', async () => {
    const body = { error: { message: 'Too many.', type: 'rate_limit_error', param: null, code: null } };
    double.knobs.refusal = { status: 429, body, headers: { 'retry-after': '7' } };
    const { openai, answers } = mesh().client('bee');
    const failure = await failureOf(openai.chat.completions.create(ofDouble));
    expect(failure).toBeInstanceOf(OpenAI.RateLimitError);
    expect(answers[0]?.headers.get('retry-after')).toBe('7');
  });

  it('gets a 429 once its node has as many there as one may have, and is served again afterwards', async () => {
    const release = await mesh().holdEngine('ada', 'demo');
    const leaving = new AbortController();
    const ask = (fields: object) =>
      mesh()
        .client('bee')
        .openai.chat.completions.create(withFields(hello, fields), { signal: leaving.signal });
    const waiting = Array.from({ length: mostOfOneNode }, () => failureOf(ask({})));
    await mesh().holds('ada', 'demo', { engine: 1, running: 1, waiting: mostOfOneNode - 1 }, 10_000);
    for (const stream of [false, true]) {
      const failure = await failureOf(ask({ stream }));
      expect(failure).toBeInstanceOf(OpenAI.RateLimitError);
      expect(failure).toMatchObject({ status: 429, code: 'queue_full', type: 'rate_limit_error' });
      const retryAfter = Number((failure as APIError).headers?.get('retry-after'));
      expect(retryAfter).toBeGreaterThanOrEqual(1);
      expect(retryAfter).toBeLessThanOrEqual(60);
    }
    leaving.abort();
    release();
    for (const failure of await Promise.all(waiting)) {
      expect(failure).toBeInstanceOf(OpenAI.APIUserAbortError);
    }
    await mesh().holds('ada', 'demo', idle, 2_000);
    const answer = await mesh().client('bee').openai.chat.completions.create(hello);
    expect(contentOf(answer)).not.toBe('');
  });
});
