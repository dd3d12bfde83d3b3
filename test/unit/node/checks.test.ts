// Each check of the doctor is made to fail, and must say what to do.
import { mkdtemp } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../../src/engine/engine.ts';
import type { Hardware } from '../../../src/engine/hardware/device.ts';
import {
  checkConfig,
  checkDataFolder,
  checkDisk,
  checkEngine,
  checkMemory,
  checkNode,
  checkPort,
} from '../../../src/node/checks.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { DoubleEngine } from '../../support/double-engine.ts';

const never = new AbortController().signal;
const GiB = 1024 ** 3;

describe('checkNode', () => {
  it('passes what package.json demands and fails what is older', () => {
    expect(checkNode('22.19.0').outcome).toBe('ok');
    expect(checkNode('24.0.0').outcome).toBe('ok');
    expect(checkNode('22.18.9')).toMatchObject({ outcome: 'failed', hint: expect.stringContaining('22.19') });
  });
});

describe('checkConfig', () => {
  const paths = { configFile: '/home/a/config.toml', dataDir: '/home/a', cacheDir: '/home/a/cache' };

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
    expect(await checkEngine(engine, '/demo', never)).toMatchObject({
      outcome: 'failed',
      found: 'Not installed.',
      hint: 'Install it.',
    });
  });

  it('fails when the engine cannot load', async () => {
    const broken = new DoubleEngine({ failLoad: new MeshnodeError('model_failed', 'It broke.') });
    expect(await checkEngine(broken, '/demo', never)).toMatchObject({
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
    expect(await checkEngine(mute, '/demo', never)).toMatchObject({
      outcome: 'failed',
      hint: expect.any(String),
    });
  });

  it('passes an engine that answers', async () => {
    expect((await checkEngine(new DoubleEngine({}), '/demo', never)).outcome).toBe('ok');
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
    expect((await checkDisk(join(folder, 'a', 'b'))).check).toBe('disk');
  });
});
