// `meshnode models pull` as a process, against a hub on this machine: done, interrupted, and taken up again.
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { meshnodeProgram, StartedProcess } from '../support/started-process.ts';
import { TestHub } from '../support/test-hub.ts';

const sizeBytes = 300_000;
const heldAfterBytes = 100_000;
const content = Buffer.alloc(sizeBytes, 'weights of a model ');

let hub: TestHub;
let home: string;
const started: StartedProcess[] = [];

beforeEach(async () => {
  hub = await TestHub.start();
  hub.publish('acme/Tiny-GGUF', { 'Tiny-Q4_0.gguf': content });
  home = await mkdtemp(join(tmpdir(), 'meshnode-pull-'));
});
afterEach(async () => {
  await Promise.all(started.splice(0).map((pull) => pull.stop('SIGKILL')));
  await hub.close();
  await rm(home, { recursive: true, force: true });
});

function pull(): StartedProcess {
  const args = ['models', 'pull', 'hf:acme/Tiny-GGUF:Q4_0', '--json', '--data-dir', home];
  const environment = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(home, 'hf'), HF_TOKEN: hub.token };
  const process = new StartedProcess(meshnodeProgram, args, { environment });
  started.push(process);
  return process;
}

/** Bytes of unfinished downloads on disk. */
async function writtenBytes(): Promise<number> {
  const files = await readdir(home, { recursive: true });
  const sizes = files
    .filter((name) => name.endsWith('.incomplete'))
    .map((name) =>
      stat(join(home, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

it('tells its progress and where the model lies', async () => {
  const process = pull();
  expect(await process.exited).toBe(0);
  const { path } = await process.event('pulled', { sizeBytes });
  expect(await readFile(String(path))).toEqual(content);
  expect(process.lines.some(({ event }) => event === 'progress')).toBe(true);
});

it.each(['SIGINT', 'SIGKILL'] as const)('goes on where %s stopped it', async (signal) => {
  hub.faults.push({ on: 'storage', times: 1, holdAfterBytes: heldAfterBytes });
  const first = pull();
  await first.event('progress', { stage: 'downloading' });
  await expect.poll(() => hub.storageRequests.at(-1)?.sentBytes).toBe(heldAfterBytes);
  // What was sent is not written yet.
  await expect.poll(writtenBytes).toBeGreaterThan(0);
  const exit = await first.stop(signal);
  expect(exit).toBe(signal === 'SIGINT' ? 130 : 'SIGKILL');

  const second = pull();
  expect(await second.exited).toBe(0);
  const { path } = await second.event('pulled');
  expect(await readFile(String(path))).toEqual(content);
  const from = Number(/^bytes=(\d+)-/.exec(hub.storageRequests.at(-1)?.range ?? '')?.[1]);
  expect(from).toBeGreaterThan(0);
  expect(from).toBeLessThanOrEqual(heldAfterBytes);
});
