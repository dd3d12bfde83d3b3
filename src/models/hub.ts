// Models of a Hugging Face hub: finds which files a reference means, and brings them into the shared
// cache. A model that is whole in the cache is used without asking anybody.
import { rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { listFiles, modelInfo } from '@huggingface/hub';
import { z } from 'zod';
import { asMeshnodeError, MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { makeFolder } from '../util/make-folder.ts';
import { type DownloadOptions, type DownloadProgress, ProgressReport } from './download-progress.ts';
import type { DownloadParts } from './download-retry.ts';
import type { Gguf } from './gguf.ts';
import { parseGguf } from './gguf-reader.ts';
import { type CachedFile, fileExists, type HubCache, isCommit } from './hub-cache.ts';
import { HubConnection } from './hub-connection.ts';
import { hubRange } from './hub-range.ts';
import type { HubSettings } from './hub-settings.ts';
import { type HubFile, transferFile, verifyFile } from './hub-transfer.ts';
import { joinModelFiles, type ModelFiles } from './model-files.ts';
import { claimPartial, parkPartial, partialBytes } from './partial-file.ts';
import { type HubReference, isSafeRepositoryPath } from './reference.ts';
import { chooseModel, modelsAmong, type RepositoryModel } from './repository-models.ts';
import { SharedTasks } from './shared-task.ts';

/** A model of the hub, whole on this machine. */
export type CachedModel = RepositoryModel<CachedFile> & { readonly commit: string };

export interface HubComponents extends DownloadParts {
  readonly settings: HubSettings;
  readonly cache: HubCache;
  /** Bytes free for us where a folder lies. Absent: what the file system says. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/** A model as the hub describes it. */
interface RemoteModel extends RepositoryModel<HubFile> {
  readonly repository: string;
  readonly revision: string;
  readonly commit: string;
}

const remoteFileSchema = z.object({
  type: z.literal('file'),
  path: z.string().refine(isSafeRepositoryPath),
  size: z.int().nonnegative(),
  lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() }),
});

const commitSchema = z.string().refine(isCommit);

/** One hub and its cache. One instance a process: it is what makes equal downloads one. */
export class Hub {
  readonly #components: HubComponents;
  readonly #connection: HubConnection;
  readonly #downloads = new SharedTasks<DownloadProgress, CachedModel>();

  constructor(components: HubComponents) {
    this.#components = components;
    this.#connection = new HubConnection(components.settings, components);
  }

  get cache(): HubCache {
    return this.#components.cache;
  }

  /** The model a reference means if it is whole in the cache; asks nobody. */
  async findCached(reference: HubReference): Promise<CachedModel | undefined> {
    const commit = await this.cache.commitOf(reference.repository, reference.revision);
    if (commit === undefined) {
      return undefined;
    }
    const models = modelsAmong(await this.cache.snapshotFiles(reference.repository, commit));
    try {
      return { ...chooseModel(models, reference.choice, reference.repository), commit };
    } catch {
      return undefined;
    }
  }

  /**
   * Asks the hub what the reference means now, and brings what is not here yet. Calls for the same model
   * share one download. Rejects with `download_denied`, `download_not_found`, `download_failed`,
   * `download_corrupt`, `disk_full`, `data_dir_unwritable` or `cancelled`; what came so far is kept.
   */
  async download(reference: HubReference, options: DownloadOptions): Promise<CachedModel> {
    try {
      options.onProgress({ stage: 'resolving', bytes: 0, totalBytes: 0 });
      const model = await this.#resolve(reference, options.signal);
      const key = `${model.repository}@${model.commit}/${model.files[0].path}`;
      return await this.#downloads.run(key, options, (task) => this.#bring(model, task));
    } catch (thrown) {
      throw downloadError(thrown, options.signal, this.cache.folder);
    }
  }

  /**
   * What the files of a model on the hub say of themselves, and their hashes; the model stays there. Rejects as
   * `download`, or with `gguf_invalid`.
   */
  async readHeaders(
    reference: HubReference,
    signal: AbortSignal,
  ): Promise<{ readonly files: ModelFiles; readonly sha256: readonly string[] }> {
    try {
      const model = await this.#resolve(reference, signal);
      const files: Gguf[] = [];
      for (const file of model.files) {
        const url = resolveUrl(this.#components.settings.endpoint, model, file);
        const source = hubRange(url, file, this.#connection, this.#components, signal);
        files.push(await parseGguf(source, `${model.repository}/${file.path}`, { signal }));
      }
      return { files: joinModelFiles(files), sha256: model.files.map(({ sha256 }) => sha256) };
    } catch (thrown) {
      throw downloadError(thrown, signal, this.cache.folder);
    }
  }

  /** The commit and the files behind a reference. */
  async #resolve(reference: HubReference, signal: AbortSignal): Promise<RemoteModel> {
    const { repository, revision, choice } = reference;
    const { endpoint, offline } = this.#components.settings;
    if (offline) {
      throw new MeshnodeError(
        'download_failed',
        `${reference.text} is not in the cache, and HF_HUB_OFFLINE is set.`,
        { hint: 'Unset HF_HUB_OFFLINE to download it.' },
      );
    }
    const call = { hubUrl: endpoint, fetch: this.#connection.apiFetch(`model ${repository}`, signal) };
    try {
      const { sha } = await modelInfo({ ...call, name: repository, revision, additionalFields: ['sha'] });
      const commit = commitSchema.parse(sha);
      const files: HubFile[] = [];
      const entries = listFiles({ ...call, repo: repository, revision: commit, recursive: true });
      for await (const entry of firstOf(entries, this.#components.limits.repositoryFiles)) {
        const { success, data } = remoteFileSchema.safeParse(entry);
        if (success) {
          files.push({ repository, path: data.path, sizeBytes: data.lfs.size, sha256: data.lfs.oid });
        }
      }
      return { repository, revision, commit, ...chooseModel(modelsAmong(files), choice, repository) };
    } catch (thrown) {
      throw signal.aborted || thrown instanceof MeshnodeError ? thrown : notAHub(endpoint, thrown);
    }
  }

  async #bring(model: RemoteModel, options: DownloadOptions): Promise<CachedModel> {
    const { cache } = this.#components;
    const { repository, commit } = model;
    await this.#checkSpace(model);
    const progress = new ProgressReport(model.sizeBytes, this.#components, options.onProgress);
    for (const file of model.files) {
      const localPath = join(cache.snapshotFolder(repository, commit), ...file.path.split('/'));
      const blobPath = join(cache.blobFolder(repository), file.sha256);
      if (!(await fileExists(localPath))) {
        await this.#bringBlob(model, file, blobPath, progress, options.signal);
        await cache.place(repository, commit, file.path, blobPath);
      }
      progress.fileDone(file.sizeBytes);
    }
    await cache.writeRef(repository, model.revision, commit);
    const cached = modelsAmong(await cache.snapshotFiles(repository, commit));
    return { ...chooseModel(cached, { by: 'file', path: model.files[0].path }, repository), commit };
  }

  async #bringBlob(
    model: RemoteModel,
    file: HubFile,
    blobPath: string,
    progress: ProgressReport,
    signal: AbortSignal,
  ): Promise<void> {
    const onBytes = (bytes: number): void => progress.report('downloading', bytes);
    const partial = await claimPartial(blobPath, this.#components, { signal, onWaiting: onBytes });
    if (partial === undefined) {
      return;
    }
    try {
      const url = resolveUrl(this.#components.settings.endpoint, model, file);
      await transferFile(url, file, partial, this.#connection, this.#components, { signal, onBytes });
      await verifyFile(partial, file, {
        signal,
        onBytes: (bytes) => progress.report('verifying', bytes),
      });
    } catch (thrown) {
      if (thrown instanceof MeshnodeError && thrown.code === 'download_corrupt') {
        await rm(partial, { force: true });
      } else {
        await parkPartial(partial, blobPath);
      }
      throw thrown;
    }
    await publish(partial, blobPath);
  }

  /** Throws `disk_full` before anything is fetched if the rest of the model cannot fit. */
  async #checkSpace(model: RemoteModel): Promise<void> {
    const { cache, limits, freeBytes = freeBytesOf } = this.#components;
    let missingBytes = 0;
    for (const file of model.files) {
      const blobPath = join(cache.blobFolder(model.repository), file.sha256);
      if (!(await fileExists(blobPath))) {
        missingBytes += file.sizeBytes - (await partialBytes(blobPath));
      }
    }
    if (missingBytes <= 0) {
      return;
    }
    const free = await freeBytes(cache.folder);
    if (missingBytes + limits.freeBytes > free) {
      throw new MeshnodeError(
        'disk_full',
        `The download needs ${gigabytes(missingBytes + limits.freeBytes)} in ${cache.folder}, but only ${gigabytes(free)} are free.`,
      );
    }
  }
}

async function* firstOf<T>(values: AsyncIterable<T>, count: number): AsyncGenerator<T, void, undefined> {
  let taken = 0;
  for await (const value of values) {
    yield value;
    if (++taken >= count) {
      return;
    }
  }
}

/** Makes a verified partial the blob. */
async function publish(partial: string, blobPath: string): Promise<void> {
  try {
    await rename(partial, blobPath);
  } catch (thrown) {
    if (systemErrorCode(thrown) !== 'ENOENT') {
      throw thrown;
    }
    if (!(await fileExists(blobPath))) {
      throw new MeshnodeError('download_failed', 'Another process took the download over.', {
        cause: thrown,
      });
    }
  }
}

function resolveUrl(endpoint: string, model: RemoteModel, file: HubFile): string {
  const path = file.path.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${model.repository}/resolve/${model.commit}/${path}`;
}

async function freeBytesOf(folder: string): Promise<number> {
  await makeFolder(folder);
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function notAHub(endpoint: string, cause: unknown): MeshnodeError {
  return new MeshnodeError('download_failed', `${endpoint} does not answer like a Hugging Face hub.`, {
    hint: 'Check HF_ENDPOINT, and whether something between here and the hub changes its answers.',
    cause,
  });
}

/** Any failure of a download as one of ours: what the disk says becomes a sentence about the cache. */
export function downloadError(thrown: unknown, signal: AbortSignal, cacheFolder: string): MeshnodeError {
  if (thrown instanceof MeshnodeError) {
    return thrown;
  }
  if (signal.aborted) {
    return new MeshnodeError('cancelled', 'The download was cancelled; what came so far is kept.', {
      cause: thrown,
    });
  }
  const code = systemErrorCode(thrown);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new MeshnodeError('disk_full', `The disk of ${cacheFolder} is full; what came so far is kept.`, {
      cause: thrown,
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EEXIST') {
    return new MeshnodeError('data_dir_unwritable', `Cannot write models to ${cacheFolder} (${code}).`, {
      hint: 'Make the folder writable, or move the cache with HF_HOME.',
      cause: thrown,
    });
  }
  return asMeshnodeError(thrown, 'download_failed');
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
