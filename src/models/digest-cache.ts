// Remembers digests of files in one JSON file, by path, size, modification time and inode. Losing it
// costs time, nothing else: whatever is wrong with it, it starts afresh.
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { MeshnodeError, systemErrorCode } from '../util/errors.ts';
import { nodeLimits } from '../util/limits/node.ts';
import { replaceFile } from '../util/replace-file.ts';

/** What the file system says of a file: while it is the same, so is the content. */
export interface FileStamp {
  /** Absolute. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Modification time, nanoseconds since the epoch, decimal. */
  readonly mtimeNs: string;
  readonly inode: string;
}

const entrySchema = z.object({
  path: z.string(),
  sizeBytes: z.number(),
  mtimeNs: z.string(),
  inode: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
const fileSchema = z.object({ version: z.literal(1), entries: z.array(entrySchema) });

type Entry = z.infer<typeof entrySchema>;

/** Takes the stamp of a file. Throws `model_file_missing` if there is none. */
export async function stampFile(path: string): Promise<FileStamp> {
  try {
    const { size, mtimeNs, ino } = await stat(path, { bigint: true });
    return { path, sizeBytes: Number(size), mtimeNs: String(mtimeNs), inode: String(ino) };
  } catch (cause) {
    const reason = systemErrorCode(cause) ?? 'unknown error';
    throw new MeshnodeError('model_file_missing', `Cannot read ${path}: ${reason}.`, {
      data: { path },
      cause,
    });
  }
}

export class DigestCache {
  readonly #path: string;
  /** By path; the least recently added first. Loaded on first use. */
  #entries: Promise<Map<string, Entry>> | undefined;
  /** Writes one after another. */
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** The digest remembered for exactly this file. */
  async find(stamp: FileStamp): Promise<string | undefined> {
    const entry = (await this.#load()).get(stamp.path);
    const same =
      entry?.sizeBytes === stamp.sizeBytes && entry.mtimeNs === stamp.mtimeNs && entry.inode === stamp.inode;
    return same ? entry.sha256 : undefined;
  }

  /** Remembers a digest and writes the file; above the bound the oldest entries go. */
  async add(stamp: FileStamp, sha256: string): Promise<void> {
    const entries = await this.#load();
    entries.delete(stamp.path);
    entries.set(stamp.path, { ...stamp, sha256 });
    for (const oldest of entries.keys()) {
      if (entries.size <= nodeLimits.digestCacheEntries) {
        break;
      }
      entries.delete(oldest);
    }
    const write = this.#writing.then(() => this.#save(entries));
    this.#writing = write.catch(() => {});
    await write;
  }

  #load(): Promise<Map<string, Entry>> {
    this.#entries ??= readEntries(this.#path);
    return this.#entries;
  }

  async #save(entries: ReadonlyMap<string, Entry>): Promise<void> {
    await replaceFile(this.#path, JSON.stringify({ version: 1, entries: [...entries.values()] }));
  }
}

async function readEntries(path: string): Promise<Map<string, Entry>> {
  try {
    const { entries } = fileSchema.parse(JSON.parse(await readFile(path, 'utf8')));
    return new Map(entries.slice(-nodeLimits.digestCacheEntries).map((entry) => [entry.path, entry]));
  } catch {
    return new Map();
  }
}
