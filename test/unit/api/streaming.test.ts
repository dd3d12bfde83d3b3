import { APIError } from 'openai';
import { describe, expect, it } from 'vitest';
import type { InferenceEvent } from '../../../src/inference/events.ts';
import { rawConnect, rawPost } from '../../support/raw-http.ts';
import {
  aborted,
  accepted,
  answerOf,
  end,
  type Script,
  textAnswer,
  usage,
} from '../../support/scripted-dispatch.ts';
import { hello, payloadsOf, startTestApi } from '../../support/test-api.ts';

const streamed = { ...hello, stream: true as const };
const delta = (text: string): InferenceEvent => ({ type: 'delta', index: 0, text });
const lost: InferenceEvent = {
  type: 'error',
  code: 'engine_lost',
  message: 'The engine stopped.',
  retryable: true,
  phase: 'during-output',
};

/** Half an answer, then the error. */
const losing: Script = () => [accepted, delta('Half an '), lost];

describe('a streamed chat over HTTP', () => {
  it('reads as text with the official client', async () => {
    const { client, dispatch } = await startTestApi();
    const chunks = [];
    for await (const chunk of await client.chat.completions.create(streamed)) {
      chunks.push(chunk);
    }
    expect(chunks.map(({ choices: [choice] }) => choice?.delta.content ?? '').join('')).toBe('Hello world');
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
    expect(chunks.filter(({ choices: [choice] }) => choice?.delta.role === 'assistant')).toHaveLength(1);
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop');
    expect(dispatch.last.options.stream).toBe(true);
  });

  it('can be gathered by the official client, tool calls and all (points 18, 19)', async () => {
    const call = (number: number, piece: string, id?: string) => ({
      call: number,
      arguments: piece,
      ...(id === undefined ? {} : { id, name: `tool${number}` }),
    });
    const { client } = await startTestApi(() => [
      accepted,
      { type: 'delta', index: 0, toolCall: call(0, '{"a"', 'c0') },
      { type: 'delta', index: 0, toolCall: call(0, ':1}') },
      { type: 'delta', index: 0, toolCall: call(1, '{}', 'c1') },
      { type: 'finish', index: 0, reason: 'tool_calls' },
      end,
    ]);
    const completion = await client.chat.completions.stream(hello).finalChatCompletion();
    expect(completion.choices[0]?.message.tool_calls).toMatchObject([
      { id: 'c0', type: 'function', function: { name: 'tool0', arguments: '{"a":1}' } },
      { id: 'c1', type: 'function', function: { name: 'tool1', arguments: '{}' } },
    ]);
  });

  it('tells the usage in a last chunk of its own (point 2)', async () => {
    const { client } = await startTestApi();
    const chunks = [];
    for await (const chunk of await client.chat.completions.create({
      ...streamed,
      stream_options: { include_usage: true },
    })) {
      chunks.push(chunk);
    }
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null && chunk.choices.length === 1)).toBe(
      true,
    );
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 7, total_tokens: 9 } });
  });

  it('says [DONE] on success, and then ends cleanly (point 6)', async () => {
    const api = await startTestApi();
    const connection = await rawConnect(api.port);
    connection.write(rawPost('/v1/chat/completions', streamed));
    expect(await connection.until('\r\n0\r\n\r\n')).toContain('data: [DONE]\n\n');
  });

  it('shows a loss as an error and a broken connection, never as an end (points 6, 7)', async () => {
    const api = await startTestApi(losing);
    const connection = await rawConnect(api.port);
    connection.write(rawPost('/v1/chat/completions', streamed));
    const text = await connection.closed;
    expect(text).toContain(
      'data: {"error":{"message":"The engine stopped.","type":"server_error","param":null,"code":"engine_lost"}}\n\n',
    );
    expect(text).not.toContain('[DONE]');
    expect(text).not.toContain('\r\n0\r\n\r\n');
  });

  it('makes the official client throw on a loss, with the code (point 7)', async () => {
    const { client } = await startTestApi(losing);
    const stream = await client.chat.completions.create(streamed);
    const read = async () => {
      let text = '';
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta.content ?? '';
      }
      return text;
    };
    const failure = await read().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(APIError);
    expect(failure).toMatchObject({ code: 'engine_lost', type: 'server_error' });
  });

  it.each<[string, string, Script]>([
    ['ends without its end', 'engine_lost', () => [accepted, delta('Half')]],
    [
      'throws',
      'internal',
      function* () {
        yield accepted;
        yield delta('Half');
        throw new Error('a bug that names /home/somebody');
      },
    ],
  ])('is broken, without details, when the source %s', async (_name, code, script) => {
    const api = await startTestApi(script);
    const connection = await rawConnect(api.port);
    connection.write(rawPost('/v1/chat/completions', streamed));
    const text = await connection.closed;
    expect(text).toContain(`"code":"${code}"`);
    expect(text).not.toMatch(/\[DONE\]|\r\n0\r\n\r\n|somebody/);
  });

  it('has the proper status when it fails before its first piece', async () => {
    const { client } = await startTestApi(() => [
      accepted,
      {
        type: 'error',
        code: 'context_length_exceeded',
        message: 'Too long.',
        retryable: false,
        phase: 'before-output',
        param: 'messages',
      },
    ]);
    const failure = await client.chat.completions.create(streamed).catch((error: unknown) => error);
    expect(failure).toMatchObject({ status: 400, code: 'context_length_exceeded', param: 'messages' });
  });

  it('holds its status back for a while and then pings (points 8, 9)', async () => {
    const go = Promise.withResolvers<void>();
    const api = await startTestApi(
      async function* () {
        yield { type: 'progress', stage: 'loading', fraction: 0.5 };
        await go.promise;
        yield* textAnswer('late');
      },
      { limits: { holdHeadersMs: 30, pingMs: 40 } },
    );
    const connection = await rawConnect(api.port);
    connection.write(rawPost('/v1/chat/completions', streamed));
    const waiting = await connection.until(/(: ping\n\n[^:]*){3}/);
    expect(waiting).toMatch(/^HTTP\/1\.1 200 OK.*text\/event-stream/s);
    go.resolve();
    const text = await connection.until('[DONE]');
    expect(text.indexOf('late')).toBeGreaterThan(text.lastIndexOf(': ping'));
  });

  it('turns progress into pings once the status is given', async () => {
    const go = Promise.withResolvers<void>();
    const api = await startTestApi(
      async function* () {
        yield accepted;
        await go.promise;
        yield { type: 'progress', stage: 'prefill', fraction: 0.1 };
        yield* textAnswer('x').slice(1);
      },
      { limits: { holdHeadersMs: 1, pingMs: 60_000 } },
    );
    const connection = await rawConnect(api.port);
    connection.write(rawPost('/v1/chat/completions', streamed));
    await connection.until(': ping');
    go.resolve();
    await connection.until(/: ping[\s\S]*: ping[\s\S]*\[DONE\]/);
  });

  it('fails inside the stream once the status is given', async () => {
    const api = await startTestApi(
      async function* (_request, { signal }) {
        yield accepted;
        await Promise.race([aborted(signal), opened.promise]);
        yield { ...lost, phase: 'before-output' };
      },
      { limits: { holdHeadersMs: 1 } },
    );
    const opened = Promise.withResolvers<void>();
    const connection = await rawConnect(api.port);
    connection.write(rawPost('/v1/chat/completions', streamed));
    await connection.until(': ping');
    opened.resolve();
    expect(await connection.closed).toContain('"code":"engine_lost"');
  });

  it('names its way through the mesh', async () => {
    const api = await startTestApi();
    const { headers } = await api.post('/v1/chat/completions', {
      ...streamed,
      model: 'örg/demo;x:Q4',
      made_up: 1,
    });
    expect(headers.get('x-meshnode-peer')).toBe('workstation');
    expect(headers.get('x-meshnode-attempts')).toBe('1');
    expect(headers.get('x-meshnode-route')).toBe(
      'mode=solo; where=local; reason=only; model=%C3%B6rg/demo%3Bx:Q4',
    );
    expect(headers.get('x-meshnode-ignored')).toBe('made_up');
    expect(headers.get('openai-processing-ms')).toMatch(/^\d+$/);
  });

  it('streams completions, several prompts as choices numbered through', async () => {
    const api = await startTestApi((request) =>
      answerOf({
        type: 'delta',
        index: 0,
        text: request.kind === 'completion' ? `<${String(request.prompt)}>` : '',
      }),
    );
    const response = await api.post('/v1/completions', {
      model: 'demo',
      prompt: ['a', 'b'],
      stream: true,
      stream_options: { include_usage: true },
    });
    const payloads = payloadsOf(await response.text());
    expect(payloads.pop()).toBe('[DONE]');
    const chunks = payloads.map((payload) => JSON.parse(payload));
    expect(
      chunks.map(({ choices: [choice] }) => choice && [choice.index, choice.text, choice.finish_reason]),
    ).toEqual([[0, '<a>', null], [0, '', 'stop'], [1, '<b>', null], [1, '', 'stop'], undefined]);
    expect(chunks.at(-1).usage).toMatchObject({ prompt_tokens: 14, completion_tokens: 4 });
  });
});

describe('a client that leaves', () => {
  const endless: Script = async function* (_request, { signal }) {
    yield accepted;
    yield delta('Hello');
    await aborted(signal);
    yield { type: 'error', code: 'cancelled', message: 'gone', retryable: false, phase: 'during-output' };
  };

  it('aborts its stream within a second (point 17)', async () => {
    const { client, dispatch } = await startTestApi(endless);
    const stream = await client.chat.completions.create(streamed);
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content === 'Hello') {
        break;
      }
    }
    const leftMs = performance.now();
    await aborted(dispatch.last.options.signal);
    await dispatch.last.over;
    expect(performance.now() - leftMs).toBeLessThan(1_000);
  });

  it('aborts an answer that is not streamed', async () => {
    const { client, dispatch } = await startTestApi(endless);
    const leaving = new AbortController();
    const asked = client.chat.completions.create(hello, { signal: leaving.signal }).catch(() => {});
    await expect.poll(() => dispatch.calls[0]?.pulled).toBe(2);
    leaving.abort();
    await aborted(dispatch.last.options.signal);
    await asked;
  });

  it('does not keep others waiting', async () => {
    const { client, dispatch } = await startTestApi(endless);
    const stream = await client.chat.completions.create(streamed);
    stream.controller.abort();
    await aborted(dispatch.last.options.signal);
    dispatch.script = () => textAnswer('fine');
    const completion = await client.chat.completions.create(hello);
    expect(completion.choices[0]?.message.content).toBe('fine');
  });
});

describe('a client that does not read', () => {
  it('stops the source until it reads again', async () => {
    const text = 'x'.repeat(16_384);
    const total = 2_000;
    const api = await startTestApi(function* () {
      yield accepted;
      for (let count = 0; count < total; count++) {
        yield delta(text);
      }
      yield { type: 'finish', index: 0, reason: 'stop' };
      yield usage;
      yield end;
    });
    const connection = await rawConnect(api.port);
    connection.socket.pause();
    connection.write(rawPost('/v1/chat/completions', streamed));
    await expect.poll(() => api.dispatch.calls[0]?.pulled ?? 0).toBeGreaterThan(2);
    // The source is asked no more once the kernel's buffers and ours are full.
    let pulled = -1;
    await expect
      .poll(
        () => {
          const before = pulled;
          pulled = api.dispatch.last.pulled;
          return pulled === before;
        },
        { interval: 50 },
      )
      .toBe(true);
    expect(pulled * text.length).toBeLessThan(16 * 1024 * 1024);
    connection.socket.resume();
    await api.dispatch.last.over;
    expect(api.dispatch.last.pulled).toBe(total + 4);
  });
});
