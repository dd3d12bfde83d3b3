// Answers that do not end well, and many at once: clients that leave, a model whose process is killed, a queue.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import OpenAI from 'openai';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { rawConnect, rawPost } from '../support/raw-http.ts';
import { descendants } from '../support/started-process.ts';
import {
  contentOf,
  endless,
  failureOf,
  forSeconds,
  hello,
  streamedText,
  useNode,
} from './node-under-test.ts';

const under = useNode(() => ['--model', 'demo']);
const chats = () => under.connect().client.chat.completions;

/** What the management API says of the load of the model. */
const figures = z.object({
  models: z.tuple([
    z.object({
      figures: z.object({ inFlight: z.int(), slots: z.int() }),
      queue: z.object({ running: z.int(), waiting: z.int() }),
    }),
  ]),
});

async function load() {
  const { url } = await under.node.process.event('console');
  const token = (await readFile(join(under.node.home, 'console-token'), 'utf8')).trim();
  const response = await fetch(`${url}/api/status`, { headers: { authorization: `Bearer ${token}` } });
  const [model] = figures.parse(await response.json()).models;
  return { engine: model.figures.inFlight, ...model.queue };
}

/** Resolves once the engine and the queue hold this much; rejects after `withinMs`. */
async function expectLoad(expected: Awaited<ReturnType<typeof load>>, withinMs = 1_000): Promise<void> {
  await vi.waitFor(async () => expect(await load()).toEqual(expected), { timeout: withinMs, interval: 20 });
}

const idle = { engine: 0, running: 0, waiting: 0 };

/** Answers so far that the metrics count with this status. */
async function counted(status: number): Promise<number> {
  const text = await (await fetch(`${under.node.origin}/metrics`)).text();
  const line = new RegExp(`^meshnode_requests_total\\{.*code="${status}"\\} (\\d+)$`, 'm').exec(text);
  return Number(line?.[1] ?? 0);
}

/** First pieces given so far, by the metrics. */
async function begun(): Promise<number> {
  const text = await (await fetch(`${under.node.origin}/metrics`)).text();
  return Number(/^meshnode_ttft_seconds_count\{model="demo"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}

async function untilBegun(moreThan: number): Promise<void> {
  await vi.waitFor(async () => expect(await begun()).toBeGreaterThan(moreThan), {
    timeout: 5_000,
    interval: 20,
  });
}

describe('a client that leaves frees its slot within a second', () => {
  it('when it breaks off reading a stream', async () => {
    const gone = await counted(499);
    const stream = await chats().create({ ...forSeconds, stream: true });
    for await (const chunk of stream) {
      if (streamedText([chunk]) !== '') {
        await expectLoad({ engine: 1, running: 1, waiting: 0 });
        break;
      }
    }
    await expectLoad(idle);
    expect(await counted(499)).toBe(gone + 1);
  });

  it('when it aborts a request that is not streamed', async () => {
    const before = await begun();
    const abort = new AbortController();
    const failure = failureOf(chats().create(forSeconds, { signal: abort.signal }));
    await untilBegun(before);
    abort.abort();
    expect(await failure).toBeInstanceOf(OpenAI.APIUserAbortError);
    await expectLoad(idle);
  });

  it('when all slots work for it', async () => {
    const abort = new AbortController();
    const stream = await chats().create({ ...forSeconds, n: 4, stream: true }, { signal: abort.signal });
    for await (const chunk of stream) {
      if (streamedText([chunk], 3) !== '') {
        abort.abort();
      }
    }
    await expectLoad(idle);
  });

  it('when its connection is destroyed', async () => {
    const connection = await rawConnect(Number(new URL(under.node.origin).port));
    connection.write(rawPost('/v1/chat/completions', { ...forSeconds, stream: true }));
    await connection.until(/"content":"[^"]/);
    await expectLoad({ engine: 1, running: 1, waiting: 0 });
    connection.socket.destroy();
    await expectLoad(idle);
  });
});

/** A stream that is read as it comes, until its end or until `leave`. */
function readInBackground(request: OpenAI.ChatCompletionCreateParamsStreaming) {
  const abort = new AbortController();
  const reading = { pieces: [] as string[], ended: false, leave: () => abort.abort() };
  const read = async (): Promise<void> => {
    for await (const chunk of await chats().create(request, { signal: abort.signal })) {
      const piece = streamedText([chunk]);
      reading.pieces.push(...(piece === '' ? [] : [piece]));
    }
    reading.ended = true;
  };
  return Object.assign(reading, { done: read() });
}

describe('more requests than slots', () => {
  it('are answered side by side, and the fifth waits for a slot', async () => {
    const four = [1, 2, 3, 4].map(() => readInBackground({ ...forSeconds, stream: true }));
    await vi.waitFor(() => expect(Math.min(...four.map(({ pieces }) => pieces.length))).toBeGreaterThan(50), {
      timeout: 10_000,
      interval: 20,
    });
    expect(four.map(({ ended }) => ended)).toEqual([false, false, false, false]);
    const fifth = readInBackground({ ...endless, max_tokens: 20, stream: true });
    await expectLoad({ engine: 4, running: 4, waiting: 1 });
    expect(fifth.pieces).toEqual([]);

    four[0]?.leave();
    await fifth.done;
    expect(fifth.pieces.join('')).toHaveLength(20);
    expect(four.slice(1).map(({ ended }) => ended)).toEqual([false, false, false]);
    for (const { leave } of four) {
      leave();
    }
    await expectLoad(idle);
  });

  it('lose their place if they leave while they wait', async () => {
    const holding = new AbortController();
    const all = failureOf(chats().create({ ...forSeconds, n: 4 }, { signal: holding.signal }));
    await expectLoad({ engine: 1, running: 1, waiting: 0 });
    const leaving = new AbortController();
    const waiting = failureOf(chats().create(hello, { signal: leaving.signal }));
    await expectLoad({ engine: 1, running: 1, waiting: 1 });
    leaving.abort();
    expect(await waiting).toBeInstanceOf(OpenAI.APIUserAbortError);
    await expectLoad({ engine: 1, running: 1, waiting: 0 });
    holding.abort();
    await all;
    await expectLoad(idle);
  });
});

describe('a model whose process is killed in the middle of an answer', () => {
  async function killProcess(): Promise<void> {
    const pids = await descendants(under.node.process.pid);
    expect(pids).toHaveLength(1);
    for (const pid of pids) {
      process.kill(pid, 'SIGKILL');
    }
  }
  /** The client retries as it does by itself, only longer. */
  async function expectAnswersAgain(): Promise<void> {
    const startMs = performance.now();
    const { client } = under.connect({ maxRetries: 10 });
    expect(contentOf(await client.chat.completions.create(hello))).not.toBe('');
    expect(performance.now() - startMs).toBeLessThan(15_000);
  }

  it('makes the reader of the stream throw, never end, and answers again soon', async () => {
    let text = '';
    const read = async (): Promise<void> => {
      for await (const chunk of await chats().create({ ...forSeconds, stream: true })) {
        if (text === '' && streamedText([chunk]) !== '') {
          await killProcess();
        }
        text += streamedText([chunk]);
      }
    };
    const failure = await failureOf(read());
    expect(failure).toBeInstanceOf(OpenAI.APIError);
    expect(failure).toMatchObject({ code: 'engine_lost', type: 'server_error' });
    expect(text).not.toBe('');
    await expectAnswersAgain();
  });

  it('breaks the connection off after the error', async () => {
    const connection = await rawConnect(Number(new URL(under.node.origin).port));
    connection.write(rawPost('/v1/chat/completions', { ...forSeconds, stream: true }));
    await connection.until(/"content":"[^"]/);
    await killProcess();
    const received = await connection.closed;
    expect(received).toMatch(/data: \{"error":\{.*"code":"engine_lost"\}\}\r?\n/);
    expect(received).not.toContain('[DONE]');
    expect(received).not.toContain('\r\n0\r\n\r\n');
    await expectAnswersAgain();
  });

  it('refuses a whole answer with 502, which the client does not ask for again by itself', async () => {
    const before = await begun();
    const { client, answers } = under.connect({ maxRetries: 2 });
    const failure = failureOf(client.chat.completions.create(forSeconds));
    await untilBegun(before);
    await killProcess();
    expect(await failure).toBeInstanceOf(OpenAI.InternalServerError);
    expect(await failure).toMatchObject({ status: 502, code: 'engine_lost' });
    expect(answers.map(({ headers }) => headers.get('x-should-retry'))).toEqual(['false']);
    await expectAnswersAgain();
  });
});
