// An exclusive lock on a folder that the kernel releases however its holder ends, kill -9 included: a
// transaction on a SQLite file that is never committed. There is no pid file to go stale, hence no race.
import type { DatabaseSync } from 'node:sqlite';

export interface FolderLock {
  release(): void;
}

/** SQLite's result code for "another connection holds the lock". */
const sqliteBusy = 5;

/** Takes the lock, or returns undefined at once if another process (or another part of this one) holds it. */
export async function tryLock(path: string): Promise<FolderLock | undefined> {
  const { DatabaseSync } = await importSqlite();
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // Nothing is ever written: no journal need lie beside the file.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    if (resultCode(cause) === sqliteBusy) {
      return undefined;
    }
    throw cause;
  }
  return { release: () => releaseOnce(database) };
}

function releaseOnce(database: DatabaseSync): void {
  if (database.isOpen) {
    database.close();
  }
}

function resultCode(cause: unknown): unknown {
  return cause instanceof Error && 'errcode' in cause ? cause.errcode : undefined;
}

/** Imports node:sqlite without the one warning, given by Node 22, that it is experimental. */
async function importSqlite(): Promise<typeof import('node:sqlite')> {
  const { emitWarning } = process;
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]): void => {
    if (!String(warning).startsWith('SQLite is an experimental feature')) {
      Reflect.apply(emitWarning, process, [warning, ...rest]);
    }
  }) as typeof process.emitWarning;
  try {
    return await import('node:sqlite');
  } finally {
    process.emitWarning = emitWarning;
  }
}
