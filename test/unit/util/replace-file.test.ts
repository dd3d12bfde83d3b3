import * as fileSystem from 'node:fs/promises';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type ReplacingFiles, removeLeftOvers, replaceFile } from '../../../src/util/replace-file.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'meshnode-replace-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('makes the file, replaces it, and leaves nothing beside it', async () => {
  const path = join(folder, 'state.json');
  await replaceFile(path, 'one');
  await replaceFile(path, 'two');
  expect(await readFile(path, 'utf8')).toBe('two');
  expect(await readdir(folder)).toEqual(['state.json']);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

it('leaves the old file, and nothing beside it, when the disk is full', async () => {
  const path = join(folder, 'state.json');
  await writeFile(path, 'old');
  const full = Object.assign(new Error('no space'), { code: 'ENOSPC' });
  const files = { ...fileSystem, writeFile: () => Promise.reject(full) };
  await expect(replaceFile(path, 'new', files)).rejects.toBe(full);
  expect(await readFile(path, 'utf8')).toBe('old');
  expect(await readdir(folder)).toEqual(['state.json']);
});

it('has the content on the disk before the name, and the name before it is done', async () => {
  const steps: string[] = [];
  const files: ReplacingFiles = {
    ...fileSystem,
    writeFile: async (path, content, options) => {
      await fileSystem.writeFile(path, content, options);
      const flushed = typeof options === 'object' && options?.flush === true;
      steps.push(flushed ? 'write and flush' : 'write');
    },
    rename: async (from, to) => {
      await fileSystem.rename(from, to);
      steps.push('rename');
    },
    open: async (path, flags) => {
      const opened = await fileSystem.open(path, flags);
      const { sync } = opened;
      opened.sync = async () => {
        await sync.call(opened);
        steps.push(`sync ${path}`);
      };
      return opened;
    },
  };
  await replaceFile(join(folder, 'state.json'), 'one', files);
  expect(steps).toEqual(['write and flush', 'rename', `sync ${folder}`]);
});

it.each(['EINVAL', 'EPERM', 'EISDIR', 'EACCES'])('does without a sync of the folder on %s', async (code) => {
  const refused = Object.assign(new Error('refused'), { code });
  const path = join(folder, 'state.json');
  await replaceFile(path, 'one', { ...fileSystem, open: () => Promise.reject(refused) });
  expect(await readFile(path, 'utf8')).toBe('one');
});

it('tells of a folder that the disk does not take', async () => {
  const broken = Object.assign(new Error('broken'), { code: 'EIO' });
  const files = { ...fileSystem, open: () => Promise.reject(broken) };
  await expect(replaceFile(join(folder, 'state.json'), 'one', files)).rejects.toBe(broken);
});

it('removes what replacements of one file left, and nothing else', async () => {
  const others = [
    'state.json',
    'state.json.new',
    'state.json.x.new',
    'other.json.4711.new',
    'state-json.7.new',
  ];
  for (const name of [...others, 'state.json.4711.new', 'state.json.1.new']) {
    await writeFile(join(folder, name), 'secret');
  }
  await removeLeftOvers(join(folder, 'state.json'));
  expect((await readdir(folder)).sort()).toEqual(others.sort());
});
