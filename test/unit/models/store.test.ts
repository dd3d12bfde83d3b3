import { mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parkedPath } from '../../../src/models/partial-file.ts';
import { resolveModel } from '../../../src/models/resolve-model.ts';
import { ModelStore } from '../../../src/models/store.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { type HubSetup, modelBytes, setUpHub } from '../../support/hub-setup.ts';
import { sha256 } from '../../support/test-hub.ts';

const [small, large] = [modelBytes(1, 1000), modelBytes(2, 2000)];
const repository = 'acme/Tiny-GGUF';

let setup: HubSetup;
let store: ModelStore;
let demoFolder: string;

beforeEach(async () => {
  setup = await setUpHub();
  setup.server.publish(repository, { 'Tiny-Q4_0.gguf': small, 'Tiny-Q8_0.gguf': large });
  demoFolder = join(setup.folder, 'demo');
  await mkdir(demoFolder);
  await writeFile(join(demoFolder, 'demo.gguf'), 'demo');
  store = newStore();
});

afterEach(() => setup.close());

function newStore(): ModelStore {
  const usageFile = join(setup.folder, 'state', 'models.json');
  return new ModelStore({
    hub: setup.client(),
    demoFolder,
    usageFile,
    clock: systemClock,
    log: silentLogger,
  });
}

const resolve = (reference: string, options: { refresh?: boolean } = {}) =>
  resolveModel(
    reference,
    { hub: setup.client(), demoFolder },
    { signal: new AbortController().signal, onProgress: (each) => setup.progress.push(each), ...options },
  );

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const blobPath = (content: Buffer): string => join(setup.cache.blobFolder(repository), sha256(content));

describe('a reference is resolved', () => {
  test('from the hub once, then from the cache, with the digest the hub published', async () => {
    const first = await resolve('hf:acme/Tiny-GGUF:Q4_0');
    expect(first).toMatchObject({ name: 'Tiny-Q4_0', sizeBytes: 1000, hubSha256: sha256(small) });
    expect(await readFile(first.path)).toEqual(small);

    const asked = setup.server.requests.length;
    expect(await resolve('hf:acme/Tiny-GGUF:Q4_0')).toEqual(first);
    expect(setup.server.requests).toHaveLength(asked);
  });

  test('to a newer revision only when a refresh is asked for', async () => {
    await resolve('hf:acme/Tiny-GGUF:Q4_0');
    setup.server.publish(repository, { 'Tiny-Q4_0.gguf': large });
    expect((await resolve('hf:acme/Tiny-GGUF:Q4_0')).sizeBytes).toBe(1000);
    expect((await resolve('hf:acme/Tiny-GGUF:Q4_0', { refresh: true })).sizeBytes).toBe(2000);
    expect((await resolve('hf:acme/Tiny-GGUF:Q4_0')).sizeBytes).toBe(2000);
  });

  test('from the folder of shipped models, and from a path with all its parts', async () => {
    expect(await resolve('demo')).toMatchObject({ name: 'demo', path: join(demoFolder, 'demo.gguf') });

    const parts = ['a-00001-of-00002.gguf', 'a-00002-of-00002.gguf'].map((name) => join(setup.folder, name));
    await Promise.all(parts.map((path) => writeFile(path, 'part')));
    const model = await resolve(parts[1] ?? '');
    expect(model).toMatchObject({ name: 'a', path: parts[0], sizeBytes: 8 });
    expect(model.hubSha256).toBeUndefined();
  });

  test('or refused with the path that is missing', async () => {
    const missing = join(setup.folder, 'none.gguf');
    await expect(resolve(missing)).rejects.toMatchObject({
      code: 'model_file_missing',
      message: `There is no file ${missing}.`,
    });
    await expect(resolve(setup.folder)).rejects.toMatchObject({ code: 'model_file_missing' });

    const lonely = join(setup.folder, 'b-00001-of-00002.gguf');
    await writeFile(lonely, 'part');
    await expect(resolve(lonely)).rejects.toThrow(
      /b-00002-of-00002\.gguf, which b-00001-of-00002\.gguf needs/,
    );
  });
});

describe('the list', () => {
  test('has shipped models, downloaded ones and used paths, each with a reference that resolves to it', async () => {
    await resolve('hf:acme/Tiny-GGUF:Q4_0');
    const path = join(setup.folder, 'mine.gguf');
    await writeFile(path, 'mine');
    await store.markUsed(await resolve(path));

    const models = await newStore().list();
    expect(
      models.map(({ kind, name, reference, sizeBytes }) => ({ kind, name, reference, sizeBytes })),
    ).toEqual([
      { kind: 'demo', name: 'demo', reference: 'demo', sizeBytes: 4 },
      { kind: 'hub', name: 'Tiny-Q4_0', reference: 'hf:acme/Tiny-GGUF:Q4_0', sizeBytes: 1000 },
      { kind: 'file', name: 'mine', reference: path, sizeBytes: 4 },
    ]);
    for (const model of models) {
      expect((await resolve(model.reference)).path).toBe(model.files[0]?.path);
    }
  });

  test('tells when a model was used last, and forgets paths that are gone', async () => {
    const path = join(setup.folder, 'mine.gguf');
    await writeFile(path, 'mine');
    const before = systemClock.wallMs();
    await store.markUsed(await resolve(path));
    await store.markUsed(await resolve('demo'));
    const used = (await store.list()).map((model) => model.lastUsedMs ?? 0);
    expect(used).toHaveLength(2);
    expect(Math.min(...used)).toBeGreaterThanOrEqual(before);

    await rm(path);
    expect((await store.list()).map(({ name }) => name)).toEqual(['demo']);
  });

  test('shows an older revision with its commit, and the same bytes once', async () => {
    await resolve('hf:acme/Tiny-GGUF:Q4_0');
    const old = await setup.cache.commitOf(repository, 'main');
    setup.server.publish(repository, { 'Tiny-Q4_0.gguf': large });
    await resolve('hf:acme/Tiny-GGUF:Q4_0', { refresh: true });
    setup.server.publish(repository, { 'Tiny-Q4_0.gguf': large, 'x.md': small });
    await resolve('hf:acme/Tiny-GGUF:Q4_0', { refresh: true });

    const references = (await store.list())
      .filter(({ kind }) => kind === 'hub')
      .map(({ reference }) => reference);
    expect(references).toEqual(['hf:acme/Tiny-GGUF:Q4_0', `hf:acme/Tiny-GGUF:Q4_0@${old}`]);
  });

  test('survives a cache that holds other things, and a file of uses that is garbage', async () => {
    await mkdir(join(setup.cache.folder, 'models--weird'), { recursive: true });
    await mkdir(join(setup.cache.folder, '.locks'));
    await writeFile(join(setup.cache.folder, 'models--a--b'), '');
    await mkdir(join(setup.folder, 'state'));
    await writeFile(join(setup.folder, 'state', 'models.json'), '{');
    expect((await store.list()).map(({ name }) => name)).toEqual(['demo']);
  });
});

describe('removing', () => {
  test('frees the bytes of a model and leaves the others', async () => {
    await resolve('hf:acme/Tiny-GGUF:Q4_0');
    await resolve('hf:acme/Tiny-GGUF:Q8_0');
    expect(await store.remove('hf:acme/Tiny-GGUF:Q4_0')).toMatchObject({ freedBytes: 1000 });

    expect(await exists(blobPath(small))).toBe(false);
    expect(await readFile((await resolve('hf:acme/Tiny-GGUF:Q8_0')).path)).toEqual(large);
  });

  test('the last model of a repository leaves no trace of it', async () => {
    await resolve('hf:acme/Tiny-GGUF:Q4_0');
    await store.remove('hf:acme/Tiny-GGUF:Q4_0');
    expect(await readdir(setup.cache.folder)).toEqual([]);
    await expect(store.remove('hf:acme/Tiny-GGUF:Q4_0')).rejects.toMatchObject({
      code: 'model_file_missing',
    });
  });

  test('keeps bytes that another revision shows', async () => {
    await resolve('hf:acme/Tiny-GGUF:Q4_0');
    const old = await setup.cache.commitOf(repository, 'main');
    setup.server.publish(repository, { 'Tiny-Q4_0.gguf': small, 'x.md': large });
    await resolve('hf:acme/Tiny-GGUF:Q4_0', { refresh: true });

    expect(await store.remove('hf:acme/Tiny-GGUF:Q4_0')).toMatchObject({ freedBytes: 0 });
    expect(await readFile(blobPath(small))).toEqual(small);
    expect(await store.remove(`hf:acme/Tiny-GGUF:Q4_0@${old}`)).toMatchObject({ freedBytes: 1000 });
  });

  test('never follows a link out of the cache', async () => {
    const outside = join(setup.folder, 'precious.gguf');
    await writeFile(outside, 'precious');
    const commit = 'a'.repeat(40);
    const link = join(setup.cache.snapshotFolder(repository, commit), 'Tiny-Q2_K.gguf');
    await mkdir(dirname(link), { recursive: true });
    await symlink(outside, link);

    expect(await store.remove(`hf:acme/Tiny-GGUF:Q2_K@${commit}`)).toMatchObject({ freedBytes: 0 });
    expect(await readFile(outside, 'utf8')).toBe('precious');
  });

  test('lists and clears what a stopped download left', async () => {
    const partial = parkedPath(blobPath(large));
    await mkdir(dirname(partial), { recursive: true });
    await writeFile(partial, large.subarray(0, 700));
    expect(await store.list()).toContainEqual(
      expect.objectContaining({ kind: 'unfinished', reference: 'hf:acme/Tiny-GGUF', sizeBytes: 700 }),
    );
    expect(await store.remove('hf:acme/Tiny-GGUF')).toMatchObject({ freedBytes: 700 });
    expect(await exists(partial)).toBe(false);
  });

  test.each(['demo', '/models/mine.gguf'])('%s is refused with a sentence', async (reference) => {
    await expect(store.remove(reference)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('is not deleted'),
    });
  });
});
