// The folder that belongs to one running node: made, proven writable and locked before anything else
// starts. Keeps the token of the management API and the address card of the running node.
import * as fileSystem from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { type FolderLock, tryLock } from '../util/folder-lock.ts';
import { makeFolder } from '../util/make-folder.ts';
import type { Random } from '../util/random.ts';
import { replaceFile } from '../util/replace-file.ts';

/** What a running node says of itself to a second one and to the command line. */
export interface RunCard {
  readonly pid: number;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly version: string;
  readonly apiUrl?: string;
  readonly consoleUrl?: string;
}

const runCardSchema = z.object({
  pid: z.int(),
  startedAt: z.string(),
  version: z.string(),
  apiUrl: z.url().exactOptional(),
  consoleUrl: z.url().exactOptional(),
}) satisfies z.ZodType<RunCard>;

/** The operations on files that the folder needs; tests hand in ones that fail. */
export type FolderFiles = Pick<
  typeof fileSystem,
  'mkdir' | 'stat' | 'chmod' | 'readFile' | 'writeFile' | 'open' | 'rename' | 'rm'
>;

export interface DataFolderComponents {
  readonly random: Random;
  readonly files?: FolderFiles;
}

const names = {
  lock: 'lock.sqlite',
  runCard: 'run.json',
  consoleToken: 'console-token',
  probe: '.writable',
} as const;

const tokenBytes = 32;

/** The data folder of this node, locked until `close`. */
export class DataFolder {
  readonly path: string;
  /** Bearer token of the management API and the owner's key of the inference API: 32 random bytes, lower-case hex. */
  readonly consoleToken: string;
  readonly #lock: FolderLock;
  readonly #files: FolderFiles;

  constructor(parts: {
    path: string;
    consoleToken: string;
    lock: FolderLock;
    files: FolderFiles;
  }) {
    this.path = parts.path;
    this.consoleToken = parts.consoleToken;
    this.#lock = parts.lock;
    this.#files = parts.files;
  }

  /** Writes down where this node can be reached. Rejects with `disk_full` or `data_dir_unwritable`. */
  async announce(card: RunCard): Promise<void> {
    const { path } = this;
    await attempt(path, () =>
      replaceFile(join(path, names.runCard), `${JSON.stringify(card)}\n`, this.#files),
    );
  }

  /** Gives the folder free. */
  async close(): Promise<void> {
    try {
      await this.#files.rm(join(this.path, names.runCard), { force: true });
    } finally {
      this.#lock.release();
    }
  }
}

/**
 * Makes the folder if need be and takes it for this process. Rejects with `data_dir_in_use` (pid and
 * addresses of the other node in the message), `data_dir_unwritable` or `disk_full`.
 */
export async function openDataFolder(path: string, components: DataFolderComponents): Promise<DataFolder> {
  const { random, files = fileSystem } = components;
  const lock = await attempt(path, async () => {
    await makeFolder(path, files);
    await files.chmod(path, 0o700);
    await proveWritable(files, path);
    return tryLock(join(path, names.lock));
  });
  if (lock === undefined) {
    throw await inUse(path);
  }
  try {
    return await attempt(path, async () => {
      // A card left by a node that was killed names a process that is no more.
      await files.rm(join(path, names.runCard), { force: true });
      const consoleToken = await keptSecret(files, join(path, names.consoleToken), () =>
        Buffer.from(random.bytes(tokenBytes)).toString('hex'),
      );
      return new DataFolder({ path, consoleToken, lock, files });
    });
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** How to reach the node that runs on a data folder. Rejects with `node_not_running`. */
export async function findRunningNode(path: string): Promise<{ card: RunCard; consoleToken: string }> {
  const card = await readRunCard(path);
  // A node that was killed left its card behind.
  if (card === undefined || !isAlive(card.pid)) {
    throw new MeshnodeError('node_not_running', `No node is running on ${path}.`);
  }
  const consoleToken = await attempt(path, () => fileSystem.readFile(join(path, names.consoleToken), 'utf8'));
  return { card, consoleToken: consoleToken.trim() };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (cause) {
    // Another user's process is alive too.
    return systemErrorCode(cause) === 'EPERM';
  }
}

async function readRunCard(path: string): Promise<RunCard | undefined> {
  try {
    return runCardSchema.parse(JSON.parse(await fileSystem.readFile(join(path, names.runCard), 'utf8')));
  } catch {
    // None, or half written: the node is only just starting.
    return undefined;
  }
}

async function inUse(path: string): Promise<MeshnodeError> {
  const card = await readRunCard(path);
  const addresses = [card?.apiUrl, card?.consoleUrl].filter((url) => url !== undefined);
  const who = card === undefined ? 'a node that is just starting' : `process ${card.pid}`;
  const where = addresses.length === 0 ? '' : ` at ${addresses.join(' and ')}`;
  return new MeshnodeError('data_dir_in_use', `${path} is in use by ${who}${where}.`, {
    data: { path, ...card },
  });
}

/** Writing is the only proof that one may write: permissions, read-only mounts and quotas all answer it. */
async function proveWritable(files: FolderFiles, path: string): Promise<void> {
  const probe = join(path, names.probe);
  await files.writeFile(probe, 'x');
  await files.rm(probe, { force: true });
}

/** The content of a private file, which is made with `make` the first time. */
async function keptSecret(files: FolderFiles, path: string, make: () => string): Promise<string> {
  try {
    const kept = (await files.readFile(path, 'utf8')).trim();
    if (kept !== '') {
      return kept;
    }
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') {
      throw cause;
    }
  }
  const fresh = make();
  await replaceFile(path, `${fresh}\n`, files);
  return fresh;
}

/** What the system's refusals mean for a folder we have to own. */
export async function attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw folderError(path, cause);
  }
}

function folderError(path: string, cause: unknown): unknown {
  const data = { path };
  switch (systemErrorCode(cause)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new MeshnodeError('disk_full', `There is no space left for ${path}.`, {
        hint: 'Free some disk space, or choose another folder with --data-dir.',
        data,
        cause,
      });
    case 'EROFS':
      return unwritable(`${path} is on a read-only file system.`, data, cause);
    case 'EACCES':
    case 'EPERM':
      return unwritable(`This user may not write to ${path}.`, data, cause);
    case 'ENOTDIR':
    case 'EEXIST':
      return unwritable(`${path} is not a folder: a file lies in its way.`, data, cause);
    case undefined:
      return cause;
    default:
      return unwritable(`${path} cannot be used (${systemErrorCode(cause)}).`, data, cause);
  }
}

function unwritable(message: string, data: Record<string, unknown>, cause: unknown): MeshnodeError {
  return new MeshnodeError('data_dir_unwritable', message, { data, cause });
}
