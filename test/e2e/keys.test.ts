// API keys made and revoked beside a node that runs.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { writeChatModel } from '../support/node-under-test.ts';
import { runMeshnode, type StartedNode, startNode } from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();
let node: StartedNode | undefined;
afterEach(() => node?.stop());

const chat = (apiUrl: string, key?: string) =>
  fetch(`${apiUrl}/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    },
    body: JSON.stringify({ model: 'tiny', max_tokens: 4, messages: [{ role: 'user', content: 'Hi' }] }),
  });

describe('meshnode keys beside a running node', () => {
  it('lets a new key in and a revoked one no more, and the owner always', async () => {
    const started = await startNode(['--model', await writeChatModel(folder), '--threads', '1']);
    node = started;
    await started.process.event('ready');
    const beside = (...args: string[]) => runMeshnode([...args, '--data-dir', started.home]);
    const statusWith = async (key?: string) => (await chat(started.apiUrl, key)).status;
    const becomes = (status: number, key?: string) =>
      vi.waitFor(async () => expect(await statusWith(key)).toBe(status), { timeout: 3000, interval: 50 });

    expect(await statusWith()).toBe(200);
    const laptop = (await beside('keys', 'create', 'laptop')).stdout.trim();
    const guest = (await beside('keys', 'create', 'guest', '--rate', '2')).stdout.trim();
    await becomes(401);
    expect(await statusWith(laptop)).toBe(200);

    const [first, , third] = [
      await chat(started.apiUrl, guest),
      await chat(started.apiUrl, guest),
      await chat(started.apiUrl, guest),
    ];
    expect([first?.status, first?.headers.get('x-ratelimit-remaining-requests')]).toEqual([200, '1']);
    expect(third?.status).toBe(429);
    expect(Number(third?.headers.get('retry-after'))).toBeLessThanOrEqual(30);

    await beside('keys', 'revoke', 'laptop');
    await becomes(401, laptop);
    await beside('keys', 'revoke', 'guest');
    await becomes(401, guest);
    expect(await statusWith()).toBe(401);

    const status = await beside('status', '--json');
    expect(status.exitCode).toBe(0);
    const run = await beside('run', 'tiny', 'Hi', '--max-tokens', '4');
    expect(run.exitCode).toBe(0);
    expect(started.process.stderr + started.process.stdout).not.toContain(laptop);
  });
});
