// `meshnode serve` as programs see it: the events on its standard output, and an API that answers from the
// first second.
import { readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { enginePid, openStream, postChat, processTree, writeChatModel } from '../support/node-under-test.ts';
import { type ProcessOptions, type StartedNode, startNode } from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();
let model: string;
beforeAll(async () => {
  model = await writeChatModel(folder);
});

async function start(flags: readonly string[], options?: ProcessOptions): Promise<StartedNode> {
  const node = await startNode(['--threads', '1', ...flags], options);
  onTestFinished(() => node.stop('SIGKILL'));
  return node;
}

describe('the events', () => {
  it('say who the node is, where it answers, how its models come, and that it is ready', async () => {
    const node = await start(['--model', 'demo-embed', '--name', 'tester']);
    await node.process.event('ready');
    const events = node.process.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(events.slice(0, 2)).toEqual([
      { time, event: 'api', url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/v1$/) },
      { time, event: 'console', url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) },
    ]);
    expect(events.filter(({ event }) => event === 'node' || event === 'invite')).toEqual([
      {
        time,
        event: 'node',
        peerId: expect.stringMatching(/^12D3KooW\w{44}$/),
        meshId: expect.stringMatching(/^[0-9a-f]{64}$/),
        role: 'admin',
        addresses: [
          expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\/12D3KooW\w{44}$/),
          expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/udp\/\d+\/quic-v1\/p2p\/12D3KooW\w{44}$/),
        ],
        name: 'tester',
        version: expect.any(String),
      },
      {
        time,
        event: 'invite',
        token: expect.stringMatching(/^mesh1[\w-]+$/),
        role: 'serve',
        uses: 10,
        expiresAt: expect.stringMatching(/Z$/),
      },
    ]);
    const course = events.slice(2, -1).filter(({ event }) => event === 'model');
    expect(course.every(({ model }) => model === 'demo-embed')).toBe(true);
    const states = course.map(({ state }) => state);
    expect([...new Set(states)]).toEqual(['resolving', 'placing', 'loading', 'ready']);
    expect(course.at(-1)).toEqual({
      time,
      event: 'model',
      model: 'demo-embed',
      state: 'ready',
      mode: 'solo',
      kinds: ['embedding'],
      engine: expect.stringMatching(/^(llama-server|embedded)$/),
    });
    expect(events.at(-1)).toEqual({ time, event: 'ready' });
  });

  it('say nothing of a console that is not wanted', async () => {
    const node = await start(['--headless']);
    await node.process.event('ready');
    expect(node.process.lines.map(({ event }) => event)).toEqual(['api', 'node', 'invite', 'ready']);
    expect(JSON.parse(await readFile(join(node.home, 'run.json'), 'utf8'))).not.toHaveProperty('consoleUrl');
  });

  it('tell of one model if the same file is asked for in two ways', async () => {
    const node = await start(['--model', model, '--model', `./${relative(process.cwd(), model)}`]);
    await node.process.event('ready');
    const { data } = (await (await fetch(`${node.apiUrl}/models`)).json()) as { data: unknown[] };
    expect(data).toHaveLength(1);
    expect(node.process.lines.filter(({ state }) => state === 'ready')).toHaveLength(1);
    await enginePid(node, 'tiny');
    await expect.poll(() => engines(node)).toBe(1);
  });
});

/** Engines that the node runs; the one that lists devices ends by itself. */
async function engines(node: StartedNode): Promise<number> {
  const tree = await processTree(node.process.pid);
  const lines = await Promise.all(
    tree.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => /^[^\0]*(node\0.*embedded-worker|llama-server\0--model)/.test(line)).length;
}

describe('while its model loads, the API', () => {
  it('answers, holds what may wait, and answers that when the model is ready', async () => {
    // The engine that takes long enough for its load to be halted.
    const node = await start(['--model', model, '--engine', 'embedded']);
    const states = async () =>
      Promise.all(
        ['health', 'readyz'].map(async (path) => {
          const response = await fetch(`${node.origin}/${path}`);
          return { status: response.status, body: await response.json() };
        }),
      );
    // Loading takes as long as we like: its process is halted.
    await node.process.event('model', { state: 'loading' });
    const engine = await enginePid(node, 'tiny');
    process.kill(engine, 'SIGSTOP');

    const refused = await postChat(node, { model: 'tiny', prompt: 'Hello' });
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await refused.json()).toMatchObject({
      error: { code: 'model_loading', type: 'server_error', loading: { stage: 'loading' } },
    });
    expect(await states()).toMatchObject([
      { status: 200, body: { status: 'ok' } },
      { status: 503, body: { waiting_for: ['tiny is loading'] } },
    ]);

    const patient = postChat(node, { model: 'tiny', prompt: 'Hello', headers: { 'x-meshnode-wait': '30' } });
    const stream = await openStream(node, { model: 'tiny', prompt: 'Hello' });
    await stream.until(': ping');
    process.kill(engine, 'SIGCONT');

    const { text, broken } = await stream.ended;
    expect(broken).toBe(false);
    expect(text).toMatch(/"content":"[^"]/);
    expect(text.trimEnd()).toMatch(/\ndata: \[DONE\]$/);
    expect(await (await patient).json()).toMatchObject({ choices: [{ message: { role: 'assistant' } }] });
    await node.process.event('ready');
    expect(await states()).toMatchObject([{ status: 200 }, { status: 200, body: { waiting_for: [] } }]);
  });
});
