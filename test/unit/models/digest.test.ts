import { createHash } from 'node:crypto';
import { utimesSync } from 'node:fs';
import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { combineDigests, ModelDigests } from '../../../src/models/digest.ts';
import { DigestCache } from '../../../src/models/digest-cache.ts';
import { nodeLimits } from '../../../src/util/limits/node.ts';
import { type Logger, silentLogger } from '../../../src/util/logging.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const folder = await temporaryFolder();
const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
let files = 0;

async function fileWith(content: Uint8Array | string): Promise<string> {
  const path = join(folder, `file-${files++}`);
  await writeFile(path, content);
  return path;
}

function freshCache(): string {
  return join(folder, `cache-${files++}.json`);
}

describe('the digest of a model', () => {
  it('is the SHA-256 of its file', async () => {
    const content = Buffer.alloc(3_000_000, 'meshnode');
    const path = await fileWith(content);
    expect(await new ModelDigests(freshCache(), silentLogger).compute([path])).toBe(sha256(content));
  });

  it('of several files is that of their digests, in order', async () => {
    const paths = [await fileWith('one'), await fileWith('two')];
    const digests = new ModelDigests(freshCache(), silentLogger);
    const expected = sha256(Buffer.from(sha256('one') + sha256('two'), 'hex'));
    expect(await digests.compute(paths)).toBe(expected);
    expect(await digests.compute(paths.toReversed())).not.toBe(expected);
    expect(combineDigests([sha256('one'), sha256('two')])).toBe(expected);
  });

  it('is pending until it is computed', async () => {
    const path = await fileWith('weights');
    const digests = new ModelDigests(freshCache(), silentLogger);
    expect(await digests.lookup([path])).toBe('pending');
    const digest = await digests.compute([path]);
    expect(await digests.lookup([path])).toBe(digest);
  });

  it('reports progress up to the whole', async () => {
    const paths = [await fileWith(Buffer.alloc(2_500_000)), await fileWith('end')];
    const seen: Array<[number, number]> = [];
    await new ModelDigests(freshCache(), silentLogger).compute(paths, {
      onProgress: (done, total) => seen.push([done, total]),
    });
    expect(seen.length).toBeGreaterThan(3);
    expect(seen.at(-1)).toEqual([2_500_003, 2_500_003]);
    expect(seen.map(([done]) => done)).toEqual(seen.map(([done]) => done).toSorted((a, b) => a - b));
  });

  it('lets other work go on and ends when its signal aborts', async () => {
    const path = await fileWith(Buffer.alloc(8_000_000));
    const abort = new AbortController();
    const digests = new ModelDigests(freshCache(), silentLogger);
    const computing = digests.compute([path], {
      signal: abort.signal,
      onProgress: (done) => done > 1_000_000 && setImmediate(() => abort.abort(new Error('enough'))),
    });
    await expect(computing).rejects.toThrow('enough');
    expect(await digests.lookup([path])).toBe('pending');
  });

  it('is refused when the file changes underneath', async () => {
    const path = await fileWith(Buffer.alloc(2_000_000));
    const digests = new ModelDigests(freshCache(), silentLogger);
    const computing = digests.compute([path], { onProgress: () => utimesSync(path, 1, 1) });
    await expect(computing).rejects.toMatchObject({ code: 'gguf_invalid' });
  });

  it('names the file that is missing', async () => {
    const digests = new ModelDigests(freshCache(), silentLogger);
    const path = join(folder, 'nowhere.gguf');
    await expect(digests.compute([path])).rejects.toMatchObject({
      code: 'model_file_missing',
      message: expect.stringContaining(path),
    });
  });
});

describe('remembered digests', () => {
  it('survive the process', async () => {
    const [path, cachePath] = [await fileWith('weights'), freshCache()];
    const digest = await new ModelDigests(cachePath, silentLogger).compute([path]);
    expect(await new ModelDigests(cachePath, silentLogger).lookup([path])).toBe(digest);
  });

  it('are not believed once the file has changed', async () => {
    const path = await fileWith('weights');
    const digests = new ModelDigests(freshCache(), silentLogger);
    await digests.compute([path]);
    await writeFile(path, 'WEIGHTS');
    await utimes(path, 1, 1);
    expect(await digests.lookup([path])).toBe('pending');
    expect(await digests.compute([path])).toBe(sha256('WEIGHTS'));
  });

  it('may come from elsewhere', async () => {
    const path = await fileWith('downloaded and verified');
    const digests = new ModelDigests(freshCache(), silentLogger);
    await digests.remember(path, 'ab'.repeat(32));
    expect(await digests.lookup([path])).toBe('ab'.repeat(32));
  });

  it.each(['', '{', '[]', '{"version":1,"entries":[{"path":1}]}', '{"version":2,"entries":[]}'])(
    'start afresh when the file holds %j',
    async (content) => {
      const [path, cachePath] = [await fileWith('weights'), await fileWith(content)];
      const digests = new ModelDigests(cachePath, silentLogger);
      expect(await digests.lookup([path])).toBe('pending');
      const digest = await digests.compute([path]);
      expect(await new ModelDigests(cachePath, silentLogger).lookup([path])).toBe(digest);
    },
  );

  it('leave nothing beside their file, however many are written at once', async () => {
    const cachePath = freshCache();
    const digests = new ModelDigests(cachePath, silentLogger);
    const paths = await Promise.all(Array.from({ length: 20 }, (_, index) => fileWith(`file ${index}`)));
    await Promise.all(paths.map((path) => digests.compute([path])));
    const { entries } = JSON.parse(await readFile(cachePath, 'utf8'));
    expect(entries).toHaveLength(20);
    expect((await readdir(folder)).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });

  it('are bounded: the oldest goes', async () => {
    const cachePath = freshCache();
    const entry = (index: number): object => ({ ...stamp(index), sha256: '0'.repeat(64) });
    const entries = Array.from({ length: nodeLimits.digestCacheEntries }, (_, index) => entry(index));
    await writeFile(cachePath, JSON.stringify({ version: 1, entries }));
    const cache = new DigestCache(cachePath);
    await cache.add(stamp(nodeLimits.digestCacheEntries), '1'.repeat(64));
    expect(await cache.find(stamp(0))).toBeUndefined();
    expect(await cache.find(stamp(1))).toBe('0'.repeat(64));
    const kept = JSON.parse(await readFile(cachePath, 'utf8'));
    expect(kept.entries).toHaveLength(nodeLimits.digestCacheEntries);
  });

  it('that cannot be written are no reason to fail', async () => {
    const warnings: string[] = [];
    const log: Logger = { ...silentLogger, warn: (_, message) => warnings.push(message) };
    const path = await fileWith('weights');
    const digests = new ModelDigests(join(folder, 'no such folder', 'cache.json'), log);
    expect(await digests.compute([path])).toBe(sha256('weights'));
    expect(warnings).toEqual(['digests cannot be remembered']);
    await expect(stat(join(folder, 'no such folder'))).rejects.toThrow();
  });
});

function stamp(index: number): { path: string; sizeBytes: number; mtimeNs: string; inode: string } {
  return { path: `/models/${index}`, sizeBytes: index, mtimeNs: '1', inode: String(index) };
}
