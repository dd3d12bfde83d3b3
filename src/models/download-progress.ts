// What a person is told while a model comes: stage, bytes of all its files, speed and remaining time, at
// most a few times a second.
import type { DownloadParts } from './download-retry.ts';
import { RateMeter, type TransferRate } from './transfer-rate.ts';

/** How far a model is on its way to the disk. Bytes are those of all its files. */
export interface DownloadProgress extends TransferRate {
  readonly stage: 'resolving' | 'downloading' | 'verifying';
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface DownloadOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: DownloadProgress) => void;
}

/** The progress of one model, fed file by file. */
export class ProgressReport {
  readonly #totalBytes: number;
  readonly #parts: Pick<DownloadParts, 'clock' | 'limits'>;
  readonly #tell: (progress: DownloadProgress) => void;
  #meter = new RateMeter();
  #stage: DownloadProgress['stage'] = 'resolving';
  #doneBytes = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(
    totalBytes: number,
    parts: Pick<DownloadParts, 'clock' | 'limits'>,
    tell: (progress: DownloadProgress) => void,
  ) {
    this.#totalBytes = totalBytes;
    this.#parts = parts;
    this.#tell = tell;
  }

  /** `fileBytes` of the current file are done. Tells at once when the stage changes. */
  report(stage: DownloadProgress['stage'], fileBytes: number): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (stage === this.#stage && nowMs - this.#toldMs < this.#parts.limits.progressMs) {
      return;
    }
    if (stage !== this.#stage) {
      this.#meter = new RateMeter();
      this.#stage = stage;
    }
    this.#toldMs = nowMs;
    const bytes = this.#doneBytes + fileBytes;
    this.#meter.add(nowMs, bytes);
    this.#tell({ stage, bytes, totalBytes: this.#totalBytes, ...this.#meter.rate(this.#totalBytes) });
  }

  /** The current file is whole and verified. */
  fileDone(sizeBytes: number): void {
    this.#doneBytes += sizeBytes;
    this.#tell({ stage: 'verifying', bytes: this.#doneBytes, totalBytes: this.#totalBytes });
  }
}
