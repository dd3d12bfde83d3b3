import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { replaceFile } from '../../../src/util/replace-file.ts';

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
  const files = { writeFile: () => Promise.reject(full), rename: () => Promise.reject(full), rm };
  await expect(replaceFile(path, 'new', files)).rejects.toBe(full);
  expect(await readFile(path, 'utf8')).toBe('old');
  expect(await readdir(folder)).toEqual(['state.json']);
});
