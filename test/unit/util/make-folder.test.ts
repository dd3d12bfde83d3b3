import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeFolder } from '../../../src/util/make-folder.ts';

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'meshnode-make-'));
});
afterEach(() => rm(parent, { recursive: true }));

it('makes what is missing, for the owner only', async () => {
  await makeFolder(join(parent, 'a/b/c'));
  for (const path of ['a', 'a/b', 'a/b/c']) {
    expect((await stat(join(parent, path))).mode & 0o777).toBe(0o700);
  }
});

it('is content with a folder that is there, and with others who make it too', async () => {
  const path = join(parent, 'a/b');
  await Promise.all([makeFolder(path), makeFolder(path), makeFolder(path)]);
  await makeFolder(path);
});

it('refuses a file in its way', async () => {
  await writeFile(join(parent, 'file'), '');
  await expect(makeFolder(join(parent, 'file'))).rejects.toThrow('EEXIST');
  await expect(makeFolder(join(parent, 'file/below'))).rejects.toThrow('ENOTDIR');
});

it.skipIf(process.platform !== 'linux')('ends where the system makes no folders', async () => {
  await expect(makeFolder('/proc/meshnode/below')).rejects.toThrow('ENOENT');
});
