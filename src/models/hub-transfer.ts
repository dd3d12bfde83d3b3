// Brings the bytes of one file into a partial: goes on where it stopped, starts afresh when the file
// changed, and verifies the whole by its published hash. It knows neither the cache nor other processes.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { MeshnodeError } from '../util/errors.ts';
import { type DownloadParts, withRetries } from './download-retry.ts';
import type { HubAnswer, HubConnection } from './hub-connection.ts';

/** A file of a repository at a commit, as the hub publishes it. */
export interface HubFile {
  readonly repository: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface TransferOptions {
  readonly signal: AbortSignal;
  /** Called with the bytes of this file that are done. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * Fills the file at `partialPath` from `url`. Rejects with `download_failed` once all tries are used,
 * `download_corrupt` if more bytes come than were published, or what the hub's refusal means; system
 * errors of the disk come as they are. What was written stays.
 */
export async function transferFile(
  url: string,
  file: HubFile,
  partialPath: string,
  hub: HubConnection,
  parts: DownloadParts,
  options: TransferOptions,
): Promise<void> {
  const handle = await open(partialPath, 'r+');
  try {
    const transfer = new Transfer(url, file, handle, hub, options);
    await transfer.start();
    await withRetries(
      parts,
      options.signal,
      () => transfer.attempt(),
      () => transfer.advanced(),
    );
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Throws `download_corrupt` unless the file's SHA-256 is the published one. */
export async function verifyFile(path: string, file: HubFile, options: TransferOptions): Promise<void> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path, { signal: options.signal, highWaterMark: 1024 * 1024 })) {
    hash.update(chunk);
    bytes += chunk.length;
    options.onBytes(bytes);
  }
  if (hash.digest('hex') !== file.sha256) {
    throw new MeshnodeError(
      'download_corrupt',
      `${file.path} does not have the SHA-256 that the hub publishes.`,
    );
  }
}

/** One file under way, over any number of connections. */
class Transfer {
  readonly #url: string;
  readonly #file: HubFile;
  readonly #handle: FileHandle;
  readonly #hub: HubConnection;
  readonly #options: TransferOptions;
  #offset = 0;
  /** Most bytes ever there: a server without ranges that is cut at the same place brings nothing new. */
  #furthest = 0;
  #furthestSeen = 0;
  /** The strong validator of the bytes so far, known once a connection brought some. */
  #etag: string | undefined;

  constructor(url: string, file: HubFile, handle: FileHandle, hub: HubConnection, options: TransferOptions) {
    this.#url = url;
    this.#file = file;
    this.#handle = handle;
    this.#hub = hub;
    this.#options = options;
  }

  /** Takes up what is in the file already. */
  async start(): Promise<void> {
    const { size } = await this.#handle.stat();
    this.#moveTo(size);
    if (size > this.#file.sizeBytes) {
      await this.#startAfresh();
    }
  }

  /** Whether more came since the last call than ever before. */
  advanced(): boolean {
    const advanced = this.#furthest > this.#furthestSeen;
    this.#furthestSeen = this.#furthest;
    return advanced;
  }

  /** One connection. Resolves when the file is complete. */
  async attempt(): Promise<void> {
    if (this.#offset === this.#file.sizeBytes) {
      return;
    }
    const answer = await this.#hub.request(this.#url, {
      subject: `${this.#file.path} of ${this.#file.repository}`,
      signal: this.#options.signal,
      headers: { 'accept-encoding': 'identity', ...this.#rangeHeaders() },
    });
    await this.#takeUp(answer);
    this.#etag = strongEtag(answer);
    for await (const chunk of answer.chunks) {
      await this.#append(chunk);
    }
    if (this.#offset < this.#file.sizeBytes) {
      throw new MeshnodeError('download_failed', `${this.#file.path} ended early, at byte ${this.#offset}.`);
    }
  }

  #rangeHeaders(): Record<string, string> {
    if (this.#offset === 0) {
      return {};
    }
    return {
      range: `bytes=${this.#offset}-`,
      ...(this.#etag === undefined ? {} : { 'if-range': this.#etag }),
    };
  }

  /** Makes sure that an answer's bytes belong where the file ends: they go on, or all come again. */
  async #takeUp(answer: HubAnswer): Promise<void> {
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(answer.headers.get('content-range') ?? '') ?? [];
    const goesOn =
      answer.status === 206 && Number(start) === this.#offset && Number(total) === this.#file.sizeBytes;
    if (goesOn || (answer.status === 200 && this.#offset === 0)) {
      return;
    }
    await this.#startAfresh();
    if (answer.status !== 200) {
      await answer.discard();
      throw new MeshnodeError(
        'download_failed',
        `The hub did not send the range of ${this.#file.path} asked for.`,
      );
    }
  }

  async #startAfresh(): Promise<void> {
    await this.#handle.truncate(0);
    this.#moveTo(0);
  }

  #moveTo(offset: number): void {
    this.#offset = offset;
    this.#furthest = Math.max(this.#furthest, offset);
    this.#options.onBytes(offset);
  }

  async #append(chunk: Uint8Array): Promise<void> {
    if (this.#offset + chunk.length > this.#file.sizeBytes) {
      throw new MeshnodeError('download_corrupt', `${this.#file.path} is longer than the hub publishes.`);
    }
    for (let written = 0; written < chunk.length; ) {
      const { bytesWritten } = await this.#handle.write(chunk, written, chunk.length - written, this.#offset);
      written += bytesWritten;
      this.#moveTo(this.#offset + bytesWritten);
    }
  }
}

/** The ETag if it may be used with If-Range: weak ones may not. */
function strongEtag(answer: HubAnswer): string | undefined {
  const etag = answer.headers.get('etag');
  return etag?.startsWith('"') ? etag : undefined;
}
