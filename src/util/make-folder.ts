// Makes a folder with its parents. Node's own recursive mkdir never returns where the system says ENOENT
// for a folder whose parent is there, as it does below /proc.
import * as fileSystem from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemErrorCode } from './errors.ts';

/** Makes what is missing of `path`, readable by its owner only. Rejects with the system's error. */
export async function makeFolder(
  path: string,
  files: Pick<typeof fileSystem, 'mkdir' | 'stat'> = fileSystem,
): Promise<void> {
  try {
    await makeOne(path, files);
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') {
      throw cause;
    }
    await makeFolder(dirname(path), files);
    await makeOne(path, files);
  }
}

/** A folder that is there already, or that another process has just made, will do. */
async function makeOne(path: string, files: Pick<typeof fileSystem, 'mkdir' | 'stat'>): Promise<void> {
  try {
    await files.mkdir(path, { mode: 0o700 });
  } catch (cause) {
    if (systemErrorCode(cause) !== 'EEXIST' || !(await files.stat(path)).isDirectory()) {
      throw cause;
    }
  }
}
