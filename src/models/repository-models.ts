// Which models a list of GGUF files holds, and which of them a reference means. Pure: the same rules serve
// a repository's listing and a folder of the cache.
import { posix } from 'node:path';
import { MeshnodeError } from '../util/errors.ts';
import { parseSplitName } from './model-files.ts';
import { type HubChoice, nameOfFile } from './reference.ts';

/** What is known of one file of a repository. `path` uses forward slashes. */
export interface RepositoryFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** A model of a repository: one GGUF, or all parts of a split one in order. */
export interface RepositoryModel<File extends RepositoryFile = RepositoryFile> {
  /** Upper-case quantisation read from the file name, e.g. `Q4_K_M`; absent if the name tells none. */
  readonly quantisation?: string;
  readonly files: readonly [File, ...File[]];
  readonly sizeBytes: number;
}

/** What `hf:org/repo` alone means: the smallest that loses little, then what is at hand. */
const defaultQuantisations = ['Q4_K_M', 'MXFP4', 'Q4_0', 'Q4_K_S', 'Q5_K_M', 'Q6_K', 'Q8_0', 'F16', 'BF16'];

/** A quantisation as file names end in it: `Q4_K_M`, `UD-Q4_K_XL`, `IQ4_XS`, `MXFP4`, `BF16`, `fp16`. */
const quantisationSuffix =
  /(?:^|[-._])((?:UD-)?I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)$/i;
/** GGUF files that are no model of their own: projectors of vision models and importance matrices. */
const companionFile = /(?:^|[-._/])mmproj[-._]|imatrix(?:_[a-z]+)?\.gguf$/i;

/** The models among `files`; several-file ones with a part missing are left out. */
export function modelsAmong<File extends RepositoryFile>(files: readonly File[]): RepositoryModel<File>[] {
  const groups = new Map<string, File[]>();
  for (const file of files) {
    if (/\.gguf$/i.test(file.path) && !companionFile.test(file.path)) {
      const key = groupKey(file.path);
      groups.set(key, [...(groups.get(key) ?? []), file]);
    }
  }
  return [...groups.values()].flatMap((group) => completeModel(group) ?? []);
}

/**
 * The model a reference means. Throws `download_not_found` naming what exists if there is none, and
 * naming the files if the quantisation fits several.
 */
export function chooseModel<File extends RepositoryFile>(
  models: readonly RepositoryModel<File>[],
  choice: HubChoice,
  repository: string,
): RepositoryModel<File> {
  const found = matching(models, choice);
  const [first, second] = found;
  if (first === undefined) {
    throw nothingMatches(models, choice, repository);
  }
  if (second !== undefined) {
    throw new MeshnodeError('download_not_found', `Several models of ${repository} match ${said(choice)}.`, {
      hint: `Name the file: ${listed(found.map((model) => `hf:${repository}/${model.files[0].path}`))}.`,
    });
  }
  return first;
}

/** What every part of a split model has in common; the path itself for a single file. */
function groupKey(path: string): string {
  const split = parseSplitName(posix.basename(path));
  return split === undefined ? path : `${posix.dirname(path)}/${split.prefix}-of-${split.count}`;
}

function completeModel<File extends RepositoryFile>(
  group: readonly File[],
): RepositoryModel<File> | undefined {
  const [first, ...rest] = [...group].sort((a, b) => (a.path < b.path ? -1 : 1));
  if (first === undefined) {
    return undefined;
  }
  if (group.length !== (parseSplitName(posix.basename(first.path))?.count ?? 1)) {
    return undefined;
  }
  const quantisation = quantisationOf(first.path);
  return {
    ...(quantisation === undefined ? {} : { quantisation }),
    files: [first, ...rest],
    sizeBytes: group.reduce((sum, file) => sum + file.sizeBytes, 0),
  };
}

/** The quantisation a file name ends in, upper case. */
export function quantisationOf(path: string): string | undefined {
  return quantisationSuffix.exec(nameOfFile(path))?.[1]?.toUpperCase();
}

function matching<File extends RepositoryFile>(
  models: readonly RepositoryModel<File>[],
  choice: HubChoice,
): readonly RepositoryModel<File>[] {
  switch (choice.by) {
    case 'file':
      return models.filter((model) => model.files.some((file) => file.path === choice.path));
    case 'quantisation':
      return ofQuantisation(models, choice.quantisation);
    case 'default':
      return defaultModel(models);
  }
}

/** Exact quantisations first; else files whose name ends in what was asked for, e.g. `qat-Q4_0`. */
function ofQuantisation<File extends RepositoryFile>(
  models: readonly RepositoryModel<File>[],
  wanted: string,
): readonly RepositoryModel<File>[] {
  const upper = wanted.toUpperCase();
  const exact = models.filter((model) => model.quantisation === upper);
  if (exact.length > 0) {
    return exact;
  }
  return models.filter((model) => {
    const name = nameOfFile(model.files[0].path).toUpperCase();
    return name.endsWith(upper) && /[-._]/.test(name.at(-upper.length - 1) ?? '-');
  });
}

function defaultModel<File extends RepositoryFile>(
  models: readonly RepositoryModel<File>[],
): readonly RepositoryModel<File>[] {
  for (const quantisation of defaultQuantisations) {
    const found = models.filter((model) => model.quantisation === quantisation);
    if (found.length > 0) {
      return found;
    }
  }
  return [...models].sort((a, b) => a.sizeBytes - b.sizeBytes).slice(0, 1);
}

function nothingMatches(
  models: readonly RepositoryModel[],
  choice: HubChoice,
  repository: string,
): MeshnodeError {
  if (models.length === 0) {
    return new MeshnodeError('download_not_found', `${repository} holds no complete GGUF model.`, {
      hint: 'Look for a repository of the same model whose name ends in -GGUF.',
    });
  }
  const existing = models.map((model) => model.quantisation ?? model.files[0].path);
  return new MeshnodeError('download_not_found', `${repository} has no ${said(choice)}.`, {
    hint: `It has ${listed([...new Set(existing)].sort())}.`,
  });
}

function said(choice: HubChoice): string {
  switch (choice.by) {
    case 'file':
      return `file ${choice.path}`;
    case 'quantisation':
      return `quantisation ${choice.quantisation}`;
    case 'default':
      return 'the reference';
  }
}

/** Longest list shown in a sentence. */
const shownEntries = 40;

function listed(entries: readonly string[]): string {
  const more = entries.length - shownEntries;
  return entries.slice(0, shownEntries).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
