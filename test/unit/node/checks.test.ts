// Each check of the doctor is made to fail, and must say what to do.
import { mkdtemp } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.ts';
import type { Hardware } from '../../../src/engine/hardware/device.ts';
import {
  checkAccess,
  checkAttached,
  checkConfig,
  checkDataFolder,
  checkDisk,
  checkEngine,
  checkMemory,
  checkNode,
  checkPort,
} from '../../../src/node/checks.ts';
import { resolveConfig } from '../../../src/node/config.ts';
import { enginesOf } from '../../../src/node/machine-parts.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { systemRandom } from '../../../src/util/random.ts';
import { DoubleEngine } from '../../support/double-engine.ts';

const needed = { needed: true, signal: new AbortController().signal };
const GiB = 1024 ** 3;

describe('checkNode', () => {
  it('passes what package.json demands and fails what is older', () => {
    expect(checkNode('22.19.0').outcome).toBe('ok');
    expect(checkNode('24.0.0').outcome).toBe('ok');
    expect(checkNode('22.18.9')).toMatchObject({ outcome: 'failed', hint: expect.stringContaining('22.19') });
  });
});

describe('checkConfig', () => {
  const paths = { configFile: '/home/a/config.toml', dataDir: '/home/a' };

  it('fails with the line that is wrong', async () => {
    const load = () => Promise.reject(new MeshnodeError('config_invalid', '/home/a/config.toml:3: broken'));
    expect(await checkConfig(load)).toMatchObject({
      outcome: 'failed',
      found: expect.stringContaining(':3'),
    });
  });

  it('warns of what is ignored', async () => {
    const result = await checkConfig(async () => ({ paths, warnings: ["there is no setting 'colour'"] }));
    expect(result).toMatchObject({ outcome: 'warning', hint: expect.any(String) });
  });
});

describe('checkDataFolder', () => {
  it('fails with the reason when the folder cannot be used', async () => {
    const open = () =>
      Promise.reject(new MeshnodeError('data_dir_unwritable', '/data is on a read-only file system.'));
    expect(await checkDataFolder('/data', undefined, open)).toMatchObject({
      outcome: 'failed',
      found: expect.stringContaining('read-only'),
      hint: expect.stringContaining('--data-dir'),
    });
  });

  it('leaves the folder of a running node alone', async () => {
    const open = () => Promise.reject(new Error('must not be called'));
    const card = { pid: 7, startedAt: '', version: '1' };
    expect(await checkDataFolder('/data', card, open)).toMatchObject({ outcome: 'ok' });
  });
});

describe('checkPort', () => {
  let other: Server | undefined;
  afterEach(() => other?.close());

  it('fails when another program listens there', async () => {
    other = createServer();
    await new Promise<void>((resolve) => other?.listen(0, '127.0.0.1', resolve));
    const address = other.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect(await checkPort('API port', '127.0.0.1', port, undefined)).toMatchObject({
      outcome: 'failed',
      found: expect.stringContaining(String(port)),
      hint: expect.stringContaining('another port'),
    });
    expect(await checkPort('API port', '127.0.0.1', port, 'http://x')).toMatchObject({ outcome: 'ok' });
  });

  it('passes a free port and leaves it free', async () => {
    expect((await checkPort('API port', '127.0.0.1', 0, undefined)).outcome).toBe('ok');
  });
});

describe('checkEngine', () => {
  it('fails with the hint of an engine that cannot run', async () => {
    const engine: Engine = {
      name: 'embedded',
      available: async () => ({ ok: false, reason: 'Not installed.', hint: 'Install it.' }),
      load: () => Promise.reject(new Error('must not be called')),
    };
    expect(await checkEngine(engine, '/demo', needed)).toMatchObject({
      outcome: 'failed',
      found: 'Not installed.',
      hint: 'Install it.',
    });
  });

  it('only warns of it if the node is not to load files', async () => {
    const engine: Engine = {
      name: 'embedded',
      available: async () => ({ ok: false, reason: 'Not installed.', hint: 'Install it.' }),
      load: () => Promise.reject(new Error('must not be called')),
    };
    expect(await checkEngine(engine, '/demo', { ...needed, needed: false })).toMatchObject({
      outcome: 'warning',
      hint: 'Install it.',
    });
  });

  it('fails for a native engine that is not built, if nothing else will do, and says how to build it', async () => {
    const { config } = resolveConfig({ engine: 'llama-server' }, {}, undefined);
    const [engine] = enginesOf(config, {
      ...{ clock: systemClock, random: systemRandom, log: silentLogger, environment: {} },
      runFolder: '/nowhere',
      findPrograms: async () => ({ programs: undefined, passedOver: [], modules: [] }),
      usableMemory: async () => ({ gpus: 0, gpuBytes: 0, totalBytes: 0 }),
    });
    expect(engine && (await checkEngine(engine, '/demo', needed))).toMatchObject({
      check: 'engine llama-server',
      outcome: 'failed',
      hint: expect.stringContaining('meshnode engine build'),
    });
  });

  it('fails when the engine cannot load', async () => {
    const broken = new DoubleEngine({ failLoad: new MeshnodeError('model_failed', 'It broke.') });
    expect(await checkEngine(broken, '/demo', needed)).toMatchObject({
      outcome: 'failed',
      found: 'It broke.',
    });
  });

  it('fails when the engine loads but gives no answer', async () => {
    const mute = new DoubleEngine({
      garbage: [
        { type: 'accepted', replica: 'double' },
        { type: 'finish', index: 0, reason: 'stop' },
        { type: 'end' },
      ],
    });
    expect(await checkEngine(mute, '/demo', needed)).toMatchObject({
      outcome: 'failed',
      hint: expect.any(String),
    });
  });

  it('passes an engine that answers', async () => {
    expect((await checkEngine(new DoubleEngine({}), '/demo', needed)).outcome).toBe('ok');
  });
});

describe('checkAccess', () => {
  it('fails when others can call and there is no key', async () => {
    for (const keys of [undefined, []]) {
      expect(await checkAccess('0.0.0.0', async () => keys)).toMatchObject({
        outcome: 'failed',
        found: expect.stringContaining('0.0.0.0'),
        hint: expect.stringContaining('meshnode keys create'),
      });
    }
    expect(await checkAccess('0.0.0.0', async () => ['a key'])).toMatchObject({ outcome: 'ok' });
    expect(await checkAccess('127.0.0.1', async () => undefined)).toMatchObject({ outcome: 'ok' });
  });

  it('fails when the keys cannot be read', async () => {
    const keys = () => Promise.reject(new MeshnodeError('config_invalid', 'The file of keys is damaged.'));
    expect(await checkAccess('127.0.0.1', keys)).toMatchObject({
      outcome: 'failed',
      found: 'The file of keys is damaged.',
    });
  });
});

describe('checkAttached', () => {
  const url = 'http://127.0.0.1:11434/v1';

  it('fails with the reason when the server does not answer', async () => {
    const connect = () => Promise.reject(new MeshnodeError('attach_failed', 'Nobody is there.'));
    expect(await checkAttached(url, connect)).toMatchObject({
      check: 'attached server http://127.0.0.1:11434',
      outcome: 'failed',
      found: 'Nobody is there.',
      hint: expect.any(String),
    });
  });

  it('warns of a server without a model, and lets go of it', async () => {
    let closed = false;
    const close = async (): Promise<void> => {
      closed = true;
    };
    expect(await checkAttached(url, async () => ({ models: () => [], close }))).toMatchObject({
      outcome: 'warning',
      hint: expect.any(String),
    });
    expect(closed).toBe(true);
  });
});

describe('checkMemory', () => {
  const hardware = (usableBytes: number): Hardware => ({
    devices: [
      {
        id: 'cpu',
        kind: 'cpu',
        name: 'CPU',
        totalBytes: 8 * GiB,
        usableBytes,
        unified: false,
        source: 'system',
      },
    ],
    cpu: { model: 'CPU', logicalCores: 2, allowedCores: 2 },
    memory: { totalBytes: 8 * GiB, usableBytes },
    notes: [],
  });

  it('warns where only the smallest models fit', () => {
    expect(checkMemory(hardware(0.5 * GiB))).toMatchObject({ outcome: 'warning', hint: expect.any(String) });
    expect(checkMemory(hardware(4 * GiB)).outcome).toBe('ok');
  });
});

describe('checkDisk', () => {
  it('fails without space, warns with little, and says where', async () => {
    const free = (bytes: number) => checkDisk('/models', async () => bytes);
    expect(await free(1)).toMatchObject({ outcome: 'failed', hint: expect.stringContaining('HF_HOME') });
    expect(await free(GiB)).toMatchObject({ outcome: 'warning', hint: expect.stringContaining('HF_HOME') });
    expect(await free(100 * GiB)).toMatchObject({ outcome: 'ok', found: expect.stringContaining('/models') });
  });

  it('looks at the nearest folder that exists', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'meshnode-disk-'));
    const below = join(folder, 'a', 'b');
    const { found } = await checkDisk(below);
    expect(found).toMatch(/^\d[\d.]* [KMGT]iB free for models/);
    expect(found).toContain(below);
  });
});
