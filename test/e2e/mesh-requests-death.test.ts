// The node that answers dies, or stops, in the middle of its answer: whoever asked another node is told soon, and never
// takes what came for the whole; and who asks afterwards is told that there is nobody.
import OpenAI, { APIError } from 'openai';
import { describe, expect, it } from 'vitest';
import { contentOf, failureOf, forSeconds, hello, streamedText } from '../conformance/node-under-test.ts';
import { paths, type RequestMesh, startMesh } from '../support/mesh-requests.ts';
import type { RawConnection } from '../support/raw-http.ts';

/** Time within which a client hears that its answer is lost: the node's process was ended ... */
const killedMs = 5_000;
/** ... or hangs. */
const stoppedMs = 6_000;
/** Time within which a node that is back is asked again. */
const backMs = 10_000;

/** What one client got of a stream that was lost. */
interface Lost {
  readonly failure: unknown;
  readonly text: string;
}

/** Two nodes without models, and one that serves. */
async function meshOfThree(path: (typeof paths)[number]): Promise<RequestMesh> {
  const mesh = await startMesh(path, { bee: [], cat: [], ada: ['--model', 'demo', '--parallel', '3'] });
  await Promise.all(['bee', 'cat'].map((name) => mesh.lists(name, { demo: 1 })));
  return mesh;
}

/** An official client that reads a stream; `begun` resolves with its first text. */
function reading(mesh: RequestMesh, name: string): { begun: Promise<void>; lost: Promise<Lost> } {
  const begun = Promise.withResolvers<void>();
  let text = '';
  const read = async (): Promise<void> => {
    const { openai } = mesh.client(name);
    for await (const chunk of await openai.chat.completions.create({ ...forSeconds, stream: true })) {
      text += streamedText([chunk]);
      if (text !== '') {
        begun.resolve();
      }
    }
  };
  const lost = failureOf(read()).then((failure) => ({ failure, text }));
  return { begun: begun.promise, lost };
}

/** What `harm` does to the answers of several clients; all of them were lost within `withinMs` of it. */
async function losesAll(mesh: RequestMesh, harm: () => void, withinMs: number): Promise<void> {
  const readers = ['bee', 'cat'].map((name) => reading(mesh, name));
  await Promise.all(readers.map(({ begun }) => begun));
  const raw = await mesh.rawStream('bee', forSeconds);
  await raw.until(/"content":"[^"]/);
  const whole = failureOf(mesh.client('cat').openai.chat.completions.create(forSeconds));
  await mesh.holds('ada', 'demo', { engine: 3, running: 3, waiting: 1 }, 5_000);

  const beganMs = performance.now();
  const after = async <T>(promise: Promise<T>): Promise<T> => {
    const value = await promise;
    took.push(performance.now() - beganMs);
    return value;
  };
  const took: number[] = [];
  harm();
  const [received, refused, ...lost] = await Promise.all([
    after(raw.closed),
    after(whole),
    ...readers.map((reader) => after(reader.lost)),
  ]);
  expect(Math.max(...took), 'ms until all have heard').toBeLessThan(withinMs);
  expectBrokenOff(raw, received);
  for (const { failure, text } of lost) {
    expect(failure).toBeInstanceOf(APIError);
    expect(failure).toMatchObject({ code: 'stream_broken', type: 'server_error' });
    expect(text).not.toBe('');
  }
  expect(refused).toBeInstanceOf(OpenAI.InternalServerError);
  expect(refused).toMatchObject({ code: expect.stringMatching(/^(stream_broken|peer_unreachable)$/) });
}

/** An error as the last frame, then no proper end of the body. */
function expectBrokenOff({ socket }: RawConnection, received: string): void {
  expect(received).toMatch(/data: \{"error":\{[^\n]*"code":"stream_broken"[^\n]*\}\r?\n\r?\n\r?\n?$/);
  expect(received).not.toContain('[DONE]');
  expect(received).not.toContain('\r\n0\r\n\r\n');
  expect(received).not.toContain('"finish_reason":"');
  expect(socket.destroyed).toBe(true);
}

describe.each(paths)('over %s, a node that answers in the middle of a stream', (path) => {
  it('is killed: every client is told, and whoever asks then hears that nobody is there', async () => {
    const mesh = await meshOfThree(path);
    await losesAll(mesh, () => void mesh.node('ada').process.child.kill('SIGKILL'), killedMs);

    const { openai, answers } = mesh.client('bee');
    const codes: string[] = [];
    const ask = async (): Promise<string> => {
      const failure = await failureOf(openai.chat.completions.create(hello));
      codes.push(failure instanceof APIError ? String(failure.code) : String(failure));
      return codes.at(-1) ?? '';
    };
    await expect.poll(ask, { timeout: 10_000, interval: 100 }).toBe('model_not_found');
    expect(codes.slice(0, -1).filter((code) => code !== 'peer_unreachable')).toEqual([]);
    for (const { status, headers } of answers) {
      expect([503, 404]).toContain(status);
      expect(status === 404 || Number(headers.get('retry-after')) > 0).toBe(true);
    }
    await mesh.lists('bee', {});
    await mesh.lists('cat', {});
  });

  it('hangs: every client is told, and it is asked again once it is back', async () => {
    const mesh = await meshOfThree(path);
    const { child } = mesh.node('ada').process;
    await losesAll(mesh, () => void child.kill('SIGSTOP'), stoppedMs);
    const failure = await failureOf(mesh.client('bee').openai.chat.completions.create(hello));
    expect(failure).toMatchObject({ code: expect.stringMatching(/^(peer_unreachable|model_not_found)$/) });
    child.kill('SIGCONT');
    const { openai } = mesh.client('cat');
    const answered = () => openai.chat.completions.create(hello).then(contentOf, () => '');
    await expect.poll(answered, { timeout: backMs, interval: 100 }).not.toBe('');
  });
});
