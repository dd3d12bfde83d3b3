// What is left when a process is killed: the engine's under a node, which brings another, and the node's
// own, which takes its engines along and leaves a data folder that the next node can use.
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { engineLimits } from '../../src/util/limits/engine.ts';
import {
  endlessMark,
  enginePid,
  nextEvent,
  openStream,
  postChat,
  processTree,
  writeChatModel,
} from '../support/node-under-test.ts';
import { allGone, type StartedNode, startNode } from '../support/started-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();
let model: string;
beforeAll(async () => {
  model = await writeChatModel(folder);
});

/** Time within which nothing may be left of a node that was killed. */
const orphanMs = 3_000;

async function startReady(flags: readonly string[] = []): Promise<StartedNode> {
  const node = await startNode(['--model', model, '--threads', '1', ...flags]);
  onTestFinished(() => node.stop('SIGKILL'));
  await node.process.event('ready');
  return node;
}

const endless = { model: 'tiny', prompt: `Go on ${endlessMark}`, maxTokens: 4_000 };

describe('an engine whose process', () => {
  it('is killed in the middle of an answer breaks it off, and another takes its place', async () => {
    const node = await startReady();
    const stream = await openStream(node, endless);
    await stream.until('"content":"');
    const lost = nextEvent(node.process, { event: 'model', state: 'loading' });
    const back = nextEvent(node.process, { event: 'model', state: 'ready' });
    const engine = await enginePid(node, 'tiny');
    process.kill(engine, 'SIGKILL');

    const { text, broken } = await stream.ended;
    expect(broken).toBe(true);
    expect(text).toContain('"code":"engine_lost"');
    expect(text).not.toContain('[DONE]');
    expect(await lost).toMatchObject({ model: 'tiny', error: { code: 'engine_unavailable' } });
    expect(await back).not.toHaveProperty('error');
    expect(await enginePid(node, 'tiny', engine)).not.toBe(engine);
    expect((await postChat(node, { model: 'tiny', prompt: 'Hello' })).status).toBe(200);
  });

  it('hangs is killed once a client has hung up in vain, and its slot is free again', async () => {
    const node = await startReady(['--parallel', '1']);
    const stream = await openStream(node, endless);
    await stream.until('"content":"');
    const engine = await enginePid(node, 'tiny');
    process.kill(engine, 'SIGSTOP');
    const lost = nextEvent(node.process, { event: 'model', state: 'loading' });
    const back = nextEvent(node.process, { event: 'model', state: 'ready' });
    const hungUpMs = performance.now();
    stream.cancel();
    const behind = postChat(node, { model: 'tiny', prompt: 'Hello', headers: { 'x-meshnode-wait': '30' } });
    await lost;
    const tookMs = performance.now() - hungUpMs;
    expect(tookMs).toBeGreaterThan(engineLimits.cancelMs - 500);
    expect(tookMs).toBeLessThan(engineLimits.cancelMs + 2_000);
    await allGone([engine], orphanMs);
    await back;
    // Whoever waited for the slot is answered, or may try again: no client hangs with the engine.
    const { status, headers } = await behind;
    expect(status === 200 || (status > 500 && headers.get('x-should-retry') === null)).toBe(true);
    expect((await postChat(node, { model: 'tiny', prompt: 'Hello' })).status).toBe(200);
  });
});

describe('a node that is killed', () => {
  it('takes its engines along, and their watchers', async () => {
    const node = await startReady();
    const tree = await processTree(node.process.pid);
    expect(tree).toContain(await enginePid(node, 'tiny'));
    expect(await node.process.stop('SIGKILL')).toBe('SIGKILL');
    await allGone(tree, orphanMs);
  });

  it('leaves its folder to the next, which ends no process that it cannot prove to be an engine', async () => {
    const node = await startReady();
    const { peerId } = await node.process.event('node');
    await node.process.stop('SIGKILL');
    const bystander = spawn('sleep', ['600'], { stdio: 'ignore' });
    onTestFinished(() => void bystander.kill('SIGKILL'));
    const recordFile = join(node.home, 'processes.json');
    const record = JSON.parse(await readFile(recordFile, 'utf8'));
    record.processes.push({ pid: bystander.pid, name: 'embedded/tiny', identity: 'of a dead engine' });
    await writeFile(recordFile, JSON.stringify(record));

    const next = await startReady(['--data-dir', node.home]);
    expect(await next.process.event('node')).toMatchObject({ peerId });
    expect(JSON.parse(await readFile(join(node.home, 'run.json'), 'utf8'))).toMatchObject({
      pid: next.process.pid,
      apiUrl: next.apiUrl,
    });
    expect((await postChat(next, { model: 'tiny', prompt: 'Hello' })).status).toBe(200);
    expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
  });
});
