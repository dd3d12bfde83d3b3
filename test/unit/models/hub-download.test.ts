import { createHash } from 'node:crypto';
import {
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { downloadFileToCacheDir, scanCachedRepo } from '@huggingface/hub';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { downloadError } from '../../../src/models/hub.ts';
import { HubCache } from '../../../src/models/hub-cache.ts';
import { parkedPath } from '../../../src/models/partial-file.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { type HubSetup, hubReference, modelBytes, setUpHub, shortLimits } from '../../support/hub-setup.ts';
import { sha256 } from '../../support/test-hub.ts';

const sizeBytes = 300 * 1024;
const bytes = modelBytes(1, sizeBytes);
const repository = 'acme/Tiny-GGUF';
const reference = `hf:${repository}:Q4_0`;

let setup: HubSetup;
let commit: string;

beforeEach(async () => {
  setup = await setUpHub();
  commit = setup.server.publish(repository, {
    'README.md': Buffer.from('# Tiny'),
    'Tiny-Q4_0.gguf': bytes,
    'Tiny-Q8_0.gguf': modelBytes(2, sizeBytes),
    'mmproj-Tiny-f16.gguf': modelBytes(3, 1000),
  });
});

afterEach(() => setup.close());

const blobPath = (content = bytes): string => join(setup.cache.blobFolder(repository), sha256(content));
const blobNames = (): Promise<string[]> => readdir(setup.cache.blobFolder(repository)).catch(() => []);

/** The code and the whole sentence of a failed download. */
async function failure(download: Promise<unknown>): Promise<{ code: string; text: string }> {
  const error = await download.then(
    () => expect.unreachable('the download succeeded'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof MeshnodeError)) {
    throw error;
  }
  return { code: error.code, text: `${error.message} ${error.hint}` };
}

describe('a download', () => {
  test('leaves the layout that Hugging Face tools share', async () => {
    const model = await setup.download(reference);

    const root = setup.cache.repositoryFolder(repository);
    const link = join(root, 'snapshots', commit, 'Tiny-Q4_0.gguf');
    expect(root).toMatch(/hub\/models--acme--Tiny-GGUF$/);
    expect(await readlink(link)).toBe(`../../blobs/${sha256(bytes)}`);
    expect(await readFile(join(root, 'refs', 'main'), 'utf8')).toBe(commit);
    expect(await blobNames()).toEqual([sha256(bytes)]);
    expect(await readFile(link)).toEqual(bytes);
    expect(model.files[0]).toMatchObject({ localPath: link, sha256: sha256(bytes), sizeBytes });
  });

  test('is seen by the library of Hugging Face as one of its own', async () => {
    await setup.download(reference);
    const seen = await scanCachedRepo(setup.cache.repositoryFolder(repository));
    expect(seen).toMatchObject({ id: { name: repository, type: 'model' }, size: sizeBytes, filesCount: 1 });
    expect(seen.revisions).toMatchObject([{ commitOid: commit, refs: ['main'] }]);

    const asked = setup.server.requests.length;
    const theirs = await downloadFileToCacheDir({
      repo: repository,
      path: 'Tiny-Q4_0.gguf',
      revision: commit,
      cacheDir: setup.cache.folder,
      hubUrl: setup.server.endpoint,
    });
    expect(await readFile(theirs)).toEqual(bytes);
    expect(setup.server.requests).toHaveLength(asked);
  });

  test('takes all parts of a split model, in folders too', async () => {
    const [first, second] = [modelBytes(4, 5000), modelBytes(5, 6000)];
    setup.server.publish('acme/Big-GGUF', {
      'UD-Q4_K_XL/Big-UD-Q4_K_XL-00002-of-00002.gguf': second,
      'UD-Q4_K_XL/Big-UD-Q4_K_XL-00001-of-00002.gguf': first,
    });
    const model = await setup.download('hf:acme/Big-GGUF:UD-Q4_K_XL');

    expect(model.files.map((file) => file.sha256)).toEqual([sha256(first), sha256(second)]);
    expect(model.sizeBytes).toBe(11_000);
    expect(setup.progress.at(-1)).toMatchObject({ bytes: 11_000, totalBytes: 11_000 });
  });

  test('tells its stages in order and bytes that only grow', async () => {
    await setup.download(reference);

    const stages = setup.progress.map(({ stage }) => stage);
    expect([...new Set(stages)]).toEqual(['resolving', 'downloading', 'verifying']);
    const downloading = setup.progress
      .filter(({ stage }) => stage === 'downloading')
      .map((each) => each.bytes);
    expect(downloading).toEqual([...downloading].sort((a, b) => a - b));
    expect(setup.progress.at(-1)).toMatchObject({ bytes: sizeBytes, totalBytes: sizeBytes });
  });

  test('is not needed for a model that is here: it is found without any network', async () => {
    await setup.download(reference);
    await setup.server.close();

    const found = await setup.client({ offline: true }).findCached(hubReference(reference));
    expect(found?.files[0].sha256).toBe(sha256(bytes));
    expect(await setup.client().findCached(hubReference(`hf:${repository}:Q8_0`))).toBeUndefined();
  });

  test('of a file another revision has already only adds a link', async () => {
    await setup.download(reference);
    const next = setup.server.publish(repository, { 'Tiny-Q4_0.gguf': bytes, 'new.txt': Buffer.from('x') });
    await setup.download(reference);

    expect(setup.server.storageRequests).toHaveLength(1);
    expect(await setup.cache.commits(repository)).toHaveLength(2);
    expect(await setup.cache.commitOf(repository, 'main')).toBe(next);
  });

  test('moves the file into the snapshot where links are refused', async () => {
    const refusing = new HubCache(setup.cache.folder, () =>
      Promise.reject(Object.assign(new Error('no links'), { code: 'EPERM' })),
    );
    const model = await setup.download(reference, setup.client({ cache: refusing }));

    expect(await readFile(model.files[0].localPath)).toEqual(bytes);
    expect(await blobNames()).toEqual([]);
  });
});

describe('a download that is disturbed', () => {
  test('goes on where a connection was cut and asks only for the rest', async () => {
    setup.server.fault({ on: 'storage', times: 1, cutAfterBytes: 100_000 });
    const model = await setup.download(reference);

    const [first, second] = setup.server.storageRequests;
    expect(await readFile(model.files[0].localPath)).toEqual(bytes);
    const resumedAt = Number(/^bytes=(\d+)-$/.exec(second?.range ?? '')?.[1]);
    expect(resumedAt).toBeGreaterThan(0);
    expect(resumedAt).toBeLessThanOrEqual(first?.sentBytes ?? 0);
    expect(second?.sentBytes).toBe(sizeBytes - resumedAt);
  });

  test('survives any number of cuts as long as each try brings something', async () => {
    setup.server.fault({ on: 'storage', times: 8, cutAfterBytes: 30_000 });
    const model = await setup.download(reference);
    expect(await readFile(model.files[0].localPath)).toEqual(bytes);
    expect(setup.server.storageRequests).toHaveLength(9);
  });

  test('goes on after a stall', async () => {
    setup.server.fault({ on: 'storage', times: 1, stallAfterBytes: 50_000 });
    const hub = setup.client({ limits: { ...shortLimits, stallMs: 40 } });
    const model = await setup.download(reference, hub);
    expect(await readFile(model.files[0].localPath)).toEqual(bytes);
    expect(setup.server.storageRequests[1]?.range).toBe('bytes=50000-');
  });

  test('goes on from what an earlier process left', async () => {
    await mkdir(dirname(blobPath()), { recursive: true });
    await writeFile(parkedPath(blobPath()), bytes.subarray(0, 200_000));
    await setup.download(reference);

    expect(setup.server.storageRequests.map(({ range }) => range)).toEqual(['bytes=200000-']);
    expect(setup.server.storageRequests[0]?.sentBytes).toBe(sizeBytes - 200_000);
    expect(await readFile(blobPath())).toEqual(bytes);
  });

  test('starts afresh when the storage has another version of the file', async () => {
    setup.server.fault({ on: 'storage', times: 1, cutAfterBytes: 100_000 });
    const download = setup.download(reference, setup.client(), {
      onProgress: ({ bytes: done }) => done > 0 && setup.server.changeEtags(repository),
    });
    const model = await download;

    const [, second] = setup.server.storageRequests;
    expect(second?.ifRange).toBeDefined();
    expect(second?.sentBytes).toBe(sizeBytes);
    expect(await readFile(model.files[0].localPath)).toEqual(bytes);
  });

  test('takes the whole file again from a server without ranges', async () => {
    setup.server.fault({ on: 'storage', times: 1, cutAfterBytes: 100_000 });
    setup.server.fault({ on: 'storage', noRanges: true });
    const model = await setup.download(reference);
    expect(await readFile(model.files[0].localPath)).toEqual(bytes);
  });

  test('starts afresh when the storage calls the range impossible', async () => {
    setup.server.fault({ on: 'storage', times: 1, status: 416 });
    await mkdir(dirname(blobPath()), { recursive: true });
    await writeFile(parkedPath(blobPath()), bytes.subarray(0, 200_000));
    await setup.download(reference);
    expect(setup.server.storageRequests.map(({ range }) => range)).toEqual(['bytes=200000-', undefined]);
    expect(await readFile(blobPath())).toEqual(bytes);
  });

  test('gives up on a server without ranges that is always cut at the same place', async () => {
    setup.server.fault({ on: 'storage', noRanges: true, cutAfterBytes: 100_000 });
    const { code } = await failure(setup.download(reference));
    expect(code).toBe('download_failed');
    expect(setup.server.storageRequests.length).toBeLessThan(8);
  });

  test('tries again after 500 and 429, on the API as on the storage', async () => {
    setup.server.fault({ on: 'api', times: 1, status: 500 });
    setup.server.fault({ on: 'api', times: 1, status: 429, headers: { 'retry-after': '1' } });
    setup.server.fault({ on: 'storage', times: 2, status: 503 });
    const model = await setup.download(reference);
    expect(await readFile(model.files[0].localPath)).toEqual(bytes);
  });

  test('tries again when the storage calls a link expired', async () => {
    setup.server.fault({ on: 'storage', times: 1, status: 403 });
    await setup.download(reference);
    expect(setup.server.storageRequests).toHaveLength(2);
  });

  test('waits as long as a busy hub asks', async () => {
    setup.server.fault({ on: 'api', times: 1, status: 429, headers: { 'retry-after': '1' } });
    const hub = setup.client({ limits: { ...shortLimits, retryAfterMaxMs: 60 } });
    const startedMs = performance.now();
    await setup.download(reference, hub);
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(55);
  });

  test('fails with a sentence once all tries are used, and keeps what came', async () => {
    setup.server.fault({ on: 'storage', times: 1, cutAfterBytes: 100_000 });
    setup.server.fault({ on: 'storage', times: 2, cutAfterBytes: 0 });
    setup.server.fault({ on: 'storage', cutAfterBytes: 0 });
    const { code, text } = await failure(setup.download(reference));

    expect(code).toBe('download_failed');
    expect(text).toMatch(/cut.*goes on where it stopped/);
    expect((await stat(parkedPath(blobPath()))).size).toBeGreaterThan(0);
  });

  test('of wrong bytes is deleted and named corrupt', async () => {
    setup.server.fault({ on: 'storage', times: 1, wrongByteAt: 1234 });
    const { code, text } = await failure(setup.download(reference));
    expect(code).toBe('download_corrupt');
    expect(text).toContain('Tiny-Q4_0.gguf does not have the SHA-256');
    expect(await blobNames()).toEqual([]);
    await expect(setup.download(reference)).resolves.toMatchObject({ sizeBytes });
  });

  test('of too few bytes is tried again, of too many is corrupt', async () => {
    setup.server.fault({ on: 'storage', times: 1, pretendSizeBytes: 1000 });
    await setup.download(reference);
    expect(await readFile(blobPath())).toEqual(bytes);

    const [longer, published] = [modelBytes(7, 2000), modelBytes(7, 1000)];
    setup.server.publish('acme/Long-GGUF', { 'Long-Q4_0.gguf': longer });
    await mkdir(setup.cache.blobFolder('acme/Long-GGUF'), { recursive: true });
    const tooLong = join(setup.cache.blobFolder('acme/Long-GGUF'), `${sha256(longer)}`);
    await writeFile(parkedPath(tooLong), Buffer.concat([longer, published]));
    await setup.download('hf:acme/Long-GGUF:Q4_0');
    expect(await readFile(tooLong)).toEqual(longer);
  });

  test('that is aborted keeps what came and goes on from there', async () => {
    setup.server.fault({ on: 'storage', times: 1, holdAfterBytes: 100_000 });
    const controller = new AbortController();
    const download = setup.download(reference, setup.client(), {
      signal: controller.signal,
      onProgress: ({ bytes: done }) => done >= 100_000 && controller.abort(),
    });
    expect((await failure(download)).code).toBe('cancelled');
    expect((await stat(parkedPath(blobPath()))).size).toBe(100_000);

    setup.server.release();
    await setup.download(reference);
    expect(setup.server.storageRequests[1]?.range).toBe('bytes=100000-');
    expect(await readFile(blobPath())).toEqual(bytes);
  });
});

describe('a refusal', () => {
  test('of a gated repository says what to do about it', async () => {
    setup.server.publish('acme/Gated-GGUF', { 'Gated-Q4_0.gguf': bytes }, { gated: true });
    const { code, text } = await failure(setup.download('hf:acme/Gated-GGUF:Q4_0'));
    expect(code).toBe('download_denied');
    expect(text).toMatch(/acme\/Gated-GGUF is gated.*licence.*HF_TOKEN/);

    const wrong = await failure(
      setup.download('hf:acme/Gated-GGUF:Q4_0', setup.client({ token: 'hf_other' })),
    );
    expect(wrong.code).toBe('download_denied');
  });

  test.each([401, 403])('with %i is no access, at once', async (status) => {
    setup.server.fault({ on: 'api', status });
    const { code } = await failure(setup.download(reference));
    expect(code).toBe('download_denied');
    expect(setup.server.requests).toHaveLength(1);
  });

  test('of a repository that does not exist is not found', async () => {
    const { code, text } = await failure(setup.download('hf:acme/None-GGUF:Q4_0'));
    expect(code).toBe('download_not_found');
    expect(text).toContain('acme/None-GGUF');
  });

  test('of a revision that does not exist names it as the fault', async () => {
    const { code, text } = await failure(setup.download(`${reference}@v9`));
    expect(code).toBe('download_not_found');
    expect(text).toContain('revision');
  });

  test('of a quantisation that does not exist names those that do', async () => {
    const { code, text } = await failure(setup.download(`hf:${repository}:Q2_K`));
    expect(code).toBe('download_not_found');
    expect(text).toContain('It has Q4_0, Q8_0.');
  });

  test('by something that is no hub names HF_ENDPOINT', async () => {
    setup.server.fault({ on: 'api', status: 200 });
    const { code, text } = await failure(setup.download(reference));
    expect(code).toBe('download_failed');
    expect(text).toContain('HF_ENDPOINT');
  });

  test('happens offline before anything is asked', async () => {
    const { text } = await failure(setup.download(reference, setup.client({ offline: true })));
    expect(text).toContain('HF_HUB_OFFLINE');
    expect(setup.server.requests).toHaveLength(0);
  });
});

test('the token goes to the hub and never to the host it redirects to', async () => {
  const { token } = setup.server;
  setup.server.publish('acme/Gated-GGUF', { 'Gated-Q4_0.gguf': bytes }, { gated: true });
  await setup.download('hf:acme/Gated-GGUF:Q4_0', setup.client({ token }));

  const authorizations = (host: string): Set<string | undefined> =>
    new Set(setup.server.requests.filter((each) => each.host === host).map((each) => each.authorization));
  expect(authorizations('hub')).toEqual(new Set([`Bearer ${token}`]));
  expect(authorizations('storage')).toEqual(new Set([undefined]));
});

describe('the disk', () => {
  test('is looked at before anything is fetched', async () => {
    const hub = setup.client({ freeBytes: async () => 1e8 });
    const { code, text } = await failure(setup.download(reference, hub));
    expect(code).toBe('disk_full');
    expect(text).toContain('only 0.1 GB are free');
    expect(setup.server.storageRequests).toHaveLength(0);
  });

  test.runIf(process.platform === 'linux')('that fills up in the middle is named', async () => {
    await mkdir(dirname(blobPath()), { recursive: true });
    await symlink('/dev/full', parkedPath(blobPath()));
    const { code } = await failure(setup.download(reference));
    expect(code).toBe('disk_full');
  });

  test('where the cache cannot be is named with the way out', async () => {
    const file = join(setup.folder, 'file');
    await writeFile(file, '');
    const hub = setup.client({ cache: new HubCache(join(file, 'hub')) });
    const { code, text } = await failure(setup.download(reference, hub));
    expect(code).toBe('data_dir_unwritable');
    expect(text).toContain('HF_HOME');
  });

  test.each([
    ['ENOSPC', 'disk_full'],
    ['EDQUOT', 'disk_full'],
    ['EROFS', 'data_dir_unwritable'],
    ['EACCES', 'data_dir_unwritable'],
    ['EIO', 'download_failed'],
  ])('failing with %s is %s', (code, expected) => {
    const error = Object.assign(new Error('x'), { code });
    expect(downloadError(error, new AbortController().signal, '/cache').code).toBe(expected);
  });
});

describe('downloads at the same time', () => {
  test('of one model are one, and one caller leaving does not end it', async () => {
    setup.server.fault({ on: 'storage', times: 1, holdAfterBytes: 1000 });
    const hub = setup.client();
    const controller = new AbortController();
    const leaving = setup.download(reference, hub, { signal: controller.signal });
    const staying = setup.download(reference, hub);
    await setup.server.held();
    controller.abort();
    expect((await failure(leaving)).code).toBe('cancelled');
    setup.server.release();

    expect((await staying).sizeBytes).toBe(sizeBytes);
    expect(setup.server.storageRequests).toHaveLength(1);
  });

  test('by two clients of one cache are one: the second waits', async () => {
    setup.server.fault({ on: 'storage', times: 1, holdAfterBytes: 1000 });
    const first = setup.download(reference, setup.client());
    await setup.server.held();
    const second = setup.download(reference, setup.client());
    setup.server.release();

    await Promise.all([first, second]);
    expect(setup.server.storageRequests).toHaveLength(1);
    expect(await readFile(blobPath())).toEqual(bytes);
  });

  test('leave the partial of a living process alone, and wait for it', async () => {
    const claim = await foreignClaim(process.ppid);
    const controller = new AbortController();
    const waiting = setup.download(reference, setup.client(), {
      signal: controller.signal,
      onProgress: ({ bytes: done }) => done === 5000 && controller.abort(),
    });
    expect((await failure(waiting)).code).toBe('cancelled');
    expect(setup.server.storageRequests).toHaveLength(0);
    expect((await stat(claim)).size).toBe(5000);
  });

  test('take over from a process that died, or that stands still', async () => {
    await foreignClaim(2 ** 22 + 1);
    await setup.download(reference);
    expect(setup.server.storageRequests[0]?.range).toBe('bytes=5000-');

    const still = await foreignClaim(process.ppid, modelBytes(2, sizeBytes));
    await utimes(still, 1, 1);
    await setup.download(`hf:${repository}:Q8_0`);
    expect(setup.server.storageRequests[1]?.range).toBe('bytes=5000-');
  });

  /** A partial of 5000 bytes as a process of this machine would hold it. */
  async function foreignClaim(pid: number, content = bytes): Promise<string> {
    const host = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
    const path = `${blobPath(content)}.${host}-${pid}-abcdefgh.incomplete`;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    await truncate(path, 5000);
    return path;
  }
});
