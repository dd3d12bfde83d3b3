// A client asks a node that serves nothing: another node of its mesh answers, over each transport alone, and the
// answer is the same as there.
import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { contentOf, endless, hello, streamedText } from '../conformance/node-under-test.ts';
import { paths, useMesh, wayOf } from '../support/mesh-requests.ts';

/** What can be asked for: resolves with all of the answer that has to be the same wherever it is asked for. */
const requests: Readonly<Record<string, (openai: OpenAI) => Promise<unknown>>> = {
  'a whole chat': async (openai) => {
    const answer = await openai.chat.completions.create({ ...endless, max_tokens: 120 });
    expect(contentOf(answer)).toHaveLength(120);
    return [contentOf(answer), answer.choices[0]?.finish_reason, counted(answer.usage)];
  },
  'a chat that ends by itself': async (openai) => {
    const answer = await openai.chat.completions.create(hello);
    expect(answer.choices[0]?.finish_reason).toBe('stop');
    return [contentOf(answer), counted(answer.usage)];
  },
  'a streamed chat': async (openai) => {
    const chunks = await Array.fromAsync(
      await openai.chat.completions.create({
        ...endless,
        max_tokens: 120,
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
    expect(streamedText(chunks)).toHaveLength(120);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    expect(choices.filter(({ delta }) => delta.role !== undefined)).toHaveLength(1);
    expect(choices.flatMap(({ finish_reason }) => finish_reason ?? [])).toEqual(['length']);
    const usages = chunks.flatMap(({ usage }) => usage ?? []);
    expect(usages).toHaveLength(1);
    return [streamedText(chunks), counted(usages[0])];
  },
  'a chat of two choices': async (openai) => {
    const { choices, usage } = await openai.chat.completions.create({ ...endless, n: 2, max_tokens: 24 });
    const shown = choices.map(({ index, message }) => [index, message.content]);
    expect(shown.map(([index]) => index)).toEqual([0, 1]);
    return [shown, counted(usage)];
  },
  'a chat that answers in JSON': async (openai) => {
    const answer = await openai.chat.completions.create({
      ...hello,
      response_format: {
        type: 'json_schema',
        json_schema: {
          name: 'answer',
          strict: true,
          schema: {
            type: 'object',
            properties: { yes: { type: 'boolean' } },
            required: ['yes'],
            additionalProperties: false,
          },
        },
      },
    });
    expect(JSON.parse(contentOf(answer))).toEqual({ yes: expect.any(Boolean) });
    return [contentOf(answer), counted(answer.usage)];
  },
  'a completion': async (openai) => {
    const { choices, usage } = await openai.completions.create({
      model: 'demo',
      prompt: ['The capital of', 'Seven grey'],
      temperature: 0,
      max_tokens: 24,
      logit_bias: endless.logit_bias,
    });
    expect(choices.map(({ text }) => text.length)).toEqual([24, 24]);
    return [choices, counted(usage)];
  },
  'a streamed completion': async (openai) => {
    const chunks = await Array.fromAsync(
      await openai.completions.create({
        model: 'demo',
        prompt: 'The capital of',
        temperature: 0,
        max_tokens: 24,
        logit_bias: endless.logit_bias,
        stream: true,
      }),
    );
    const text = chunks.map(({ choices }) => choices[0]?.text ?? '').join('');
    expect(text).toHaveLength(24);
    return text;
  },
  embeddings: async (openai) => {
    const { data, usage } = await openai.embeddings.create({
      model: 'demo-embed',
      input: ['one', 'two', 'three little stones'],
    });
    expect(new Set(data.map(({ embedding }) => embedding.join())).size).toBe(3);
    return [data, usage];
  },
  'embeddings as numbers': async (openai) => {
    const { data } = await openai.embeddings.create({
      model: 'demo-embed',
      input: 'one',
      encoding_format: 'float',
    });
    expect(data[0]?.embedding.length).toBeGreaterThan(1);
    return data;
  },
  'a ranking': async (openai) => {
    const body = { model: 'demo-rerank', query: 'river', documents: ['a stone', 'the river', 'rivers'] };
    const { results, usage } = await openai.post<{ results: unknown[]; usage: unknown }>('/rerank', { body });
    expect(results).toHaveLength(3);
    return [results, usage];
  },
};

/** What was found in a cache depends on what was asked before. */
function counted(usage: OpenAI.CompletionUsage | undefined) {
  const { prompt_tokens, completion_tokens } = usage ?? {};
  expect(completion_tokens).toBeGreaterThan(0);
  return { prompt_tokens, completion_tokens };
}

const models = { demo: 1, 'demo-embed': 1, 'demo-rerank': 1 };

describe.each(paths)('over %s, a node without models', (path) => {
  const mesh = useMesh(path, () => ({
    ada: Object.keys(models).flatMap((model) => ['--model', model]),
    bee: [],
    cat: [],
    cleo: ['--client'],
  }));
  /** Those that serve nothing; the last one is a client of the mesh. */
  const entries = ['bee', 'cat', 'cleo'];

  it('lists those of the mesh as their own node does', async () => {
    await Promise.all(['ada', ...entries].map((name) => mesh().lists(name, models)));
    const [own, ...others] = await Promise.all(['ada', ...entries].map((name) => mesh().models(name)));
    for (const listed of others) {
      for (const [name, model] of Object.entries(own ?? {})) {
        expect(listed[name]).toEqual({ ...model, created: expect.any(Number) });
      }
      const { id, meshnode } = listed['demo'] ?? {};
      expect({ id, meshnode }).toEqual({
        id: 'demo',
        meshnode: { state: 'ready', replicas: 1, kinds: ['chat', 'completion'], context: expect.any(Number) },
      });
    }
  });

  it.each(Object.entries(requests))('has %s answered there, to the same', async (_, ask) => {
    const direct = mesh().client('ada');
    const wanted = await ask(direct.openai);
    expect(wayOf(direct.answers[0]).route['where']).toBe('local');
    for (const entry of entries) {
      const { openai, answers } = mesh().client(entry);
      expect(await ask(openai)).toEqual(wanted);
      const { path: asked, headers } = answers[0] ?? {};
      expect(answers).toHaveLength(1);
      expect(headers?.get('x-request-id')).toMatch(/^req_\w+$/);
      expect(wayOf(answers[0])).toEqual({
        peer: 'ada',
        attempts: 1,
        route: {
          mode: 'solo',
          where: 'remote',
          reason: 'only',
          model: expect.stringMatching(asked?.endsWith('completions') ? /^demo$/ : /^demo-/),
        },
      });
    }
  });

  it("has a client's own request id go the whole way", async () => {
    const id = `trace-${path}:1`;
    const { openai, answers } = mesh().client('bee');
    const answer = await openai.chat.completions.create(hello, { headers: { 'x-request-id': id } });
    expect(answer._request_id).toBe(id);
    expect(answers[0]?.headers.get('x-request-id')).toBe(id);
  });

  it('has requests of all of them answered at once', async () => {
    const ask = async (name: string) =>
      contentOf(await mesh().client(name).openai.chat.completions.create(hello));
    const wanted = await ask('ada');
    const all = [...entries, ...entries, ...entries].map(ask);
    expect(new Set(await Promise.all(all))).toEqual(new Set([wanted]));
  });
});
