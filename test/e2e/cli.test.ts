// The commands as a user runs them: real processes, with and without a running node.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nativeSearch } from '../support/llama-server.ts';
import { endlessMark, writeChatModel } from '../support/node-under-test.ts';
import {
  meshnodeProgram,
  runMeshnode,
  type StartedNode,
  StartedProcess,
  startNode,
} from '../support/started-process.ts';

/** Which engine a node takes by itself here. */
const engine = (await nativeSearch()).programs === undefined ? 'embedded' : 'llama-server';

describe('beside a running node', () => {
  let node: StartedNode;
  const beside = (args: readonly string[], input?: string) =>
    runMeshnode([...args, '--data-dir', node.home], input === undefined ? {} : { input });

  beforeAll(async () => {
    node = await startNode(['--model', 'demo', '--threads', '1']);
    await node.process.event('ready');
  });
  afterAll(() => node.stop());

  it('status shows the model, and everything for programs', async () => {
    const { exitCode, stdout } = await beside(['status']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(new RegExp(`demo\\s+ready\\s+${engine}`));
    expect(stdout).toContain(node.apiUrl);
    const { stdout: json } = await beside(['status', '--json']);
    expect(JSON.parse(json)).toMatchObject({
      ready: true,
      pid: node.process.pid,
      apiUrl: node.apiUrl,
      models: [{ name: 'demo', stage: 'ready', engine }],
    });
  });

  it('run answers one prompt with the running node', async () => {
    const { exitCode, stdout } = await beside([
      'run',
      'demo',
      'Hello',
      '--temperature',
      '0',
      '--max-tokens',
      '40',
    ]);
    expect(exitCode).toBe(0);
    expect(stdout.trim()).not.toBe('');
    expect(stdout.endsWith('\n')).toBe(true);
  });

  it('run takes its prompt from a pipe, and prints events for programs', async () => {
    const { exitCode, stdout } = await beside(
      ['run', 'demo', '--json', '--temperature', '0', '--max-tokens', '20'],
      'Hello',
    );
    expect(exitCode).toBe(0);
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(
      events
        .filter(({ event }) => event === 'text')
        .map(({ text }) => text)
        .join(''),
    ).not.toBe('');
    expect(events.at(-1)).toMatchObject({ event: 'end', completionTokens: expect.any(Number) });
  });

  it('run loads a model that the node does not serve yet', async () => {
    const { exitCode, stderr } = await beside(['run', 'demo-rerank', 'Hello']);
    // It is loaded, and then refuses to chat: the error is the API's own.
    expect(exitCode).toBe(1);
    expect(stderr).toContain('demo-rerank');
    await node.process.event('model', { model: 'demo-rerank', state: 'ready' });
  });

  it('run takes another name of a served file for the model that is served', async () => {
    const path = fileURLToPath(new URL('../../models/demo/demo.gguf', import.meta.url));
    const { exitCode, stdout } = await beside(['run', path, 'Hello', '--max-tokens', '4']);
    expect(exitCode).toBe(0);
    expect(stdout.trim()).not.toBe('');
    const { stdout: json } = await beside(['status', '--json']);
    const { models } = JSON.parse(json);
    expect(models.find(({ name }: { name: string }) => name === 'demo')).toMatchObject({ aliases: [path] });
  });

  it('run ends as a model that cannot be loaded says', async () => {
    const { exitCode, stderr } = await beside(['run', join(node.home, 'none.gguf'), 'Hello']);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('none.gguf');
  });

  it('run is stopped by Ctrl-C', async () => {
    const model = await writeChatModel(node.home);
    const run = new StartedProcess(meshnodeProgram, [
      'run',
      model,
      endlessMark,
      '--json',
      '--data-dir',
      node.home,
    ]);
    await run.event('text');
    expect(await run.stop('SIGINT')).toBe(130);
    expect(run.stderr).toBe('meshnode: Stopped.\n');
    expect(run.lines.at(-1)).toMatchObject({ event: 'error', code: 'interrupted' });
  });

  it('run with an empty pipe says how to give a prompt', async () => {
    const { exitCode, stderr } = await beside(['run', 'demo'], '');
    expect(exitCode).toBe(2);
    expect(stderr).toContain('meshnode run MODEL');
  });

  it('doctor knows the ports and the folder of the running node', async () => {
    const { exitCode, stdout } = await beside(['doctor', '--json']);
    const outcomes = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .map(({ check, outcome }) => [check, outcome]);
    expect(Object.fromEntries(outcomes)).toMatchObject({
      'data folder': 'ok',
      'API port': 'ok',
      'console port': 'ok',
      'engine embedded': 'ok',
    });
    expect(exitCode).toBe(outcomes.some(([, outcome]) => outcome === 'failed') ? 1 : 0);
  });

  it('ends quietly when its reader goes away', async () => {
    const shell = new StartedProcess('sh', [
      '-c',
      `"${meshnodeProgram}" run demo 'Count for ever.' --max-tokens 400 --data-dir "${node.home}" | head -c 5 >/dev/null; echo done`,
    ]);
    shell.child.stdin?.end();
    expect(await shell.exited).toBe(0);
    expect(shell.stderr).toBe('');
  });
});

describe('without a node', () => {
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'meshnode-cli-'));
  });
  afterAll(() => rm(home, { recursive: true, force: true }));
  const alone = (args: readonly string[], environment: Record<string, string> = {}) =>
    runMeshnode([...args, '--data-dir', home], {
      environment: { HF_HOME: join(home, 'hf'), ...environment },
    });

  it('status says how to start one', async () => {
    const { exitCode, stdout, stderr } = await alone(['status']);
    expect([exitCode, stdout]).toEqual([69, '']);
    expect(stderr).toContain('meshnode');
  });

  it('run starts a node of its own and leaves nothing', async () => {
    const { exitCode, stdout } = await alone(
      ['run', 'demo', 'Hello', '--temperature', '0', '--max-tokens', '10'],
      {
        MESHNODE_THREADS: '1',
      },
    );
    expect(exitCode).toBe(0);
    expect(stdout.trim()).not.toBe('');
    expect((await alone(['status'])).exitCode).toBe(69);
  });

  it('run says what is wrong with a model that is none', async () => {
    const { exitCode, stderr } = await alone(['run', 'dmeo', 'Hello']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('demo');
  });

  it('models lists the shipped ones, and which to download', async () => {
    const { stdout } = await alone(['models']);
    expect(stdout).toMatch(/demo\s+demo\s+.*\s+demo/);
    expect(stdout).toMatch(/qwen3-0\.6b\s+chat/);
    const { stdout: json } = await alone(['models', '--json']);
    const models = json
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(models.find(({ name }) => name === 'demo')).toMatchObject({ here: true, reference: 'demo' });
    expect(models.find(({ name }) => name === 'qwen3-0.6b')).toMatchObject({ here: false });
  });

  it('models pull says what to do when the hub cannot be reached', async () => {
    const { exitCode, stderr } = await alone(['models', 'pull', 'hf:org/repo:Q8_0'], {
      HF_ENDPOINT: 'http://127.0.0.1:9',
      HF_HUB_OFFLINE: '1',
    });
    expect(exitCode).not.toBe(0);
    expect(stderr.trim().split('\n')).toHaveLength(2);
  });

  it('models rm does not delete what ships with the project', async () => {
    const { exitCode, stderr } = await alone(['models', 'rm', 'demo']);
    expect(exitCode).toBe(2);
    expect(stderr).toContain('not deleted');
  });

  it('gpus shows a device with its usable memory', async () => {
    const { stdout } = await alone(['gpus', '--json']);
    const { devices } = JSON.parse(stdout);
    expect(devices[0]).toMatchObject({ kind: expect.any(String), usableBytes: expect.any(Number) });
    const capped = await alone(['gpus', '--json', '--max-vram', '1GiB']);
    expect(JSON.parse(capped.stdout).devices[0].usableBytes).toBeLessThanOrEqual(1024 ** 3);
  });
});
