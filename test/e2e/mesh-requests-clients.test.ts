// Clients that leave, or that read slowly, at a node without models: the engine on the other node stops for them, as
// it does for its own.
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { contentOf, failureOf, forSeconds, hello, streamedText } from '../conformance/node-under-test.ts';
import { DoubleOpenAiServer, defaultKnobs } from '../support/double-openai-server.ts';
import { EndlessServer, endlessModel } from '../support/endless-server.ts';
import { idle, paths, useMesh } from '../support/mesh-requests.ts';

const double = new DoubleOpenAiServer();
const endlessServer = new EndlessServer();
beforeAll(() => Promise.all([double.start(), endlessServer.start()]));
afterAll(() => Promise.all([double.stop(), endlessServer.stop()]));
beforeEach(() => {
  Object.assign(double.knobs, defaultKnobs, { contextTokens: 1_000_000, tokensPerSecond: 50 });
  double.knobs.hangAfterTokens = undefined;
});

const long = {
  model: 'double',
  messages: [{ role: 'user', content: 'Tell me of the river.' }],
  max_tokens: 100_000,
} satisfies OpenAI.ChatCompletionCreateParamsNonStreaming;

const withoutEnd = { ...long, model: endlessModel };

/** Time within which an engine hears that nobody reads its answer any more. */
const noticedMs = 1_000;

/**
 * Tokens that may be under way to a client that reads nothing. Measured: 270 000 to 300 000. Between the nodes one takes
 * some twenty bytes, so that a window of 2 MiB holds 100 000; the kernel's buffers at both ends hold the rest.
 */
const mostUnderWay = 600_000;
/** Without a token for this long an endless engine is held: it gives thousands in it otherwise. */
const heldMs = 500;

/** Resolves with the tokens of the endless server so far, once it gives no more. */
async function tokensOnceHeld(): Promise<number> {
  let before: number;
  do {
    before = endlessServer.tokensSent;
    await sleep(systemClock, heldMs);
  } while (endlessServer.tokensSent > before);
  return before;
}

describe.each(paths)('over %s, a client of a node without models', (path) => {
  const mesh = useMesh(path, () => ({
    ada: ['--attach', double.url, '--attach', endlessServer.url, '--model', 'demo', '--parallel', '2'],
    bee: [],
  }));
  beforeAll(() => mesh().lists('bee', { double: 1, [endlessModel]: 1, demo: 1 }));

  /** The engine of the other node has heard of it, and works on nothing. */
  async function expectStopped(aborted: number): Promise<void> {
    await expect.poll(() => double.aborted, { timeout: noticedMs, interval: 10 }).toBe(aborted);
    await expect.poll(() => double.active, { timeout: noticedMs, interval: 10 }).toBe(0);
    await mesh().holds('ada', 'double', idle, noticedMs);
  }

  it('that leaves in the middle of a stream stops an attached engine', async () => {
    const { aborted } = double;
    const { openai } = mesh().client('bee');
    let pieces = 0;
    for await (const chunk of await openai.chat.completions.create({ ...long, stream: true })) {
      pieces += streamedText([chunk]) === '' ? 0 : 1;
      if (pieces === 10) {
        break;
      }
    }
    await expectStopped(aborted + 1);
  });

  it('whose connection is destroyed stops it as well', async () => {
    const { aborted } = double;
    const connection = await mesh().rawStream('bee', long);
    await connection.until(/"content":"[^"]/);
    expect(double.active).toBe(1);
    connection.socket.destroy();
    await expectStopped(aborted + 1);
  });

  it('that leaves before the first token, or waits for a whole answer, stops it as well', async () => {
    for (const stream of [true, false]) {
      const { aborted } = double;
      double.knobs.hangAfterTokens = 0;
      const leaving = new AbortController();
      const { openai } = mesh().client('bee');
      const failure = failureOf(
        openai.chat.completions.create({ ...long, stream }, { signal: leaving.signal }),
      );
      await expect.poll(() => double.active, { timeout: 5_000, interval: 10 }).toBe(1);
      leaving.abort();
      expect(await failure).toBeInstanceOf(OpenAI.APIUserAbortError);
      await expectStopped(aborted + 1);
    }
  });

  it('that leaves frees the slot of an embedded engine', async () => {
    const { openai } = mesh().client('bee');
    for await (const chunk of await openai.chat.completions.create({ ...forSeconds, stream: true })) {
      if (streamedText([chunk]) !== '') {
        await mesh().holds('ada', 'demo', { engine: 1, running: 1, waiting: 0 }, noticedMs);
        break;
      }
    }
    await mesh().holds('ada', 'demo', idle, noticedMs);
  });

  it('that leaves while it waits for a slot there loses its place', async () => {
    const release = await mesh().holdEngine('ada', 'demo');
    const ask = (signal: AbortSignal) =>
      failureOf(mesh().client('bee').openai.chat.completions.create(hello, { signal }));
    const [holding, leaving] = [new AbortController(), new AbortController()];
    const before = [1, 2].map(() => ask(holding.signal));
    await mesh().holds('ada', 'demo', { engine: 2, running: 2, waiting: 0 }, 5_000);
    const waiting = ask(leaving.signal);
    await mesh().holds('ada', 'demo', { engine: 2, running: 2, waiting: 1 }, 5_000);
    leaving.abort();
    expect(await waiting).toBeInstanceOf(OpenAI.APIUserAbortError);
    await mesh().holds('ada', 'demo', { engine: 2, running: 2, waiting: 0 }, noticedMs);
    holding.abort();
    await Promise.all(before);
    release();
    await mesh().holds('ada', 'demo', idle, noticedMs);
  });

  it('that reads nothing stops an engine without end, which goes on as soon as it reads again', async () => {
    const connection = await mesh().rawStream('bee', withoutEnd);
    await connection.until(/"content":"[^"]/);
    connection.socket.pause();
    const before = endlessServer.tokensSent;
    const held = await tokensOnceHeld();
    expect(held - before).toBeLessThan(mostUnderWay);
    expect(endlessServer.active).toBe(1);
    await mesh().holds('ada', endlessModel, { engine: 1, running: 1, waiting: 0 }, noticedMs);

    connection.socket.resume();
    await expect
      .poll(() => endlessServer.tokensSent, { timeout: 20_000, interval: 10 })
      .toBeGreaterThan(held + 1_000);
    connection.socket.destroy();
    await mesh().holds('ada', endlessModel, idle, noticedMs);
    await expect.poll(() => endlessServer.active, { timeout: noticedMs, interval: 10 }).toBe(0);
  });

  it('that reads nothing holds nobody else up', async () => {
    const connection = await mesh().rawStream('bee', withoutEnd);
    await connection.until(/"content":"[^"]/);
    connection.socket.pause();
    await tokensOnceHeld();
    const { openai } = mesh().client('bee');
    for (const asked of [{ ...long, max_tokens: 20 }, hello]) {
      expect(contentOf(await openai.chat.completions.create(asked))).not.toBe('');
    }
    connection.socket.destroy();
    await mesh().holds('ada', endlessModel, idle, noticedMs);
  });
});
