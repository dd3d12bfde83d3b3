// Writes a small file in one step: whoever reads it sees the old content or the new, never half of one, and a crash
// or a power cut leaves one of the two. Readable by its owner only.
import * as fileSystem from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemErrorCode } from './errors.ts';

/** What is needed of the file system; tests hand in one that fails. */
export type ReplacingFiles = Pick<typeof fileSystem, 'writeFile' | 'open' | 'rename' | 'rm'>;

/** What systems say that let nobody, or not us, write a folder's entries to the disk: they do it in their own time. */
const noFolderSync = new Set(['EINVAL', 'EPERM', 'EISDIR', 'EACCES']);

/** Puts `content` in the place of the file, which need not be there. Rejects with the system's error. */
export async function replaceFile(
  path: string,
  content: string,
  files: ReplacingFiles = fileSystem,
): Promise<void> {
  // Two processes that replace one file at once must not share the fresh one.
  const fresh = `${path}.${process.pid}.new`;
  try {
    // Without the flush a power cut can leave the new name with nothing behind it.
    await files.writeFile(fresh, content, { mode: 0o600, flush: true });
    await files.rename(fresh, path);
    await syncFolder(dirname(path), files);
  } catch (cause) {
    await files.rm(fresh, { force: true }).catch(() => {}); // The first failure is the one to tell of.
    throw cause;
  }
}

/** Deletes what replacements of the file left that were cut short. Nobody else may be replacing it. */
export async function removeLeftOvers(path: string): Promise<void> {
  const folder = dirname(path);
  const names = await fileSystem.readdir(folder);
  const start = `${basename(path)}.`;
  const leftOvers = names.filter(
    (name) => name.startsWith(start) && /^\d+\.new$/.test(name.slice(start.length)),
  );
  await Promise.all(leftOvers.map((name) => fileSystem.rm(join(folder, name), { force: true })));
}

async function syncFolder(path: string, files: ReplacingFiles): Promise<void> {
  try {
    await using folder = await files.open(path, 'r');
    await folder.sync();
  } catch (cause) {
    if (!noFolderSync.has(systemErrorCode(cause) ?? '')) {
      throw cause;
    }
  }
}
