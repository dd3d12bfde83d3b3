import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  type EngineProcess,
  type OwnProcess,
  startForeignProcess,
  startOwnProcess,
} from '../../src/engine/process.ts';
import { processIdentity } from '../../src/engine/process-facts.ts';
import { openProcessRegistry } from '../../src/engine/process-registry.ts';
import { systemClock } from '../../src/util/clock.ts';
import { engineLimits } from '../../src/util/limits/engine.ts';
import { silentLogger } from '../../src/util/logging.ts';

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/processes/${name}`, import.meta.url));
const common = { name: 'test', clock: systemClock, log: silentLogger };
const env = { PATH: process.env['PATH'] ?? '' };

const started: EngineProcess[] = [];
afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill();
    await child.exited;
  }
});

function startOwn(): OwnProcess {
  const child = startOwnProcess({ ...common, modulePath: fixture('own-child.ts') });
  started.push(child);
  return child;
}

function startForeign(
  command: string,
  args: readonly string[],
  onLine?: (line: string, stream: 'stdout' | 'stderr') => void,
): EngineProcess {
  const child = startForeignProcess({
    ...common,
    command,
    args,
    env,
    ...(onLine === undefined ? {} : { onLine }),
  });
  started.push(child);
  return child;
}

function nextMessage(child: OwnProcess): Promise<unknown> {
  return new Promise((resolve) => {
    const forget = child.onMessage((message) => {
      forget();
      resolve(message);
    });
  });
}

async function expectGone(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    await vi.waitFor(async () => expect(await processIdentity(pid)).toBeUndefined(), {
      timeout: 10_000,
      interval: 20,
    });
  }
}

/** Starts the stand-in for a node; resolves with the ids of its four descendants. */
async function startNodeLike(...args: string[]): Promise<{ node: ChildProcess; pids: number[] }> {
  const node = spawn(process.execPath, [fixture('node-like.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void node.kill('SIGKILL'));
  const line = await new Promise<string>((resolve) =>
    node.stdout.once('data', (chunk) => resolve(String(chunk))),
  );
  const pids: number[] = JSON.parse(line);
  onTestFinished(() => {
    for (const pid of pids) {
      tryKill(pid);
    }
  });
  for (const pid of pids) {
    expect(await processIdentity(pid)).toBeDefined();
  }
  return { node, pids };
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone, as it should be.
  }
}

describe('a node that dies', () => {
  test('leaves nothing behind after kill -9, even programs that ignore SIGTERM', async () => {
    const { node, pids } = await startNodeLike();
    node.kill('SIGKILL');
    await expectGone(pids);
  });

  test('leaves nothing behind when it ends by itself', async () => {
    const { node, pids } = await startNodeLike();
    node.kill('SIGTERM');
    await expectGone(pids);
  });

  test('takes a process of ours along that hangs in an endless loop', async () => {
    const { node, pids } = await startNodeLike('', 'hang');
    node.kill('SIGKILL');
    await expectGone(pids);
  });
});

describe('a foreign program', () => {
  test('keeps its exit code', async () => {
    for (const code of [0, 3, 130, 255]) {
      const exit = await startForeign('sh', ['-c', `exit ${code}`]).exited;
      expect(exit).toMatchObject({ code, signal: null });
    }
  });

  test('keeps the signal that ended it', async () => {
    const exit = await startForeign('sh', ['-c', 'kill -SEGV $$']).exited;
    expect(exit).toMatchObject({ code: null, signal: 'SIGSEGV' });
  });

  test('gets its arguments unharmed, whatever they hold', async () => {
    const args = [
      'a b',
      `it's "quoted"`,
      '$(touch /tmp/never) `id` $HOME',
      'two\nlines',
      '',
      '-n',
      '*',
      '\\',
      'ü€',
    ];
    const script = 'process.stdout.write(JSON.stringify(process.argv.slice(1)))';
    const exit = await startForeign(process.execPath, ['-e', script, '--', ...args]).exited;
    expect(JSON.parse(exit.logTail)).toEqual(args);
  });

  test('gets the given environment and nothing of ours', async () => {
    process.env['MESHNODE_TEST_SECRET'] = 'secret';
    onTestFinished(() => void delete process.env['MESHNODE_TEST_SECRET']);
    const exit = await startForeign('env', []).exited;
    expect(exit.logTail).toContain(`PATH=${env.PATH}`);
    expect(exit.logTail).not.toContain('secret');
  });

  test('has no open end of the guard: its descriptors are the three standard ones', async () => {
    const exit = await startForeign('sh', ['-c', 'ls /proc/$$/fd']).exited;
    const open = exit.logTail.trim().split(/\s+/).map(Number);
    expect(open.filter((descriptor) => descriptor < 10)).toEqual([0, 1, 2]);
  });

  test('that does not exist ends with 127 and says so', async () => {
    const exit = await startForeign('meshnode-no-such-program', []).exited;
    expect(exit.code).toBe(127);
    expect(exit.logTail).toContain('meshnode-no-such-program');
  });

  test('in a folder that does not exist is refused', () => {
    const start = () =>
      startForeignProcess({ ...common, command: 'true', args: [], env, cwd: '/no/such/folder' });
    expect(start).toThrow(expect.objectContaining({ code: 'engine_unavailable' }));
  });

  test('hands on its lines by stream, the last one without its end too', async () => {
    const lines: string[] = [];
    const script = `printf 'one\\r\\ntwo\\n\\nlast'; echo oops >&2`;
    await startForeign('sh', ['-c', script], (line, stream) => lines.push(`${stream}:${line}`)).exited;
    expect(lines.filter((line) => line.startsWith('stdout'))).toEqual([
      'stdout:one',
      'stdout:two',
      'stdout:',
      'stdout:last',
    ]);
    expect(lines).toContain('stderr:oops');
  });

  test('that prints without end is kept by its last bytes only', async () => {
    const exit = await startForeign('sh', ['-c', 'yes 0123456789 | head -c 5000000; echo; echo the end'])
      .exited;
    expect(exit.logTail.length).toBeLessThanOrEqual(engineLimits.logTailBytes);
    expect(exit.logTail).toMatch(/^0123456789\n/);
    expect(exit.logTail).toMatch(/the end\n$/);
  });

  test('ends with the descendants it left behind, also those that hold its output open', async () => {
    const grandchild = Promise.withResolvers<number>();
    const program = startForeign('sh', ['-c', 'sleep 600 & echo $!; exit 5'], (line) =>
      grandchild.resolve(Number(line)),
    );
    expect(await program.exited).toMatchObject({ code: 5 });
    await expectGone([await grandchild.promise]);
  });

  test('that ignores SIGTERM is killed when its time is over', async () => {
    const ready = Promise.withResolvers<string>();
    const program = startForeign(
      'sh',
      ['-c', `trap '' TERM; echo ready; while :; do sleep 1; done`],
      ready.resolve,
    );
    await ready.promise;
    const beganMs = systemClock.monotonicMs();
    expect(program.stop()).toBe(program.stop());
    expect(await program.stop()).toMatchObject({ signal: 'SIGKILL' });
    const tookMs = systemClock.monotonicMs() - beganMs;
    expect(tookMs).toBeGreaterThan(engineLimits.stopMs - 50);
    expect(tookMs).toBeLessThan(engineLimits.stopMs + 2_000);
  });

  test('that heeds SIGTERM may end in its own way', async () => {
    const ready = Promise.withResolvers<string>();
    const program = startForeign(
      'sh',
      ['-c', `trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done`],
      ready.resolve,
    );
    await ready.promise;
    expect(await program.stop()).toMatchObject({ code: 9, signal: null });
  });

  test('tells its memory while it lives', async () => {
    const program = startForeign('sleep', ['600']);
    expect(await program.residentBytes()).toBeGreaterThan(0);
    await program.stop();
    expect(await program.residentBytes()).toBeUndefined();
  });
});

describe('a process of ours', () => {
  test('exchanges messages, binary ones included', async () => {
    const child = startOwn();
    const value = { numbers: new Float32Array([1.5, -2]), big: 12n, text: 'ü' };
    const answer = nextMessage(child);
    expect(child.send({ do: 'echo', value })).toBe(true);
    expect(await answer).toEqual(value);
  });

  test('says its last message before its end is told', async () => {
    const child = startOwn();
    const order: unknown[] = [];
    child.onMessage((message) => order.push(message));
    child.send({ do: 'say-and-exit', value: 'goodbye' });
    order.push((await child.exited).code);
    expect(order).toEqual(['goodbye', 7]);
    expect(child.send({ do: 'echo' })).toBe(false);
  });

  test('that crashes tells its signal', async () => {
    const child = startOwn();
    child.send({ do: 'crash' });
    expect(await child.exited).toMatchObject({ code: null, signal: 'SIGABRT' });
  });

  test('keeps what it printed', async () => {
    const child = startOwn();
    const printed = nextMessage(child);
    child.send({ do: 'print', value: 'some words\n' });
    await printed;
    expect((await child.stop()).logTail).toContain('some words');
  });

  test('that hangs in an endless loop is stopped all the same', async () => {
    const child = startOwn();
    const hanging = nextMessage(child);
    child.send({ do: 'hang' });
    await hanging;
    expect(await child.stop()).toMatchObject({ signal: 'SIGTERM' });
  });

  test('that refuses to stop is killed when its time is over', async () => {
    const child = startOwn();
    const deaf = nextMessage(child);
    child.send({ do: 'ignore-term' });
    await deaf;
    expect(await child.stop()).toMatchObject({ signal: 'SIGKILL' });
  });

  test('is killed at once, with its own children', async () => {
    const child = startOwn();
    const spawned = nextMessage(child);
    child.send({ do: 'spawn' });
    const { grandchild } = (await spawned) as { grandchild: number };
    child.kill();
    await child.exited;
    await expectGone([child.pid, grandchild]);
  });

  test('exits by itself when the node lets go of its channel', async () => {
    const child = spawn(process.execPath, [fixture('own-child.ts')], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const code = new Promise((resolve) => child.once('exit', resolve));
    child.disconnect();
    expect(await code).toBe(0);
  });
});

describe('the record of processes', () => {
  test('names what runs and forgets what has ended', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'meshnode-test-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'processes.json');
    const registry = await openProcessRegistry({ ...common, path: file });
    const child = startForeignProcess({ ...common, command: 'sleep', args: ['600'], env, registry });
    started.push(child);
    await registry.written();
    expect(JSON.parse(await readFile(file, 'utf8')).processes).toEqual([
      { pid: child.pid, name: 'test', identity: await processIdentity(child.pid) },
    ]);
    await child.stop();
    await registry.written();
    expect(JSON.parse(await readFile(file, 'utf8')).processes).toEqual([]);
  });

  test.each([
    ['ends what a dead node left', true],
    ['spares a process whose id was reused', false],
  ])('%s', async (_behaviour, same) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'meshnode-test-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const orphan = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
    onTestFinished(() => void orphan.kill('SIGKILL'));
    const pid = orphan.pid ?? 0;
    const identity = (await processIdentity(pid)) ?? '';
    const file = path.join(folder, 'processes.json');
    const owner = { pid: 4_194_304, identity: 'a node of long ago' };
    const recorded = { pid, name: 'orphan', identity: same ? identity : `${identity}0` };
    await writeFile(file, JSON.stringify({ owner, processes: [recorded] }));
    await openProcessRegistry({ ...common, path: file });
    expect(await processIdentity(pid)).toBe(same ? undefined : identity);
  });
});
