// The identity of a model: SHA-256 of its file(s). Computed in the background, chunk by chunk, and
// remembered by what the file system says of each file, so that nothing is read twice while unchanged.
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { MeshnodeError } from '../util/errors.ts';
import { ggufLimits } from '../util/limits/models.ts';
import type { Logger } from '../util/logging.ts';
import { DigestCache, type FileStamp, stampFile } from './digest-cache.ts';
import { openModelFile } from './range-source.ts';

/** Called after each chunk with bytes hashed so far and bytes in all. */
export type DigestProgress = (doneBytes: number, totalBytes: number) => void;

export interface DigestOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: DigestProgress;
}

/** Digests known and being computed. One instance per cache file. */
export class ModelDigests {
  readonly #cache: DigestCache;
  readonly #log: Logger;

  /** `cachePath` is the JSON file that remembers; it need not exist, its folder must. */
  constructor(cachePath: string, log: Logger) {
    this.#cache = new DigestCache(cachePath);
    this.#log = log;
  }

  /**
   * The digest of a model's files in order if all are remembered and unchanged, else `pending`. Throws
   * `model_file_missing` if a file is not there.
   */
  async lookup(paths: readonly string[]): Promise<string> {
    const digests: string[] = [];
    for (const path of paths) {
      const known = await this.#cache.find(await stampFile(resolve(path)));
      if (known === undefined) {
        return 'pending';
      }
      digests.push(known);
    }
    return combineDigests(digests);
  }

  /**
   * The digest of a model's files in order, lower-case hex; reads what is not remembered. Throws
   * `model_file_missing`, the signal's reason, or `gguf_invalid` if a file changes while it is read.
   */
  async compute(paths: readonly string[], options: DigestOptions = {}): Promise<string> {
    const stamps = await Promise.all(paths.map((path) => stampFile(resolve(path))));
    const totalBytes = stamps.reduce((sum, stamp) => sum + stamp.sizeBytes, 0);
    const digests: string[] = [];
    let doneBytes = 0;
    for (const stamp of stamps) {
      const before = doneBytes;
      const onBytes = (bytes: number): void => options.onProgress?.(before + bytes, totalBytes);
      digests.push((await this.#cache.find(stamp)) ?? (await this.#hash(stamp, onBytes, options.signal)));
      doneBytes += stamp.sizeBytes;
      options.onProgress?.(doneBytes, totalBytes);
    }
    return combineDigests(digests);
  }

  /** Remembers a digest that is known from elsewhere, e.g. from a download that was verified. */
  async remember(path: string, sha256: string): Promise<void> {
    await this.#add(await stampFile(resolve(path)), sha256);
  }

  /** A digest that cannot be written down is still right. */
  async #add(stamp: FileStamp, sha256: string): Promise<void> {
    try {
      await this.#cache.add(stamp, sha256);
    } catch (cause) {
      this.#log.warn({ err: cause }, 'digests cannot be remembered');
    }
  }

  async #hash(stamp: FileStamp, onBytes: (bytes: number) => void, signal?: AbortSignal): Promise<string> {
    const digest = await hashFile(stamp.path, onBytes, signal);
    const after = await stampFile(stamp.path);
    if (after.mtimeNs !== stamp.mtimeNs || after.sizeBytes !== stamp.sizeBytes) {
      throw new MeshnodeError('gguf_invalid', `${stamp.path} changed while its digest was computed.`, {
        hint: 'Wait until nothing writes to the file, then load the model again.',
        data: { path: stamp.path },
      });
    }
    await this.#add(stamp, digest);
    return digest;
  }
}

/**
 * The digest of a model from those of its files, in order. One file's is the model's, so it equals what
 * hubs publish; of several it is the SHA-256 of their digests' bytes, so published ones can be combined
 * without reading the files.
 */
export function combineDigests(digests: readonly string[]): string {
  const [only] = digests;
  if (only !== undefined && digests.length === 1) {
    return only;
  }
  return createHash('sha256')
    .update(Buffer.from(digests.join(''), 'hex'))
    .digest('hex');
}

/** SHA-256 of a file, lower-case hex. Each chunk is awaited, so other work goes on in between. */
async function hashFile(
  path: string,
  onBytes: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(ggufLimits.readBytes);
  const handle = await openModelFile(path);
  try {
    let position = 0;
    while (true) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) {
        return hash.digest('hex');
      }
      hash.update(buffer.subarray(0, bytesRead));
      position += bytesRead;
      onBytes(position);
    }
  } finally {
    await handle.close();
  }
}
