// The machine's own parts in a whole node: a real attached server, real memory, real keys.
import { mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/engine/hardware/device.ts';
import { type Flags, resolveConfig } from '../../../src/node/config.ts';
import { machineParts, type NodeParts, usableBytesOf } from '../../../src/node/machine-parts.ts';
import { type RunningNode, startNode } from '../../../src/node/node.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { createLogger, silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { DoubleOpenAiServer } from '../../support/double-openai-server.ts';
import { servedAs } from '../../support/served.ts';
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

/** The parts for these flags, which touch no server, and what they log. */
async function partsFor(
  flags: Flags,
  environment: Record<string, string> = {},
): Promise<{ parts: NodeParts; lines: string[] }> {
  const { config } = resolveConfig(flags, environment, undefined);
  const lines: string[] = [];
  const log = createLogger('warn', { write: (line) => lines.push(line) }, { pretty: false });
  const parts = await machineParts({
    config,
    environment,
    dataDir,
    clock: systemClock,
    random: systemRandom,
    log,
  });
  return { parts, lines };
}

describe('the key of attached servers', () => {
  const attachKeyEnv = 'SERVER_KEY';
  const environment = { SERVER_KEY: serverKey };

  it('is refused if more than one server would get it', async () => {
    const attach = ['https://one.example/v1', 'https://two.example/v1'];
    const error = await rejectionOf(partsFor({ attach, attachKeyEnv }, environment));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain('https://one.example, https://two.example');
    await expect(partsFor({ attach })).resolves.toBeDefined();
  });

  it('may go to several addresses of one server', async () => {
    const attach = ['https://one.example/a/v1', 'https://one.example:443/b/v1'];
    const { lines } = await partsFor({ attach, attachKeyEnv }, environment);
    expect(lines).toEqual([]);
  });

  it.each([
    ['http://ai.example:8080/v1', 1],
    ['http://192.168.1.7:8080/v1', 1],
    ['http://127.0.0.1:8080/v1', 0],
    ['http://[::1]:8080/v1', 0],
    ['http://localhost:8080/v1', 0],
  ])('is warned of if it goes over a network unencrypted: %s', async (url, warnings) => {
    const { lines } = await partsFor({ attach: [url], attachKeyEnv }, environment);
    expect(lines).toHaveLength(warnings);
    expect(lines.join('')).not.toContain(serverKey);
  });
});

describe('the identity of a model', () => {
  it('is that of the file itself, by whatever link it is reached', async () => {
    const [path, link] = [join(dataDir, 'model.gguf'), join(dataDir, 'link.gguf')];
    await writeFile(path, '');
    await symlink(path, link);
    const { parts } = await partsFor({});
    const identityOf = (path: string): Promise<string> =>
      parts.ports.identity({ name: 'x', reference: 'x', path, files: [], sizeBytes: 0 });
    expect(await identityOf(link)).toBe(await realpath(path));
    expect(await identityOf(path)).toBe(await realpath(path));
  });
});

describe('a node with the parts of its machine', () => {
  it('serves the models of a server it is attached to, with the key that the variable holds', async () => {
    const attach = [`http://127.0.0.1:${server.port}`];
    node = await start({ attach, attachKeyEnv: 'SERVER_KEY' }, { SERVER_KEY: serverKey });
    const { serving, apiUrl } = node;
    await expect.poll(() => servedAs(serving, 'llama')?.status.stage, { interval: 5 }).toBe('ready');
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
    await expect.poll(() => servedAs(serving, 'missing')?.status.stage, { interval: 5 }).toBe('failed');
    expect(servedAs(serving, 'missing')?.status.error?.code).toBe('model_file_missing');
  });

  it('has no engine for files if it is told to use one that is not there', async () => {
    node = await start({ model: ['demo'], engine: 'llama-server', llamaServer: '/nowhere/llama-server' });
    const { serving } = node;
    await expect.poll(() => servedAs(serving, 'demo')?.status.stage, { interval: 5 }).toBe('failed');
    expect(servedAs(serving, 'demo')?.status.error).toMatchObject({
      code: 'engine_missing',
      message: expect.stringContaining('llama-server'),
      hint: expect.stringContaining('meshnode engine build'),
    });
  });

  it('serves with the embedded engine if the llama-server that it is told to use is not there', async () => {
    node = await start({ model: ['demo'], llamaServer: '/nowhere/llama-server' });
    const { serving } = node;
    await expect
      .poll(() => servedAs(serving, 'demo')?.status.stage, { interval: 5, timeout: 10_000 })
      .toBe('ready');
    expect(servedAs(serving, 'demo')?.status.engine).toBe('embedded');
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
