// Writes frames to sinks at an exact long-run rate, all sinks on one timer loop: a late timer is caught
// up with, so the rate does not drift. Rate 0 writes as fast as each sink takes it.
import type { Writable } from 'node:stream';

/** A piece of output. Only tokens are paced; what else there is goes with the token before it. */
export interface Frame {
  readonly bytes: string;
  readonly token: boolean;
}

/** Frames written in one go at rate 0 before others get their turn. */
const burst = 64;

interface PacedStream {
  readonly frames: Iterator<Frame>;
  readonly sink: Writable;
  readonly startMs: number;
  readonly finish: () => void;
  sent: number;
  blocked: boolean;
}

export class TokenPacer {
  readonly #tokensPerSecond: () => number;
  readonly #streams = new Set<PacedStream>();
  #timer: NodeJS.Timeout | undefined;

  /** The rate is that of each stream. */
  constructor(tokensPerSecond: () => number) {
    this.#tokensPerSecond = tokensPerSecond;
  }

  /** Writes all frames to the sink. Resolves when they are written, or the sink is closed. */
  run(frames: Iterator<Frame>, sink: Writable): Promise<void> {
    return new Promise((resolve) => {
      if (sink.destroyed) {
        resolve();
        return;
      }
      const finish = (): void => {
        this.#streams.delete(stream);
        sink.off('close', finish);
        sink.off('drain', onDrain);
        resolve();
      };
      const onDrain = (): void => {
        stream.blocked = false;
        this.#pump(stream);
        this.#arm();
      };
      const stream: PacedStream = {
        frames,
        sink,
        startMs: performance.now(),
        finish,
        sent: 0,
        blocked: false,
      };
      sink.on('close', finish);
      sink.on('drain', onDrain);
      this.#streams.add(stream);
      this.#pump(stream);
      this.#arm();
    });
  }

  #pump(stream: PacedStream): void {
    stream.sink.cork();
    this.#write(stream);
    stream.sink.uncork();
  }

  #write(stream: PacedStream): void {
    const rate = this.#tokensPerSecond();
    const allowed = rate === 0 ? stream.sent + burst : dueTokens(stream, rate);
    while (!stream.blocked && this.#streams.has(stream)) {
      if (stream.sent >= allowed) {
        if (rate === 0) {
          setImmediate(() => this.#pump(stream));
        }
        return;
      }
      const { value, done } = stream.frames.next();
      if (done) {
        stream.finish();
      } else {
        stream.sent += value.token ? 1 : 0;
        stream.blocked = !stream.sink.write(value.bytes);
      }
    }
  }

  /** One timer for the stream whose token is due first. */
  #arm(): void {
    const rate = this.#tokensPerSecond();
    const waiting = [...this.#streams].filter(({ blocked }) => !blocked);
    if (this.#timer !== undefined || rate === 0 || waiting.length === 0) {
      return;
    }
    const now = performance.now();
    const waits = waiting.map(({ startMs, sent }) => startMs + (sent * 1000) / rate - now);
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        for (const stream of [...this.#streams]) {
          this.#pump(stream);
        }
        this.#arm();
      },
      Math.max(1, Math.min(...waits)),
    );
  }
}

/** Tokens that should be out by now; the first at once. */
function dueTokens(stream: PacedStream, rate: number): number {
  return Math.floor(((performance.now() - stream.startMs) * rate) / 1000) + 1;
}
