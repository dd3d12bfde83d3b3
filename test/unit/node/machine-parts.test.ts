// The machine's own parts in a whole node: a real attached server, real memory, real keys.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/engine/hardware/device.ts';
import { type Flags, resolveConfig } from '../../../src/node/config.ts';
import { usableBytesOf } from '../../../src/node/machine-parts.ts';
import { type RunningNode, startNode } from '../../../src/node/node.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { DoubleOpenAiServer } from '../../support/double-openai-server.ts';
import { rejectionOf } from '../../support/thrown.ts';

const serverKey = 'the-key-of-the-server';
let dataDir: string;
let server: DoubleOpenAiServer;
let node: RunningNode | undefined;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'meshnode-parts-'));
  server = new DoubleOpenAiServer({ models: ['llama'], apiKey: serverKey });
  await server.start();
});
afterEach(async () => {
  await node?.stop({ drainMs: 0 });
  await server.stop();
  await rm(dataDir, { recursive: true });
  node = undefined;
});

function start(flags: Flags, environment: Record<string, string> = {}): Promise<RunningNode> {
  const { config } = resolveConfig({ port: '0', headless: true, ...flags }, environment, undefined);
  return startNode(
    { config, environment, dataDir },
    { clock: systemClock, random: systemRandom, log: silentLogger },
  );
}

describe('a node with the parts of its machine', () => {
  it('serves the models of a server it is attached to, with the key that the variable holds', async () => {
    const attach = [`http://127.0.0.1:${server.port}`];
    node = await start({ attach, attachKeyEnv: 'SERVER_KEY' }, { SERVER_KEY: serverKey });
    const { serving, apiUrl } = node;
    await expect.poll(() => serving.find('llama')?.status.stage, { interval: 5 }).toBe('ready');
    const response = await fetch(`${apiUrl}/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'llama', max_tokens: 4, messages: [{ role: 'user', content: 'Hi.' }] }),
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ model: 'llama', usage: { completion_tokens: 4 } });
    expect(server.requests.at(-1)?.headers['authorization']).toBe(`Bearer ${serverKey}`);
  });

  it('says so if the variable that should hold the key is not set', async () => {
    const error = await rejectionOf(start({ attachKeyEnv: 'SERVER_KEY' }));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain('SERVER_KEY');
  });

  it('tells where a model was looked for if it is not there', async () => {
    const missing = join(dataDir, 'missing.gguf');
    node = await start({ model: [missing] });
    const { serving } = node;
    await expect.poll(() => serving.find('missing')?.status.stage, { interval: 5 }).toBe('failed');
    expect(serving.find('missing')?.status.error?.code).toBe('model_file_missing');
  });

  it('has no engine for files if it is told to use one that is not there', async () => {
    node = await start({ model: ['demo'], engine: 'llama-server' });
    const { serving } = node;
    await expect.poll(() => serving.find('demo')?.status.stage, { interval: 5 }).toBe('failed');
    expect(serving.find('demo')?.status.error?.code).toBe('engine_missing');
  });
});

describe('the memory that one model can take', () => {
  const device = (usableBytes: number, unified: boolean): Device => ({
    id: 'x',
    kind: 'cpu',
    name: 'x',
    totalBytes: usableBytes,
    usableBytes,
    unified,
    source: 'system',
  });

  it('is that of all devices together', () => {
    expect(usableBytesOf([device(8, false), device(16, false)])).toBe(24);
  });

  it('counts memory that devices share once', () => {
    expect(usableBytesOf([device(12, true), device(16, true)])).toBe(16);
  });

  it('is none without devices', () => {
    expect(usableBytesOf([])).toBe(0);
  });
});
