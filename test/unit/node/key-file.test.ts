// The file of API keys: what it holds, who may read it, what is said when it is damaged, and that nothing
// is lost when commands change it at once.
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createKey,
  type KeyRecord,
  keyFilePath,
  listKeys,
  parseKeyFile,
  revokeKey,
} from '../../../src/node/key-file.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { tryLock } from '../../../src/util/folder-lock.ts';
import { nodeLimits } from '../../../src/util/limits/node.ts';
import { seededRandom, systemRandom } from '../../../src/util/random.ts';
import { hurriedClock } from '../../support/hurried-clock.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rejectionOf, thrownBy } from '../../support/thrown.ts';

const components = { clock: systemClock, random: systemRandom };

let parent: string;
let dataDir: string;
let path: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'meshnode-keys-'));
  dataDir = join(parent, 'data');
  path = keyFilePath(dataDir);
});
afterEach(() => rm(parent, { recursive: true }));

const create = (name: string, limits = {}) => createKey(dataDir, name, limits, components);
const namesIn = async () => (await listKeys(dataDir))?.map(({ name }) => name);

describe('a key', () => {
  it('is 32 random bytes, of which the file holds the hash only', async () => {
    const { key } = await create('laptop');
    expect(key).toMatch(/^mn-[A-Za-z0-9_-]{43}$/);
    const text = await readFile(path, 'utf8');
    expect(text).not.toContain(key.slice(3));
    expect(text).toContain(createHash('sha256').update(key).digest('hex'));
    expect((await create('other')).key).not.toBe(key);
  });

  it('is kept with its limits and the time it was made', async () => {
    const limits = { requestsPerMinute: 5, tokensPerDay: 1000 };
    const clock = new ManualClock(Date.UTC(2026, 4, 1));
    const { record } = await createKey(dataDir, 'guests', limits, { clock, random: seededRandom(1) });
    expect(await listKeys(dataDir)).toEqual([record]);
    expect(record).toMatchObject({ name: 'guests', createdAt: '2026-05-01T00:00:00.000Z', ...limits });
  });

  it('needs a name of its own', async () => {
    await create('laptop');
    expect(await rejectionOf(create('laptop'))).toMatchObject({ code: 'usage', message: /already/ });
    for (const name of ['', '-x', 'a b', '../x', 'a\n', 'x'.repeat(65), 'ü']) {
      expect(await rejectionOf(create(name))).toMatchObject({ code: 'usage' });
    }
    expect(await namesIn()).toEqual(['laptop']);
  });

  it('can be taken away; the file stays when it was the last', async () => {
    await create('laptop');
    await create('phone');
    expect(await revokeKey(dataDir, 'laptop', components)).toBe(1);
    expect(await revokeKey(dataDir, 'phone', components)).toBe(0);
    expect(await listKeys(dataDir)).toEqual([]);
    expect(await rejectionOf(revokeKey(dataDir, 'phone', components))).toMatchObject({ code: 'usage' });
  });
});

describe('the file', () => {
  it('is for its owner only, also after it was not', async () => {
    await create('laptop');
    await chmod(path, 0o666);
    await create('phone');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700);
  });

  it('is not there before the first key', async () => {
    expect(await listKeys(dataDir)).toBeUndefined();
    expect(await rejectionOf(revokeKey(dataDir, 'laptop', components))).toMatchObject({ code: 'usage' });
    expect(await listKeys(dataDir)).toBeUndefined();
  });

  it('loses no change when several commands make theirs at once', async () => {
    await create('old');
    const names = Array.from({ length: 8 }, (_, index) => `key-${index}`);
    await Promise.all([revokeKey(dataDir, 'old', components), ...names.map((name) => create(name))]);
    expect((await namesIn())?.toSorted()).toEqual(names);
  });

  it('is whole whenever it is read', async () => {
    await create('first');
    let writing = true;
    const reading = async (): Promise<number> => {
      let reads = 0;
      for (; writing; reads++) {
        expect((await namesIn())?.[0]).toBe('first');
      }
      return reads;
    };
    const reads = reading();
    for (let index = 0; index < 20; index++) {
      await create(`key-${index}`);
    }
    writing = false;
    expect(await reads).toBeGreaterThan(0);
  });

  it('is as before if the change is refused, and nothing lies beside it', async () => {
    await create('laptop');
    const before = await readFile(path, 'utf8');
    await rejectionOf(create('laptop'));
    expect(await readFile(path, 'utf8')).toBe(before);
    expect(await readdir(dataDir)).toEqual(['api-keys.json', 'api-keys.json.lock']);
  });

  it('is not changed while another command changes it', async () => {
    await create('laptop');
    const lock = await tryLock(`${path}.lock`);
    const busy = await rejectionOf(
      createKey(dataDir, 'phone', {}, { ...components, clock: hurriedClock(1000) }),
    );
    expect(busy.code).toBe('data_dir_in_use');
    lock?.release();
    await create('phone');
  });

  it('holds a bounded number of keys', async () => {
    const record: KeyRecord = { name: 'x', sha256: 'ab'.repeat(32), createdAt: '2026-01-01T00:00:00.000Z' };
    const full = Array.from({ length: nodeLimits.apiKeys }, (_, index) => ({
      ...record,
      name: `${'n'.repeat(60)}${index}`,
      requestsPerMinute: nodeLimits.keyLimit,
      tokensPerMinute: nodeLimits.keyLimit,
      tokensPerDay: nodeLimits.keyLimit,
    }));
    await mkdir(dataDir);
    await writeFile(path, JSON.stringify({ keys: full }, undefined, 1));
    expect((await listKeys(dataDir))?.length).toBe(nodeLimits.apiKeys);
    expect(await rejectionOf(create('one-more'))).toMatchObject({ code: 'usage', message: /the most/ });
  });
});

describe('a damaged file', () => {
  const record = { name: 'x', sha256: 'ab'.repeat(32), createdAt: '2026-01-01T00:00:00.000Z' };

  it.each([
    ['nothing', ''],
    ['half of it', '{"keys":[{"na'],
    ['a list', '[]'],
    ['a hash that is none', JSON.stringify({ keys: [{ ...record, sha256: 'abc' }] })],
    ['a limit of nothing', JSON.stringify({ keys: [{ ...record, tokensPerDay: 0 }] })],
    [
      'a restriction that this version does not know',
      JSON.stringify({ keys: [{ ...record, models: ['demo'] }] }),
    ],
    ['one name twice', JSON.stringify({ keys: [record, record] })],
    ['too much', ' '.repeat(nodeLimits.keyFileBytes + 1)],
  ])('with %s in it is named, and left as it is', async (_, text) => {
    await mkdir(dataDir);
    await writeFile(path, text);
    for (const error of [await rejectionOf(listKeys(dataDir)), await rejectionOf(create('laptop'))]) {
      expect(error.code).toBe('config_invalid');
      expect(error.message).toContain(path);
    }
    expect(await readFile(path, 'utf8')).toBe(text);
  });

  it('never causes another error than that', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `{"keys":[${json}]}`),
        ),
        (text) => {
          try {
            parseKeyFile('/keys', text);
          } catch {
            expect(thrownBy(() => parseKeyFile('/keys', text)).code).toBe('config_invalid');
          }
        },
      ),
    );
  });

  it('may be a folder', async () => {
    await mkdir(path, { recursive: true });
    expect(await rejectionOf(listKeys(dataDir))).toMatchObject({ code: 'config_invalid', message: /EISDIR/ });
  });

  it.skipIf(process.getuid?.() === 0)('may be one that cannot be read', async () => {
    await create('laptop');
    await chmod(path, 0);
    expect(await rejectionOf(listKeys(dataDir))).toMatchObject({ code: 'config_invalid', message: /EACCES/ });
  });
});

describe('a folder that cannot be written to', () => {
  it('is named', async () => {
    await writeFile(dataDir, '');
    const error = await rejectionOf(create('laptop'));
    expect(error.code).toBe('data_dir_unwritable');
    expect(error.message).toContain(dataDir);
  });
});
