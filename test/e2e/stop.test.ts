// How a node ends when it is told to: by a signal, by Ctrl-C once and twice, by its management API. Answers
// come from a double whose rate is known, so that one ends within the time that is left and another does not.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { engineLimits } from '../../src/util/limits/engine.ts';
import { nodeLimits } from '../../src/util/limits/node.ts';
import { DoubleOpenAiServer } from '../support/double-openai-server.ts';
import {
  endlessMark,
  enginePid,
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

const goneMs = 3_000;
const tokensPerSecond = 20;

async function start(flags: readonly string[]): Promise<StartedNode> {
  const node = await startNode(['--threads', '1', ...flags]);
  onTestFinished(() => node.stop('SIGKILL'));
  return node;
}

async function startAttached(): Promise<StartedNode> {
  const double = new DoubleOpenAiServer({ tokensPerSecond });
  await double.start();
  onTestFinished(() => double.stop());
  const node = await start(['--attach', double.url]);
  await node.process.event('model', { model: 'double', state: 'ready' });
  return node;
}

/** Waits for a sentence on standard error. */
const said = (node: StartedNode, sentence: string | RegExp) =>
  expect.poll(() => node.process.stderr, { timeout: 5_000 }).toMatch(sentence);

describe('SIGTERM', () => {
  it('ends the node and its engines, and the exit code says that all is well', async () => {
    const node = await start(['--model', model]);
    await node.process.event('ready');
    const tree = await processTree(node.process.pid);
    expect(tree).toContain(await enginePid(node, 'tiny'));
    expect(await node.process.stop()).toBe(0);
    await allGone(tree, goneMs);
    expect(node.process.lines.at(-1)).toMatchObject({ event: 'model', model: 'tiny', state: 'unloaded' });
    await expect(readFile(join(node.home, 'run.json'))).rejects.toThrow('ENOENT');
  });

  it('ends a node whose model is still loading, even if that hangs', async () => {
    const node = await start(['--model', model]);
    await node.process.event('model', { state: 'loading' });
    process.kill(await enginePid(node, 'tiny'), 'SIGSTOP');
    const tree = await processTree(node.process.pid);
    const toldMs = performance.now();
    expect(await node.process.stop()).toBe(0);
    expect(performance.now() - toldMs).toBeLessThan(engineLimits.stopMs + 2_000);
    await allGone(tree, goneMs);
    expect(node.process.lines.map(({ event }) => event)).not.toContain('error');
  });
});

describe('Ctrl-C', () => {
  it('lets a running answer end, takes no new one, and says what it waits for', async () => {
    const node = await startAttached();
    const maxTokens = 2 * tokensPerSecond;
    const stream = await openStream(node, { model: 'double', prompt: 'Go on', maxTokens });
    await stream.until('"content":"');
    node.process.child.kill('SIGINT');
    await said(node, /^Waiting for 1 running answer; Ctrl-C again stops at once\.$/m);
    await expect(postChat(node, { model: 'double', prompt: 'Hello' })).rejects.toThrow();
    const { text, broken } = await stream.ended;
    expect(broken).toBe(false);
    expect(text.match(/"content":"[^"]/g)?.length).toBe(maxTokens);
    expect(text).toContain('data: [DONE]');
    expect(await node.process.exited).toBe(0);
  });

  it('gives up an answer that takes too long, without a false end', async () => {
    const node = await startAttached();
    const stream = await openStream(node, { model: 'double', prompt: 'Go on', maxTokens: 4_000 });
    await stream.until('"content":"');
    const toldMs = performance.now();
    node.process.child.kill('SIGINT');
    const { text, broken } = await stream.ended;
    const tookMs = performance.now() - toldMs;
    expect([broken, text.includes('[DONE]')]).toEqual([true, false]);
    expect(tookMs).toBeGreaterThan(nodeLimits.drainMs - 500);
    expect(tookMs).toBeLessThan(nodeLimits.drainMs + 1_500);
    expect(await node.process.exited).toBe(0);
  });

  it('a second time ends everything at once', async () => {
    const node = await start(['--model', model]);
    await node.process.event('ready');
    const tree = await processTree(node.process.pid);
    const stream = await openStream(node, { model: 'tiny', prompt: endlessMark, maxTokens: 4_000 });
    await stream.until('"content":"');
    process.kill(await enginePid(node, 'tiny'), 'SIGSTOP');
    node.process.child.kill('SIGINT');
    await said(node, 'Waiting for 1 running answer');
    const toldMs = performance.now();
    node.process.child.kill('SIGINT');
    expect(await node.process.exited).toBe(130);
    expect(performance.now() - toldMs).toBeLessThan(1_000);
    await allGone(tree, goneMs);
  });
});

describe('the management API', () => {
  it('ends the node, but only for who has its token', async () => {
    const node = await start([]);
    const { url } = await node.process.event('console');
    const stop = (headers: Record<string, string>) =>
      fetch(`${String(url)}/api/stop`, { method: 'POST', headers });
    expect((await stop({})).status).toBe(401);
    const token = (await readFile(join(node.home, 'console-token'), 'utf8')).trim();
    expect((await stop({ authorization: `Bearer ${token}` })).status).toBe(202);
    expect(await node.process.exited).toBe(0);
  });
});
