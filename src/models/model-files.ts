// Models that come in several files: from any one of them finds all, in order, and checks that they belong
// together. A model of one file is the same thing with one file.
import { basename, dirname, join } from 'node:path';
import { MeshnodeError } from '../util/errors.ts';
import { ggufLimits } from '../util/limits/models.ts';
import type { Gguf } from './gguf.ts';
import { ggufInvalid } from './gguf-cursor.ts';
import { type ReadGgufOptions, readGguf } from './gguf-reader.ts';
import { metadataCount } from './gguf-values.ts';

/** All files of one model, read. */
export interface ModelFiles {
  /** In order; the first holds the metadata that describes the model. */
  readonly files: readonly [Gguf, ...Gguf[]];
  readonly sizeBytes: number;
  readonly tensorCount: number;
}

/** Place of a file among its siblings: `name-00002-of-00003.gguf` is { prefix: 'name', number: 2, count: 3 }. */
export interface SplitName {
  readonly prefix: string;
  /** From 1. */
  readonly number: number;
  readonly count: number;
}

/** Reads the name of a file of a several-file model; undefined for any other name. */
export function parseSplitName(fileName: string): SplitName | undefined {
  const [, prefix, number, count] = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/.exec(fileName) ?? [];
  if (prefix === undefined) {
    return undefined;
  }
  const split = { prefix, number: Number(number), count: Number(count) };
  return split.number >= 1 && split.number <= split.count && split.count <= ggufLimits.splitFiles
    ? split
    : undefined;
}

/** The paths of all files of the model that `path` belongs to, by name alone. */
export function siblingPaths(path: string): string[] {
  const split = parseSplitName(basename(path));
  if (split === undefined) {
    return [path];
  }
  const digits = (value: number): string => String(value).padStart(5, '0');
  return Array.from({ length: split.count }, (_, index) =>
    join(dirname(path), `${split.prefix}-${digits(index + 1)}-of-${digits(split.count)}.gguf`),
  );
}

/**
 * Reads all files of the model that `path` belongs to. Throws `model_file_missing` naming the file that is
 * not there, or `gguf_invalid` if one is damaged or belongs to another model.
 */
export async function readModelFiles(path: string, options: ReadGgufOptions = {}): Promise<ModelFiles> {
  const files: Gguf[] = [];
  for (const sibling of siblingPaths(path)) {
    files.push(await readSibling(sibling, path, options));
  }
  return joinModelFiles(files);
}

/** The files of one model, in order, as one. Throws `gguf_invalid` if one of them belongs to another model. */
export function joinModelFiles(files: readonly Gguf[]): ModelFiles {
  const [first, ...rest] = files;
  if (first === undefined) {
    throw new MeshnodeError('internal', 'A model without files.');
  }
  for (const [index, file] of files.entries()) {
    checkPlace(file, index, files.length);
  }
  const tensorCount = files.reduce((sum, file) => sum + file.tensors.length, 0);
  checkTensors(files, tensorCount);
  const sizeBytes = files.reduce((sum, file) => sum + file.fileSizeBytes, 0);
  return { files: [first, ...rest], sizeBytes, tensorCount };
}

async function readSibling(sibling: string, asked: string, options: ReadGgufOptions): Promise<Gguf> {
  try {
    return await readGguf(sibling, options);
  } catch (cause) {
    if (cause instanceof MeshnodeError && cause.code === 'model_file_missing' && sibling !== asked) {
      throw new MeshnodeError('model_file_missing', `${cause.message} ${basename(asked)} needs it.`, {
        data: { path: sibling },
        cause,
      });
    }
    throw cause;
  }
}

/** What the file says of its place must be what its name says. */
function checkPlace(file: Gguf, index: number, count: number): void {
  const claimedCount = metadataCount(file.metadata, 'split.count') ?? (count === 1 ? 1 : undefined);
  // A file that says it is alone may say 0 or 1.
  if (Math.max(claimedCount ?? 0, 1) !== count) {
    const problem = `is ${claimedCount ?? 'absent'}, but the model has ${count} file(s) by its name`;
    throw ggufInvalid(file.path, 'metadata[split.count]', 0, problem);
  }
  const claimedIndex = metadataCount(file.metadata, 'split.no') ?? (count === 1 ? 0 : undefined);
  if (claimedIndex !== index) {
    const problem = `is ${claimedIndex ?? 'absent'} instead of ${index}`;
    throw ggufInvalid(file.path, 'metadata[split.no]', 0, problem);
  }
}

/** Together the files have as many tensors as each of them says, and none twice. */
function checkTensors(files: readonly Gguf[], tensorCount: number): void {
  const names = new Set<string>();
  for (const file of files) {
    const claimed = metadataCount(file.metadata, 'split.tensors.count');
    if (claimed !== undefined && claimed !== tensorCount) {
      const problem = `is ${claimed}, but the files hold ${tensorCount} tensors`;
      throw ggufInvalid(file.path, 'metadata[split.tensors.count]', 0, problem);
    }
    for (const [index, tensor] of file.tensors.entries()) {
      if (names.has(tensor.name)) {
        const problem = `is ${tensor.name}, which another file of the model has too`;
        throw ggufInvalid(file.path, `tensor[${index}].name`, tensor.offset, problem);
      }
      names.add(tensor.name);
    }
  }
}
