// The HTTP double as a process of its own: says where it listens, and ends with its parent.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';

const main = join(import.meta.dirname, '../fixtures/double-openai-server-main.ts');

test('prints its port, answers, and ends when its standard input closes', async () => {
  const child = spawn(process.execPath, [main, '--rate', '200', '--model', 'one'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [line] = await once(createInterface(child.stdout), 'line');
  const { port } = JSON.parse(String(line)) as { port: number };
  const models = await (await fetch(`http://127.0.0.1:${port}/v1/models`)).json();
  expect(models).toMatchObject({ data: [{ id: 'one' }] });
  child.stdin.end();
  expect(await once(child, 'exit')).toEqual([0, null]);
});
