// The one way from a reference to files on this machine: a path is looked at, a catalogue name is looked
// up, a hub model is taken from the cache or downloaded.

import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { catalogueNames, findCatalogueEntry } from './catalogue.ts';
import { combineDigests } from './digest.ts';
import type { DownloadProgress } from './download-progress.ts';
import type { CachedModel, Hub } from './hub.ts';
import { siblingPaths } from './model-files.ts';
import { type HubReference, type ModelReference, parseReference } from './reference.ts';

/** A model whose files are all on this machine. */
export interface ResolvedModel {
  /** Name that clients ask for. */
  readonly name: string;
  /** The reference as it was given. */
  readonly reference: string;
  /** The GGUF, or the first file of a split one. Absolute. */
  readonly path: string;
  readonly files: readonly ResolvedFile[];
  readonly sizeBytes: number;
  /** Digest of the model by the hub's own hashes, lower-case hex; absent if they are not known. */
  readonly hubSha256?: string;
}

export interface ResolvedFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** The hub's hash of this file, verified when it was downloaded. */
  readonly sha256?: string;
}

export interface ResolveComponents {
  readonly hub: Hub;
  /** Folder of the models that ship with the project. */
  readonly demoFolder: string;
}

export interface ResolveOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: DownloadProgress) => void;
  /** Ask the hub for a newer revision even if the model is in the cache. */
  readonly refresh?: boolean;
}

/**
 * Brings the model a reference means to this machine. Rejects with `model_ref_invalid`,
 * `model_file_missing`, or what a download may fail with (see Hub.download).
 */
export async function resolveModel(
  text: string,
  components: ResolveComponents,
  options: ResolveOptions,
): Promise<ResolvedModel> {
  const reference = parseReference(text, catalogueNames);
  const source = sourceOf(reference, components.demoFolder);
  return 'hub' in source
    ? await resolveHubModel(reference, source.hub, components.hub, options)
    : await resolveLocal(reference, source.path);
}

/** `~/` and relative paths as absolute ones. */
export function absolutePath(path: string): string {
  return /^~[/\\]/.test(path) ? join(homedir(), path.slice(2)) : resolve(path);
}

/** Where the files behind a reference are, or are to come from. */
export function sourceOf(
  reference: ModelReference,
  demoFolder: string,
): { readonly hub: HubReference } | { readonly path: string } {
  switch (reference.kind) {
    case 'hub':
      return { hub: reference };
    case 'file':
      return { path: absolutePath(reference.path) };
    case 'catalogue':
      return catalogueSource(reference.name, demoFolder);
  }
}

function catalogueSource(name: string, demoFolder: string): { hub: HubReference } | { path: string } {
  const source = findCatalogueEntry(name)?.source;
  if (source !== undefined && 'file' in source) {
    return { path: join(demoFolder, source.file) };
  }
  const reference = source === undefined ? undefined : parseReference(source.hub, []);
  if (reference?.kind !== 'hub') {
    throw new MeshnodeError('internal', `The catalogue has no source for ${name}.`);
  }
  return { hub: reference };
}

async function resolveHubModel(
  { name, text }: ModelReference,
  reference: HubReference,
  hub: Hub,
  options: ResolveOptions,
): Promise<ResolvedModel> {
  const cached = options.refresh === true ? undefined : await hub.findCached(reference);
  const model = cached ?? (await hub.download(reference, options));
  return { name, reference: text, ...localModel(model) };
}

/** The files of a cached model as everybody else wants them. */
export function localModel(model: CachedModel): Omit<ResolvedModel, 'name' | 'reference'> {
  const hashes = model.files.flatMap((file) => file.sha256 ?? []);
  return {
    path: model.files[0].localPath,
    files: model.files.map(({ localPath, sizeBytes, sha256 }) => ({
      path: localPath,
      sizeBytes,
      ...(sha256 === undefined ? {} : { sha256 }),
    })),
    sizeBytes: model.sizeBytes,
    ...(hashes.length === model.files.length ? { hubSha256: combineDigests(hashes) } : {}),
  };
}

/** The files at a path, all of a split model. Rejects with `model_file_missing`. */
export async function resolveLocal({ name, text }: ModelReference, path: string): Promise<ResolvedModel> {
  const files = await Promise.all(siblingPaths(path).map((sibling) => measure(sibling, path)));
  return {
    name,
    reference: text,
    path: files[0]?.path ?? path,
    files,
    sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
  };
}

async function measure(path: string, asked: string): Promise<ResolvedFile> {
  const needed = path === asked ? '' : `, which ${basename(asked)} needs`;
  const stats = await stat(path).catch((cause: unknown) => {
    const reason = systemErrorCode(cause) === 'ENOENT' ? 'There is no file' : 'Cannot read';
    throw new MeshnodeError('model_file_missing', `${reason} ${path}${needed}.`, { data: { path }, cause });
  });
  if (!stats.isFile()) {
    throw new MeshnodeError('model_file_missing', `${path} is not a file.`, {
      hint: 'Give the path of the .gguf file itself.',
      data: { path },
    });
  }
  return { path, sizeBytes: stats.size };
}
