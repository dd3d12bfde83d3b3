// One answer to a peer's request, from its source to its end: read no faster than its caller takes it, kept for a
// while when its stream is lost, and given up when nobody wants it.
import { type ErrorPhase, errorEvent, type InferenceEvent, isOutput } from '../../inference/events.ts';
import { encodeEventFrames } from '../../inference/frames.ts';
import { background, withTimeout } from '../../util/async.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';
import type { Logger } from '../../util/logging.ts';
import { Wake } from '../../util/wake.ts';
import { AnswerLog, type Standing } from './answer-log.ts';
import { Delivery } from './delivery.ts';
import { type InferFrames, isLast } from './infer-frames.ts';

export interface ServedAnswerParts {
  /** The events; work begins when they are read and ends when the signal aborts. */
  readonly source: (signal: AbortSignal) => AsyncIterable<InferenceEvent>;
  readonly clock: Clock;
  readonly log: Logger;
  /** The answer has lost its stream and waits to be taken up. */
  readonly onDetached: () => void;
  /** Nobody can take the answer up any more. */
  readonly onOver: () => void;
  /** Its source has stopped as well, or has had inferLimits.cancelMs to do so. */
  readonly onStopped: () => void;
}

export class ServedAnswer {
  readonly #parts: ServedAnswerParts;
  readonly #log = new AnswerLog(inferLimits.keptBytes);
  readonly #changed = new Wake();
  readonly #source = new AbortController();
  readonly #reading: Promise<void>;
  readonly #stopped = Promise.withResolvers<void>();
  #phase: ErrorPhase = 'before-output';
  #delivery: Delivery | undefined;
  #expiry: Timer | undefined;
  #isOver = false;

  constructor(parts: ServedAnswerParts) {
    this.#parts = parts;
    this.#reading = this.#read();
  }

  /** Whether it waits to be taken up. */
  get isDetached(): boolean {
    return this.#expiry !== undefined;
  }

  /** Resolves when it is over and its source has stopped, or has had the time to. */
  get stopped(): Promise<void> {
    return this.#stopped.promise;
  }

  get keptBytes(): number {
    return this.#log.keptBytes;
  }

  standingOf(framesHeld: number): Standing {
    return this.#log.standingOf(framesHeld);
  }

  /**
   * Writes all after the first `framesHeld` frames to a stream; a stream it had before is aborted. Resolves when that
   * is over, for whatever reason; the stream is ended, or aborted, then.
   */
  async deliver(frames: InferFrames, framesHeld: number): Promise<void> {
    const { clock } = this.#parts;
    const delivery = new Delivery({ frames, log: this.#log, changed: this.#changed, clock });
    this.#delivery?.stop(new MeshnodeError('stream_broken', 'The answer was taken up over another stream.'));
    this.#expiry?.cancel();
    this.#expiry = undefined;
    this.#delivery = delivery;
    this.#log.goOnFrom(framesHeld);
    this.#changed.now();
    const end = await delivery.run();
    if (this.#delivery !== delivery) {
      return;
    }
    this.#delivery = undefined;
    if (end === 'lost') {
      this.#detach();
    } else {
      this.cancel(new MeshnodeError('cancelled', 'The caller wants no more.'));
    }
  }

  /** The answer ends here with an error, which its caller is told if it is there. */
  fail(error: MeshnodeError): void {
    this.#source.abort(error);
    if (this.#delivery === undefined) {
      this.cancel(error);
    } else {
      this.#endWith(error);
    }
  }

  /** The answer is over: its source stops, and its stream is aborted. Nothing if it was over already. */
  cancel(reason: MeshnodeError): void {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    this.#expiry?.cancel();
    this.#expiry = undefined;
    if (!this.#log.isComplete) {
      this.#source.abort(reason);
    }
    const delivery = this.#delivery;
    this.#delivery = undefined;
    delivery?.stop(reason);
    this.#log.clear();
    this.#changed.now();
    this.#parts.onOver();
    background(this.#stop(), 'end of an answer to a peer', this.#parts.log);
  }

  #detach(): void {
    const lost = new MeshnodeError('cancelled', 'The connection to the caller was lost.');
    this.#expiry = this.#parts.clock.after(inferLimits.resumeMs, () => this.cancel(lost));
    this.#changed.now();
    this.#parts.onDetached();
  }

  async #stop(): Promise<void> {
    const { clock, onStopped } = this.#parts;
    const late = (): MeshnodeError =>
      new MeshnodeError('engine_timeout', 'An answer did not stop when told to.');
    try {
      await withTimeout(clock, inferLimits.cancelMs, this.#reading, late);
    } finally {
      onStopped();
      this.#stopped.resolve();
    }
  }

  /** Reads the source to its end, or until it is aborted. Never rejects. */
  async #read(): Promise<void> {
    const { signal } = this.#source;
    try {
      for await (const event of this.#parts.source(signal)) {
        if (signal.aborted) {
          return;
        }
        this.#add(event);
        if (isLast(event)) {
          return;
        }
        await this.#room(signal);
      }
      throw new MeshnodeError('engine_protocol', 'The answer stopped before its end.');
    } catch (thrown) {
      this.#onSourceFailed(asMeshnodeError(thrown));
    }
  }

  /** While its caller is there an answer is hardly ahead of it; without one it goes on as long as it can be kept. */
  async #room(signal: AbortSignal): Promise<void> {
    const mostBytes = (): number =>
      this.#delivery === undefined ? inferLimits.keptBytes : inferLimits.aheadBytes;
    while (this.#log.waitingBytes >= mostBytes() && !signal.aborted) {
      await this.#changed.next();
    }
  }

  #add(event: InferenceEvent): void {
    for (const frame of encodeEventFrames(event)) {
      this.#log.add(frame);
    }
    if (isOutput(event)) {
      this.#phase = 'during-output';
    }
    if (isLast(event)) {
      this.#log.complete();
    }
    this.#changed.now();
  }

  #endWith(error: MeshnodeError): void {
    if (!this.#log.isComplete) {
      this.#add(errorEvent(error, this.#phase));
    }
  }

  /** A source that was told to stop may do so in any way. Others never throw, or there is a fault of ours. */
  #onSourceFailed(error: MeshnodeError): void {
    if (!this.#source.signal.aborted) {
      this.#parts.log.error({ err: error }, 'an answer to a peer broke off');
      this.#endWith(error);
    }
  }
}
