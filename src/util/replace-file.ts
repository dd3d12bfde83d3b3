// Writes a small file in one step: whoever reads it sees the old content or the new, never half of one, and
// a crash leaves one of the two. Readable by its owner only.
import * as fileSystem from 'node:fs/promises';

/** What is needed of the file system; tests hand in one that fails. */
export type ReplacingFiles = Pick<typeof fileSystem, 'writeFile' | 'rename' | 'rm'>;

/** Puts `content` in the place of the file, which need not be there. Rejects with the system's error. */
export async function replaceFile(
  path: string,
  content: string,
  files: ReplacingFiles = fileSystem,
): Promise<void> {
  // Two processes that replace one file at once must not share the fresh one.
  const fresh = `${path}.${process.pid}.new`;
  try {
    await files.writeFile(fresh, content, { mode: 0o600 });
    await files.rename(fresh, path);
  } catch (cause) {
    await files.rm(fresh, { force: true }).catch(() => {}); // The first failure is the one to tell of.
    throw cause;
  }
}
