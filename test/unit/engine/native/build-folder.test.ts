import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { arrangePrograms } from '../../../../src/engine/native/arrange.ts';
import { BuildFolder, type BuildManifest } from '../../../../src/engine/native/build-folder.ts';
import { systemClock } from '../../../../src/util/clock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const root = await temporaryFolder();
let folders = 0;
const emptyFolder = (): BuildFolder => new BuildFolder(join(root, `cache-${++folders}`));

const key = { package: '3.22.1', platform: 'linux-x64', compiler: 'g++ 12', isFull: false };
const manifest: BuildManifest = {
  format: 1,
  package: '3.22.1',
  source: 'v0.5.0',
  platform: 'linux-x64',
  compiler: 'g++ 12',
  build: '0.5.0+abc',
  isFull: false,
  seconds: 1,
};

async function finishOne(folder: BuildFolder, name = folder.nameOf(key), content = 'program'): Promise<void> {
  const work = await folder.emptyWorkFolder(name);
  const programs = join(work, 'programs');
  await mkdir(programs);
  await writeFile(join(programs, 'llama-server'), content);
  await folder.finish(name, programs, manifest);
}

describe('the folder of builds', () => {
  it('has a build under a name that another compiler or a full build does not have', () => {
    const folder = emptyFolder();
    const names = [
      key,
      { ...key, compiler: 'g++ 13' },
      { ...key, isFull: true },
      { ...key, package: '3.23.0' },
    ].map((one) => folder.nameOf(one));
    expect(new Set(names).size).toBe(4);
    expect(names[0]).toMatch(/^3\.22\.1-linux-x64-[0-9a-f]{8}$/);
  });

  it('knows a build once it is complete, and never half of one', async () => {
    const folder = emptyFolder();
    const name = folder.nameOf(key);
    const work = await folder.emptyWorkFolder(name);
    await writeFile(join(work, 'object.o'), 'half');
    expect(await folder.list('3.22.1', 'linux-x64')).toEqual([]);
    await finishOne(folder);
    const [build] = await folder.list('3.22.1', 'linux-x64');
    expect(await readFile(join(build?.programs ?? '', 'llama-server'), 'utf8')).toBe('program');
    expect(build?.manifest).toEqual(manifest);
    expect((await readdir(folder.path)).filter((entry) => entry.endsWith('.unfinished'))).toEqual([]);
  });

  it('lists builds of the same package and platform only', async () => {
    const folder = emptyFolder();
    await finishOne(folder);
    expect(await folder.list('3.22.2', 'linux-x64')).toEqual([]);
    expect(await folder.list('3.22.1', 'linux-arm64')).toEqual([]);
  });

  it('takes a build whose manifest is broken for none', async () => {
    const folder = emptyFolder();
    await finishOne(folder);
    await writeFile(join(folder.path, folder.nameOf(key), 'build.json'), '{"format":1,');
    expect(await folder.list('3.22.1', 'linux-x64')).toEqual([]);
  });

  it('lets one build at a time, and the next after it', async () => {
    const folder = emptyFolder();
    const signal = AbortSignal.timeout(5_000);
    const lock = await folder.lock('x', { clock: systemClock, signal, onWait: () => {} });
    const waited = Promise.withResolvers<void>();
    const next = folder.lock('x', { clock: systemClock, signal, onWait: waited.resolve });
    await waited.promise;
    lock.release();
    (await next).release();
  });

  it('ends the wait when it is told to', async () => {
    const folder = emptyFolder();
    const caller = new AbortController();
    const lock = await folder.lock('x', { clock: systemClock, signal: caller.signal, onWait: () => {} });
    const waiting = folder.lock('x', {
      clock: systemClock,
      signal: caller.signal,
      onWait: () => caller.abort(),
    });
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    lock.release();
  });
});

describe('programs and their libraries in one folder', () => {
  const module = (path: string) => ({ backend: 'cuda', runtime: 'CUDA 13', path }) as const;

  async function makeParts(name: string) {
    const base = join(root, name);
    const programs = join(base, 'programs');
    const libraries = join(base, 'libraries');
    await mkdir(programs, { recursive: true });
    await mkdir(libraries, { recursive: true });
    await writeFile(join(programs, 'llama-server'), 'program');
    for (const library of ['libggml-base.so', 'libllama.v0.5.0.so', 'llama-addon.node']) {
      await writeFile(join(libraries, library), name);
    }
    await writeFile(join(base, 'libggml-cuda.so'), 'cuda');
    return { programs, libraries, cuda: join(base, 'libggml-cuda.so'), target: join(base, 'cpu') };
  }

  it('are linked, but for what is no library', async () => {
    const { programs, libraries, target } = await makeParts('first');
    await arrangePrograms({ programs, target, source: { librariesFolder: libraries }, module: undefined });
    expect((await readdir(target)).sort()).toEqual(['libggml-base.so', 'libllama.v0.5.0.so', 'llama-server']);
  });

  it('are there once, however many put them there at the same time', async () => {
    const { programs, libraries, target } = await makeParts('busy');
    const arrangement = { programs, target, source: { librariesFolder: libraries }, module: undefined };
    for (let round = 0; round < 20; round++) {
      await rm(target, { recursive: true, force: true });
      await Promise.all([1, 2, 3].map(() => arrangePrograms(arrangement)));
      expect((await readdir(target)).sort()).toEqual([
        'libggml-base.so',
        'libllama.v0.5.0.so',
        'llama-server',
      ]);
    }
  });

  it('replace a program that was copied half', async () => {
    const { programs, libraries, target } = await makeParts('half');
    await mkdir(target);
    await writeFile(join(target, 'llama-server'), 'pro');
    await arrangePrograms({ programs, target, source: { librariesFolder: libraries }, module: undefined });
    expect(await readFile(join(target, 'llama-server'), 'utf8')).toBe('program');
  });

  it('follow the package when it has moved, and lose what is no longer wanted', async () => {
    const { programs, libraries, cuda, target } = await makeParts('second');
    const moved = await makeParts('third');
    await arrangePrograms({ programs, target, source: { librariesFolder: libraries }, module: module(cuda) });
    expect(await readFile(join(target, 'libggml-cuda.so'), 'utf8')).toBe('cuda');
    await arrangePrograms({
      programs,
      target,
      source: { librariesFolder: moved.libraries },
      module: undefined,
    });
    expect(await readFile(join(target, 'libggml-base.so'), 'utf8')).toBe('third');
    expect(await readdir(target)).not.toContain('libggml-cuda.so');
    expect(await readFile(join(target, 'llama-server'), 'utf8')).toBe('program');
  });
});
