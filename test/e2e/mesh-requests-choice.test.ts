// Two replicas of one model and three nodes without it: whoever has less to do is asked, as its beats tell.
import { describe, expect, it, onTestFinished } from 'vitest';
import { contentOf, forSeconds, hello } from '../conformance/node-under-test.ts';
import { idle, paths, type RequestMesh, useMesh, wayOf } from '../support/mesh-requests.ts';

/** Time within which all nodes know how busy another one is. */
const toldMs = 2_000;
/** Most that a short answer takes on a busy machine, if it has not to wait for a slot. */
const soonMs = 500;

const entries = ['bee', 'cat', 'dan'];

/** Who answers a short request. */
async function answering(mesh: RequestMesh, entry: string, signal?: AbortSignal): Promise<string> {
  const { openai, answers } = mesh.client(entry);
  const options = signal === undefined ? {} : { signal };
  expect(contentOf(await openai.chat.completions.create(hello, options))).not.toBe('');
  return wayOf(answers[0]).peer;
}

/** The same; undefined if nobody answers soon: who does not know yet waits for a slot of the busy one. */
function answeringSoon(mesh: RequestMesh, entry: string): Promise<string | undefined> {
  return answering(mesh, entry, AbortSignal.timeout(soonMs)).catch(() => undefined);
}

/**
 * Keeps all slots of a node taken by long answers, asked for at its own API, until the returned function is called. Each
 * is one request for all slots at once: of several small ones it would pass some on to the other replica.
 */
async function keptBusy(mesh: RequestMesh, name: string): Promise<() => Promise<void>> {
  const leaving = new AbortController();
  const { openai } = mesh.client(name);
  const read = async (): Promise<void> => {
    while (!leaving.signal.aborted) {
      const asked = { ...forSeconds, n: 4, stream: true } as const;
      await Array.fromAsync(await openai.chat.completions.create(asked, { signal: leaving.signal }));
    }
  };
  const reading = read().catch(() => {});
  await mesh.holds(name, 'demo', { engine: 1, running: 1, waiting: 0 }, 5_000);
  const stop = async (): Promise<void> => {
    leaving.abort();
    await reading;
    await mesh.holds(name, 'demo', idle, 5_000);
  };
  onTestFinished(stop);
  return stop;
}

describe.each(paths)('over %s, of two replicas', (path) => {
  const mesh = useMesh(path, () => ({
    ada: ['--model', 'demo'],
    ann: ['--model', 'demo'],
    ...Object.fromEntries(entries.map((name) => [name, []])),
  }));

  it('both are known everywhere as one model', async () => {
    await Promise.all(['ada', 'ann', ...entries].map((name) => mesh().lists(name, { demo: 2 })));
  });

  it.each([
    ['ada', 'ann'],
    ['ann', 'ada'],
  ])('%s is busy: %s is asked, by everybody', async (busy, free) => {
    const stop = await keptBusy(mesh(), busy);
    await Promise.all(
      entries.map((entry) =>
        expect.poll(() => answeringSoon(mesh(), entry), { timeout: toldMs, interval: 50 }).toBe(free),
      ),
    );
    for (const entry of entries) {
      const asked: string[] = [];
      while (asked.length < 10) {
        asked.push(await answering(mesh(), entry));
      }
      expect(asked.filter((peer) => peer === free).length).toBeGreaterThanOrEqual(9);
    }
    await stop();
  });

  it('each answers for itself while it is idle, and both are asked at once by who has many requests', async () => {
    const allAt = async (entry: string, count: number): Promise<string[]> =>
      [...new Set(await Promise.all(Array.from({ length: count }, () => answering(mesh(), entry))))].sort();
    for (const [entry, count, wanted] of [
      ['ada', 1, ['ada']],
      ['ann', 1, ['ann']],
      ['bee', 6, ['ada', 'ann']],
      ['ann', 12, ['ada', 'ann']],
    ] as const) {
      await expect.poll(() => allAt(entry, count), { timeout: toldMs, interval: 50 }).toEqual(wanted);
    }
  });
});
