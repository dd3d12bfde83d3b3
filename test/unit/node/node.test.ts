// A whole node in this process, over an engine double: start order, events, the API before and after a
// model is ready, and every way to stop.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { resolveConfig } from '../../../src/node/config.ts';
import type { NodeConfig } from '../../../src/node/config-schema.ts';
import { EventLog, type NodeEvent } from '../../../src/node/events.ts';
import { createKey, keyFilePath } from '../../../src/node/key-file.ts';
import type { NodeParts } from '../../../src/node/machine-parts.ts';
import { type RunningNode, startNode } from '../../../src/node/node.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { DoubleEngine } from '../../support/double-engine.ts';
import { servedAs } from '../../support/served.ts';
import { rejectionOf } from '../../support/thrown.ts';

let dataDir: string;
let running: RunningNode[];

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'meshnode-node-'));
  running = [];
});
afterEach(async () => {
  await Promise.all(running.map((node) => node.stop({ drainMs: 0 })));
  await rm(dataDir, { recursive: true });
});

interface Setup {
  readonly config?: Partial<NodeConfig>;
  readonly engine?: DoubleEngine;
  readonly ports?: Partial<NodeParts['ports']>;
}

function partsOf({ engine = new DoubleEngine(), ports = {} }: Setup): NodeParts {
  return {
    engines: [engine],
    close: async () => {},
    rpcBuild: async () => undefined,
    detectHardware: async () => ({
      devices: [],
      cpu: { model: 'double', logicalCores: 1, allowedCores: 1 },
      memory: { totalBytes: 1, usableBytes: 1 },
      notes: [],
    }),
    ports: {
      resolve: async (reference) => ({
        name: reference,
        reference,
        path: `/models/${reference}.gguf`,
        files: [],
        sizeBytes: 1,
      }),
      identity: async ({ path }) => path,
      fit: async () => ({ neededBytes: 1, usableBytes: 1, contextTokens: 1 }),
      demand: async () => 1,
      digest: async () => 'ab'.repeat(32),
      attach: async () => {
        throw new MeshnodeError('attach_failed', 'Nobody is there.');
      },
      ...ports,
    },
  };
}

const onLoopback = { port: '0', consolePort: '0', bind: '127.0.0.1', listenPort: '0' };

async function start(setup: Setup = {}): Promise<{ node: RunningNode; heard: NodeEvent[] }> {
  const events = new EventLog(systemClock, silentLogger);
  const heard: NodeEvent[] = [];
  events.follow(({ event }) => heard.push(event));
  const config = { ...resolveConfig(onLoopback, {}, undefined).config, ...setup.config };
  const node = await startNode(
    { config, environment: {}, dataDir },
    {
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      events,
      makeParts: async () => partsOf(setup),
    },
  );
  running.push(node);
  return { node, heard };
}

const heardOf = (heard: readonly NodeEvent[], event: NodeEvent['event']) =>
  expect.poll(() => heard.map((one) => one.event), { interval: 5 }).toContain(event);

/** Where the API has its routes beside those of OpenAI. */
const rootOf = (node: RunningNode): string => new URL(node.apiUrl).origin;

/** Asks for a chat answer, as a stream or whole. */
function chat(
  node: RunningNode,
  fields: object = {},
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${node.apiUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      model: 'demo',
      max_tokens: 8,
      messages: [{ role: 'user', content: 'Say something.' }],
      ...fields,
    }),
  });
}

async function manage(node: RunningNode, path: string, init: RequestInit = {}): Promise<Response> {
  const token = (await readFile(join(dataDir, 'console-token'), 'utf8')).trim();
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return fetch(`${node.consoleUrl}${path}`, { ...init, headers });
}

describe('a node that starts', () => {
  it('says who it is, where it answers, how its models come, and that it is ready, in this order', async () => {
    const { node, heard } = await start({ config: { model: ['demo'], name: 'attic' } });
    await heardOf(heard, 'ready');
    const kinds = heard.map((event) => (event.event === 'model' ? event.state : event.event));
    expect(kinds.slice(0, 3)).toEqual(['api', 'console', 'resolving']);
    expect(kinds.filter((kind) => kind === 'node' || kind === 'invite')).toEqual(['node', 'invite']);
    expect(kinds.at(-1)).toBe('ready');
    expect(heard[0]).toMatchObject({ url: node.apiUrl });
    expect(heard.find(({ event }) => event === 'node')).toMatchObject({
      peerId: node.peerId,
      meshId: expect.stringMatching(/^[0-9a-f]{64}$/),
      role: 'admin',
      name: 'attic',
      addresses: [
        expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\/12D3KooW/),
        expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/udp\/\d+\/quic-v1\/p2p\/12D3KooW/),
      ],
    });
    for (const { time } of heard) {
      expect(new Date(time).toISOString()).toBe(time);
    }
  });

  it('answers through its API, and says who answered', async () => {
    const { node, heard } = await start({ config: { model: ['demo'], name: 'attic' } });
    await heardOf(heard, 'ready');
    const response = await chat(node);
    expect(response.status).toBe(200);
    expect(response.headers.get('x-meshnode-peer')).toBe('attic');
    expect(response.headers.get('x-meshnode-route')).toContain('where=local');
    expect(await response.json()).toMatchObject({ choices: [{ message: { role: 'assistant' } }] });
  });

  it('answers from the first second: a model on its way is a 503 that says how far it is', async () => {
    const file = Promise.withResolvers<never>();
    const { node } = await start({
      config: { model: ['demo'] },
      ports: {
        resolve: async (_reference, { onProgress }) => {
          onProgress({ stage: 'downloading', bytes: 1, totalBytes: 4, etaSeconds: 90 });
          return file.promise;
        },
      },
    });
    const response = await chat(node);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('60');
    expect(await response.json()).toMatchObject({
      error: { code: 'model_loading', loading: { stage: 'downloading', fraction: 0.25, eta_seconds: 90 } },
    });
    expect((await fetch(`${rootOf(node)}/readyz`)).status).toBe(503);
    expect((await fetch(`${rootOf(node)}/health`)).status).toBe(200);
    file.reject(new MeshnodeError('cancelled', 'The test is over.'));
  });

  it('is ready at once if no model was asked for', async () => {
    const { node, heard } = await start();
    expect(heard.map(({ event }) => event)).toEqual(['api', 'console', 'node', 'invite', 'ready']);
    expect((await fetch(`${rootOf(node)}/readyz`)).status).toBe(200);
  });

  it('stays up, and says what is wrong, if a model cannot be loaded', async () => {
    const engine = new DoubleEngine({ failLoad: new MeshnodeError('gguf_invalid', 'It is cut short.') });
    const { node, heard } = await start({ engine, config: { model: ['demo'] } });
    await heardOf(heard, 'error');
    expect(heard.find(({ event }) => event === 'error')).toMatchObject({
      code: 'gguf_invalid',
      message: 'It is cut short.',
      hint: expect.any(String),
    });
    expect((await chat(node)).status).toBe(503);
    expect(heard.map(({ event }) => event)).not.toContain('ready');
  });

  it('runs without management if it is headless', async () => {
    const { node, heard } = await start({ config: { headless: true } });
    expect(node.consoleUrl).toBeUndefined();
    expect(heard.map(({ event }) => event)).toEqual(['api', 'node', 'invite', 'ready']);
  });

  it('wants its key from clients if it has one', async () => {
    const key = 'k'.repeat(20);
    const { node, heard } = await start({ config: { apiKeys: [key], model: ['demo'] } });
    await heardOf(heard, 'ready');
    expect((await chat(node)).status).toBe(401);
    expect((await chat(node, {}, { authorization: `Bearer ${key}` })).status).toBe(200);
  });

  it('may listen for others with a key of its key file', async () => {
    const { key } = await createKey(dataDir, 'laptop', {}, { clock: systemClock, random: systemRandom });
    const { node, heard } = await start({ config: { host: '0.0.0.0', model: ['demo'] } });
    await heardOf(heard, 'ready');
    expect((await chat(node)).status).toBe(401);
    expect((await chat(node, {}, { 'x-api-key': key })).status).toBe(200);
  });

  it('answers its owner, who shows the console’s token, whatever keys there are', async () => {
    const { node, heard } = await start({ config: { apiKeys: ['k'.repeat(20)], model: ['demo'] } });
    await heardOf(heard, 'ready');
    const token = (await readFile(join(dataDir, 'console-token'), 'utf8')).trim();
    expect((await chat(node, {}, { 'x-api-key': token })).status).toBe(200);
  });

  it('keeps trying to reach a server to attach, and says once that it is not there', async () => {
    const { heard } = await start({ config: { attach: ['http://127.0.0.1:1'] } });
    await heardOf(heard, 'error');
    expect(heard.filter(({ event }) => event === 'error')).toHaveLength(1);
  });
});

describe('a node that cannot start', () => {
  it('is refused on the data folder of another, with the addresses of that one', async () => {
    const { node } = await start();
    const error = await rejectionOf(start());
    expect(error.code).toBe('data_dir_in_use');
    expect(error.message).toContain(node.apiUrl);
    expect(error.message).toContain(String(process.pid));
  });

  it.each([
    { why: 'a key is missing', config: { host: '0.0.0.0' }, code: 'key_required' },
    { why: 'a model is no reference', config: { model: ['hf:'] }, code: 'model_ref_invalid' },
  ])('leaves the folder free if $why', async ({ config, code }) => {
    expect((await rejectionOf(start({ config }))).code).toBe(code);
    await start();
  });

  it('leaves the folder free if its key file is damaged, or names no key for a node that others can reach', async () => {
    await writeFile(keyFilePath(dataDir), '{');
    expect((await rejectionOf(start())).code).toBe('config_invalid');
    await writeFile(keyFilePath(dataDir), '{"keys":[]}');
    expect((await rejectionOf(start({ config: { host: '0.0.0.0' } }))).code).toBe('key_required');
    await start();
  });

  it('leaves the folder and the API’s port free if the console’s port is taken', async () => {
    const taken = await start();
    const port = Number(new URL(taken.node.consoleUrl ?? '').port);
    const other = await mkdtemp(join(tmpdir(), 'meshnode-node-'));
    const first = dataDir;
    dataDir = other;
    expect((await rejectionOf(start({ config: { consolePort: port } }))).code).toBe('port_in_use');
    await start();
    await running.at(-1)?.stop();
    await rm(other, { recursive: true });
    dataDir = first;
  });
});

describe('management', () => {
  it('shows the node with its models and their load', async () => {
    const { node, heard } = await start({ config: { model: ['demo'] } });
    await heardOf(heard, 'ready');
    await (await chat(node)).arrayBuffer();
    const status = await (await manage(node, '/api/status')).json();
    expect(status).toMatchObject({
      apiUrl: node.apiUrl,
      ready: true,
      hardware: { cpu: { model: 'double' } },
      models: [{ name: 'demo', stage: 'ready', figures: { slots: 4 }, queue: { slots: 4, waiting: 0 } }],
    });
  });

  it('loads and unloads models', async () => {
    const { node } = await start();
    const load = await manage(node, '/api/models/load', { method: 'POST', body: '{"reference":"demo"}' });
    expect(load.status).toBe(202);
    await expect.poll(() => servedAs(node.serving, 'demo')?.status.stage, { interval: 5 }).toBe('ready');
    await manage(node, '/api/models/unload', { method: 'POST', body: '{"name":"demo"}' });
    expect((await chat(node)).status).toBe(404);
  });

  it('stops the node', async () => {
    const { node } = await start();
    expect((await manage(node, '/api/stop', { method: 'POST' })).status).toBe(202);
    await node.stopped;
    await expect(fetch(`${rootOf(node)}/health`)).rejects.toThrow();
  });
});

describe('a node that stops', () => {
  it('lets answers end first, says how many it waits for, and takes no more', async () => {
    const engine = new DoubleEngine({ tokensPerSecond: 200 });
    const { node, heard } = await start({ engine, config: { model: ['demo'] } });
    await heardOf(heard, 'ready');
    const response = await chat(node, { stream: true, max_tokens: 20 });
    const draining: number[] = [];
    const stopped = node.stop({ onDraining: (requests) => draining.push(requests) });
    await expect(chat(node)).rejects.toThrow();
    const text = await response.text();
    await stopped;
    expect(text.trimEnd().endsWith('data: [DONE]')).toBe(true);
    expect(draining).toEqual([1]);
  });

  it('breaks answers off when their time is up, without a false end', async () => {
    const engine = new DoubleEngine({ tokensPerSecond: 1 });
    const { node, heard } = await start({ engine, config: { model: ['demo'] } });
    await heardOf(heard, 'ready');
    const response = await chat(node, { stream: true });
    await node.stop({ drainMs: 0 });
    const text = await response.text().catch(() => 'broken');
    expect(text).not.toContain('[DONE]');
  });

  it('gives its folder free and says no more that it runs', async () => {
    const { node } = await start();
    await node.stop();
    await node.stop();
    await expect(readFile(join(dataDir, 'run.json'))).rejects.toThrow('ENOENT');
    const again = await start();
    expect(again.node.peerId).toBe(node.peerId);
  });

  it('unloads its models', async () => {
    const engine = new DoubleEngine();
    const { node, heard } = await start({ engine, config: { model: ['demo'] } });
    await heardOf(heard, 'ready');
    const model = servedAs(node.serving, 'demo')?.model;
    await node.stop();
    expect(model?.state.state).toBe('unloaded');
  });
});
