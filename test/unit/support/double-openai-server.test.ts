// The HTTP double is a measuring instrument: its rate must be exact and it must wait for its reader.
import { expect, test, vi } from 'vitest';
import { startDouble } from '../../support/attached.ts';

async function askFor(url: string, maxTokens: number, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(`${url}/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({
      model: 'double',
      stream: true,
      max_tokens: maxTokens,
      messages: [{ role: 'user', content: 'hi' }],
    }),
    signal,
  });
}

function countTokens(body: string): number {
  return [...body.matchAll(/"content":"/g)].length;
}

test('gives tokens at its rate: no sooner, and late timers are caught up with', async () => {
  const server = await startDouble({ tokensPerSecond: 500 });
  const startMs = performance.now();
  const answers = await Promise.all([1, 2, 3].map(async () => (await askFor(server.url, 501)).text()));
  const elapsedMs = performance.now() - startMs;
  expect(answers.map(countTokens)).toEqual([501, 501, 501]);
  // 500 intervals of 2 ms. Without catching up each late timer would add a millisecond or more.
  expect(elapsedMs).toBeGreaterThanOrEqual(999);
  expect(elapsedMs).toBeLessThan(1_400);
});

test('at rate 0 waits for a reader that does not read, and gives up when it leaves', async () => {
  const server = await startDouble({ contextTokens: 1_000_000 });
  const reader = new AbortController();
  await askFor(server.url, 500_000, reader.signal);
  let before = -1;
  await vi.waitFor(
    () => {
      const now = server.tokensSent;
      const settled = now > 0 && now === before;
      before = now;
      expect(settled, 'no more tokens than buffers hold').toBe(true);
    },
    { interval: 20, timeout: 5_000 },
  );
  expect(server.tokensSent).toBeLessThan(500_000);
  reader.abort();
  await vi.waitFor(() => expect([server.active, server.aborted]).toEqual([0, 1]), { interval: 5 });
});

test('answers the same for the same prompt and seed, and otherwise differently', async () => {
  const server = await startDouble();
  const [one, same] = [
    await (await askFor(server.url, 20)).text(),
    await (await askFor(server.url, 20)).text(),
  ];
  const content = (body: string) => [...body.matchAll(/"content":"[^"]*"/g)].join('');
  expect(content(one)).toBe(content(same));
  expect(content(one)).not.toBe('');
});
