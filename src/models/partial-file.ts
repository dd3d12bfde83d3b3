// Who may write a partly downloaded file. A partial lies beside its blob under the name of the process
// that fills it, or parked under a common name; taking it over is a rename, so exactly one process succeeds.

import { createHash } from 'node:crypto';
import { open, readdir, rename, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { sleep } from '../util/clock.ts';
import { systemErrorCode } from '../util/errors.ts';
import { makeFolder } from '../util/make-folder.ts';
import { randomId, systemRandom } from '../util/random.ts';
import type { DownloadParts } from './download-retry.ts';
import { fileExists } from './hub-cache.ts';

/** Process ids come again; the random part tells this process from an earlier one with its id. */
const host = createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
const owner = `${host}-${process.pid}-${randomId(systemRandom, 8)}`;

const suffix = '.incomplete';
const ownerShape = /^([0-9a-f]{8})-(\d{1,10})-[0-9a-z]{8}$/;

/** Where a partial waits for whoever goes on with it. Other tools use other names, so nobody mixes bytes. */
export function parkedPath(blobPath: string): string {
  return `${blobPath}.parked${suffix}`;
}

/**
 * Takes or creates the partial of a blob and resolves its path; undefined once the blob itself is there.
 * While another process fills it, this one waits and tells `onWaiting` how many bytes are there.
 */
export async function claimPartial(
  blobPath: string,
  parts: DownloadParts,
  options: { signal: AbortSignal; onWaiting: (bytes: number) => void },
): Promise<string | undefined> {
  const claimed = `${blobPath}.${owner}${suffix}`;
  await makeFolder(dirname(blobPath));
  while (!(await fileExists(blobPath))) {
    options.signal.throwIfAborted();
    const partials = await partialsOf(blobPath);
    const free = await firstFree(partials, parts);
    if (free !== undefined) {
      if (await renamed(free, claimed)) {
        return claimed;
      }
    } else if (partials.length === 0) {
      await createEmpty(parkedPath(blobPath));
    } else {
      options.onWaiting(await largestBytes(partials));
      await sleep(parts.clock, parts.limits.claimPollMs, options.signal);
    }
  }
  return undefined;
}

/** Leaves a claimed partial for the next try, of whatever process. */
export async function parkPartial(claimed: string, blobPath: string): Promise<void> {
  await renamed(claimed, parkedPath(blobPath));
}

/** Bytes that are already here of a blob to come. */
export async function partialBytes(blobPath: string): Promise<number> {
  return largestBytes(await partialsOf(blobPath));
}

/** Whether a file of the blob folder is a partial that no living process fills. */
export async function isAbandoned(
  path: string,
  parts: Pick<DownloadParts, 'clock' | 'limits'>,
): Promise<boolean> {
  const name = basename(path);
  if (!name.endsWith(suffix)) {
    return false;
  }
  const label = name.slice(0, -suffix.length).split('.').at(-1) ?? '';
  if (label === 'parked') {
    return true;
  }
  const [, ownerHost, ownerPid] = ownerShape.exec(label) ?? [];
  if (ownerHost === undefined) {
    return false; // Another tool's.
  }
  if (label === owner) {
    return false;
  }
  if (ownerHost === host && !(Number(ownerPid) !== process.pid && isAlive(Number(ownerPid)))) {
    return true;
  }
  const stats = await stat(path).catch(() => undefined);
  return stats !== undefined && parts.clock.wallMs() - stats.mtimeMs > parts.limits.claimStaleMs;
}

async function partialsOf(blobPath: string): Promise<string[]> {
  const prefix = `${basename(blobPath)}.`;
  const names = await readdir(dirname(blobPath)).catch(() => []);
  return names
    .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
    .filter((name) =>
      /^(parked|[0-9a-f]{8}-\d{1,10}-[0-9a-z]{8})$/.test(name.slice(prefix.length, -suffix.length)),
    )
    .map((name) => join(dirname(blobPath), name));
}

async function firstFree(partials: readonly string[], parts: DownloadParts): Promise<string | undefined> {
  for (const path of partials) {
    if (await isAbandoned(path, parts)) {
      return path;
    }
  }
  return undefined;
}

async function largestBytes(partials: readonly string[]): Promise<number> {
  const sizes = await Promise.all(
    partials.map(async (path) => (await stat(path).catch(() => undefined))?.size ?? 0),
  );
  return Math.max(0, ...sizes);
}

/** Renames; false if somebody else was faster. */
async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (thrown) {
    if (systemErrorCode(thrown) === 'ENOENT') {
      return false;
    }
    throw thrown;
  }
}

async function createEmpty(path: string): Promise<void> {
  try {
    await (await open(path, 'wx')).close();
  } catch (thrown) {
    if (systemErrorCode(thrown) !== 'EEXIST') {
      throw thrown;
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return systemErrorCode(thrown) === 'EPERM';
  }
}
