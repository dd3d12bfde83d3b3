// Server-sent events towards one client: frames, pings, back-pressure, and the two ways a stream can
// end. Never throws because the client is gone.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Clock, Timer } from '../util/clock.ts';
import { assertInvariant } from '../util/errors.ts';
import { cutUnlessTaken } from './stalled-reader.ts';

export interface SseOptions {
  readonly clock: Clock;
  /** The client hears something at least this often. */
  readonly pingMs: number;
  /** A client that takes nothing for this long is cut. */
  readonly stalledReaderMs: number;
}

export class SseWriter {
  readonly #response: ServerResponse;
  readonly #options: SseOptions;
  #opened = false;
  /** Whether anything was written since the last look of the ping timer. */
  #wrote = false;
  #pingTimer: Timer | undefined;

  constructor(response: ServerResponse, options: SseOptions) {
    this.#response = response;
    this.#options = options;
    response.once('close', () => this.#pingTimer?.cancel());
  }

  /** Whether the status line has been given: from then on a failure can only be told in the stream. */
  get opened(): boolean {
    return this.#opened;
  }

  /** Whether the client is slower than we are: `drained()` says when to go on. */
  get full(): boolean {
    return this.#response.writableNeedDrain;
  }

  /** Gives status 200. The bytes go out with the first frame or ping. */
  open(headers: OutgoingHttpHeaders = {}): void {
    if (this.#opened || this.#gone) {
      return;
    }
    this.#opened = true;
    this.#response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
    });
    this.#watchSilence();
  }

  /** Sends one event. `payload` is a single line, as JSON.stringify makes it. */
  data(payload: string): void {
    assertInvariant(!payload.includes('\n') && !payload.includes('\r'), 'an event is one line');
    this.#write(`data: ${payload}\n\n`);
  }

  /** Tells client and proxies that the connection lives. Clients ignore it. */
  ping(): void {
    this.#write(': ping\n\n');
  }

  /** Resolves once the client has taken what was written, or is gone. */
  drained(): Promise<void> {
    if (this.#gone || !this.full) {
      return Promise.resolve();
    }
    const response = this.#response;
    return new Promise((resolve) => {
      const timer = this.#cutAfterStall();
      const settle = (): void => {
        timer.cancel();
        response.off('drain', settle).off('close', settle);
        resolve();
      };
      response.on('drain', settle).on('close', settle);
    });
  }

  /** Ends a stream whose last event said that it is complete. */
  end(): void {
    this.#pingTimer?.cancel();
    if (!this.#gone) {
      cutUnlessTaken(this.#response, this.#options.stalledReaderMs);
      this.#response.end();
    }
  }

  /**
   * Ends a stream that failed: sends `payload`, then breaks the connection, because clients take a
   * stream that ends cleanly for a complete one. Resolves when the connection is gone.
   */
  fail(payload: string): Promise<void> {
    if (this.#gone) {
      return Promise.resolve();
    }
    const response = this.#response;
    return new Promise((resolve) => {
      const timer = this.#cutAfterStall();
      response.once('close', () => {
        timer.cancel();
        resolve();
      });
      response.write(`data: ${payload}\n\n`, () => response.destroy());
    });
  }

  get #gone(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  #write(frame: string): void {
    if (!this.#gone) {
      this.#wrote = true;
      this.#response.write(frame);
    }
  }

  /** Looks twice per `pingMs`, so that no silence lasts longer, without a timer per event. */
  #watchSilence(): void {
    this.#pingTimer = this.#options.clock.after(this.#options.pingMs / 2, () => {
      if (!this.#wrote && !this.full) {
        this.ping();
      }
      this.#wrote = false;
      this.#watchSilence();
    });
  }

  #cutAfterStall(): Timer {
    return this.#options.clock.after(this.#options.stalledReaderMs, () => this.#response.destroy());
  }
}
