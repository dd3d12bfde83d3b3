// Which models are on this machine, how large they are, and deleting those that were downloaded. It never
// deletes a file that the hub's cache does not own.
import { readdir, readFile, realpath, rm, rmdir, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { downloadLimits } from '../util/limits/models.ts';
import type { Logger } from '../util/logging.ts';
import { catalogue, catalogueNames, findCatalogueEntry } from './catalogue.ts';
import type { CachedModel, Hub } from './hub.ts';
import { type CachedFile, fileExists, type HubCache } from './hub-cache.ts';
import { siblingPaths } from './model-files.ts';
import { ModelUsages } from './model-usage.ts';
import { isAbandoned } from './partial-file.ts';
import { type HubReference, nameOfFile, parseReference } from './reference.ts';
import { modelsAmong, type RepositoryModel } from './repository-models.ts';
import { localModel, type ResolvedFile, type ResolvedModel } from './resolve-model.ts';

/** A model on this machine. */
export interface StoredModel {
  /** Downloaded, shipped with the project, used by its path, or a download that stopped. */
  readonly kind: 'hub' | 'demo' | 'file' | 'unfinished';
  /** Name that clients would ask for. */
  readonly name: string;
  /** What to write to use it: parses to this model. */
  readonly reference: string;
  readonly files: readonly ResolvedFile[];
  readonly sizeBytes: number;
  /** Wall-clock milliseconds of the last use by this node; absent if never. */
  readonly lastUsedMs?: number;
}

export interface StoreComponents {
  readonly hub: Hub;
  readonly demoFolder: string;
  /** JSON file that remembers uses. */
  readonly usageFile: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What deleting a model did. */
export interface Removal {
  readonly reference: string;
  /** Bytes of the disk that are free again; 0 if another revision still uses all of it. */
  readonly freedBytes: number;
}

export class ModelStore {
  readonly #components: StoreComponents;
  readonly #usages: ModelUsages;

  constructor(components: StoreComponents) {
    this.#components = components;
    this.#usages = new ModelUsages(components.usageFile);
  }

  /** Everything here: shipped models, downloaded ones, stopped downloads, and files used by their path. */
  async list(): Promise<StoredModel[]> {
    const usages = new Map((await this.#usages.list()).map((usage) => [usage.path, usage.lastUsedMs]));
    const found = [...(await this.#demoModels()), ...(await this.#hubModels())];
    const known = new Set(found.flatMap((model) => model.files[0]?.path ?? []));
    const others = await Promise.all([...usages.keys()].filter((path) => !known.has(path)).map(fileModel));
    return [...found, ...others.filter((model) => model !== undefined)].map((model) => {
      const lastUsedMs = usages.get(model.files[0]?.path ?? '');
      return lastUsedMs === undefined ? model : { ...model, lastUsedMs };
    });
  }

  /** Remembers that a model was used now. A store that cannot be written loses only that. */
  async markUsed(model: Pick<ResolvedModel, 'path'>): Promise<void> {
    try {
      await this.#usages.note(model.path, this.#components.clock.wallMs());
    } catch (cause) {
      this.#components.log.warn({ err: cause }, 'cannot remember when a model was used');
    }
  }

  /**
   * Deletes a downloaded model, or what a stopped download left. Bytes that another revision shows stay.
   * Throws `model_file_missing` if it is not here, `usage` for models that were not downloaded.
   */
  async remove(text: string): Promise<Removal> {
    const reference = downloadedReference(text);
    const model = await this.#components.hub.findCached(reference);
    const freedBytes =
      model === undefined
        ? await this.#removeUnfinished(reference.repository)
        : await this.#removeModel(reference.repository, model);
    if (freedBytes === undefined) {
      throw new MeshnodeError('model_file_missing', `${text} is not on this machine.`, {
        hint: '`meshnode models` lists what is.',
      });
    }
    return { reference: text, freedBytes };
  }

  get #cache(): HubCache {
    return this.#components.hub.cache;
  }

  async #demoModels(): Promise<StoredModel[]> {
    const models = catalogue.map(async ({ name, source }): Promise<StoredModel | undefined> => {
      if (!('file' in source)) {
        return undefined;
      }
      const files = await measureAll(join(this.#components.demoFolder, source.file));
      return files && { kind: 'demo', name, reference: name, files, sizeBytes: totalBytes(files) };
    });
    return (await Promise.all(models)).filter((model) => model !== undefined);
  }

  async #hubModels(): Promise<StoredModel[]> {
    const models: StoredModel[] = [];
    for (const repository of await this.#cache.repositories()) {
      models.push(...(await this.#modelsOf(repository)), ...(await this.#unfinishedOf(repository)));
    }
    return models;
  }

  /** The models of a repository, each once however many revisions show the same bytes. */
  async #modelsOf(repository: string): Promise<StoredModel[]> {
    const main = await this.#cache.commitOf(repository, 'main');
    const commits = await this.#cache.commits(repository);
    const seen = new Set<string>();
    const stored: StoredModel[] = [];
    for (const commit of commits.sort((a, b) => Number(b === main) - Number(a === main))) {
      const models = modelsAmong(await this.#cache.snapshotFiles(repository, commit));
      for (const model of models.filter(({ files }) => !seen.has(files[0].blobPath))) {
        seen.add(model.files[0].blobPath);
        const reference = hubReferenceText(repository, model, models, commit === main ? undefined : commit);
        const { name } = parseReference(reference, []);
        stored.push({ kind: 'hub', name, reference, ...localModel({ ...model, commit }) });
      }
    }
    return stored;
  }

  async #unfinishedOf(repository: string): Promise<StoredModel[]> {
    const files = await this.#abandonedPartials(repository);
    const sizeBytes = totalBytes(files);
    const reference = `hf:${repository}`;
    const { name } = parseReference(reference, []);
    return sizeBytes === 0 ? [] : [{ kind: 'unfinished', name, reference, files, sizeBytes }];
  }

  async #abandonedPartials(repository: string): Promise<ResolvedFile[]> {
    const folder = this.#cache.blobFolder(repository);
    const names = await readdir(folder).catch(() => []);
    const parts = { clock: this.#components.clock, limits: downloadLimits };
    const files = names.map(async (name) => {
      const path = join(folder, name);
      return (await isAbandoned(path, parts)) ? await measure(path) : undefined;
    });
    return (await Promise.all(files)).filter((file) => file !== undefined);
  }

  async #removeUnfinished(repository: string): Promise<number | undefined> {
    const files = await this.#abandonedPartials(repository);
    for (const { path } of files) {
      await rm(path, { force: true });
    }
    await this.#tidy(repository);
    return files.length === 0 ? undefined : totalBytes(files);
  }

  async #removeModel(repository: string, model: CachedModel): Promise<number> {
    const folder = await realpath(this.#cache.repositoryFolder(repository));
    let freedBytes = 0;
    for (const file of model.files) {
      await rm(file.localPath);
      if (file.blobPath.startsWith(folder + sep) && !(await this.#isShown(repository, file.blobPath))) {
        await rm(file.blobPath, { force: true });
        freedBytes += file.sizeBytes;
      }
    }
    await this.#usages.forget(model.files[0].localPath).catch(() => {});
    await this.#tidy(repository);
    return freedBytes;
  }

  /** Whether any snapshot still shows a blob. */
  async #isShown(repository: string, blobPath: string): Promise<boolean> {
    for (const commit of await this.#cache.commits(repository)) {
      const files = await this.#cache.snapshotFiles(repository, commit);
      if (files.some((file: CachedFile) => file.blobPath === blobPath)) {
        return true;
      }
    }
    return false;
  }

  /** Removes what is empty now, and branches that point to a revision that is gone: other tools take offence. */
  async #tidy(repository: string): Promise<void> {
    const folder = this.#cache.repositoryFolder(repository);
    await removeEmptyFolders(join(folder, 'snapshots'));
    const refs = await readdir(join(folder, 'refs'), { recursive: true }).catch(() => []);
    for (const name of refs) {
      const path = join(folder, 'refs', name);
      const commit = (await readFile(path, 'utf8').catch(() => '')).trim();
      if (commit !== '' && !(await fileExists(this.#cache.snapshotFolder(repository, commit)))) {
        await rm(path, { force: true });
      }
    }
    await removeEmptyFolders(folder);
  }
}

/** The hub reference of what may be deleted. */
function downloadedReference(text: string): HubReference {
  const reference = parseReference(text, catalogueNames);
  if (reference.kind === 'hub') {
    return reference;
  }
  const source = reference.kind === 'catalogue' ? findCatalogueEntry(reference.name)?.source : undefined;
  const hub = source !== undefined && 'hub' in source ? parseReference(source.hub, []) : undefined;
  if (hub?.kind === 'hub') {
    return hub;
  }
  if (reference.kind === 'catalogue') {
    throw new MeshnodeError('usage', `${text} ships with meshnode and is not deleted.`, {
      hint: '`meshnode models` shows which models were downloaded.',
    });
  }
  throw new MeshnodeError('usage', `${text} was not downloaded by meshnode and is not deleted.`, {
    hint: 'Delete the file yourself; a downloaded model is named by its reference, as `meshnode models` lists it.',
  });
}

/** The shortest text that means this model of the cache. */
function hubReferenceText(
  repository: string,
  model: RepositoryModel,
  all: readonly RepositoryModel[],
  commit: string | undefined,
): string {
  const revision = commit === undefined ? '' : `@${commit}`;
  const { quantisation } = model;
  const unique = all.filter((other) => other.quantisation === quantisation).length === 1;
  return quantisation !== undefined && unique
    ? `hf:${repository}:${quantisation}${revision}`
    : `hf:${repository}/${model.files[0].path}${revision}`;
}

async function fileModel(path: string): Promise<StoredModel | undefined> {
  const files = await measureAll(path);
  return (
    files && { kind: 'file', name: nameOfFile(path), reference: path, files, sizeBytes: totalBytes(files) }
  );
}

/** All files of the model at `path`; undefined if one is not there. */
async function measureAll(path: string): Promise<ResolvedFile[] | undefined> {
  const files = await Promise.all(siblingPaths(path).map(measure));
  const present = files.filter((file) => file !== undefined);
  return present.length === files.length ? present : undefined;
}

async function measure(path: string): Promise<ResolvedFile | undefined> {
  const stats = await stat(path).catch(() => undefined);
  return stats?.isFile() ? { path, sizeBytes: stats.size } : undefined;
}

function totalBytes(files: readonly ResolvedFile[]): number {
  return files.reduce((sum, file) => sum + file.sizeBytes, 0);
}

/** Removes a folder and those in it as far as they are empty. */
async function removeEmptyFolders(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries.filter((each) => each.isDirectory())) {
    await removeEmptyFolders(join(folder, entry.name));
  }
  await rmdir(folder).catch(() => {}); // Not empty: it stays.
}
