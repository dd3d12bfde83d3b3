// An answer on its way to its caller over one stream: writes the frames that wait in the log, as fast as the caller
// reads, and hears whether the caller still wants them. Where frames come from, and what becomes of an answer whose
// stream is lost, is for served-answer.ts.
import type { PeerStream } from '../../net/network.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';
import type { Wake } from '../../util/wake.ts';
import type { AnswerLog } from './answer-log.ts';
import { type InferFrames, joined } from './infer-frames.ts';

/**
 * How a delivery ended: the caller has all of the answer; it wants no more of it, or can have none; its stream is
 * lost, so that it may come back; or it was stopped from here.
 */
export type DeliveryEnd = 'complete' | 'unwanted' | 'lost' | 'stopped';

export interface DeliveryParts {
  readonly frames: InferFrames;
  readonly log: AnswerLog;
  /** Called when the log has grown or shrunk. */
  readonly changed: Wake;
  readonly clock: Clock;
}

export class Delivery {
  readonly #stream: PeerStream;
  readonly #parts: DeliveryParts;
  readonly #end = Promise.withResolvers<DeliveryEnd>();
  readonly #callerEnded = Promise.withResolvers<void>();
  /** Whether this side has said its end, or is saying it. */
  #isEnding = false;
  #isOver = false;
  /** When the present wait for the caller began; absent while there is nothing to wait for. */
  #waitingSinceMs: number | undefined;
  #stallWatch: Timer | undefined;

  constructor(parts: DeliveryParts) {
    this.#stream = parts.frames.stream;
    this.#parts = parts;
  }

  /** Delivers until there is a reason to stop. The stream is aborted then, unless both sides have said their end. */
  async run(): Promise<DeliveryEnd> {
    this.#watchForStall(inferLimits.writeMs);
    void this.#hearCaller();
    void this.#write();
    return await this.#end.promise;
  }

  /** Ends the delivery; `run` gives 'stopped'. */
  stop(cause: MeshnodeError): void {
    this.#finish('stopped', cause);
  }

  async #write(): Promise<void> {
    try {
      await this.#writeAll();
      if (!this.#isOver) {
        this.#isEnding = true;
        this.#waitingSinceMs = this.#parts.clock.monotonicMs();
        await this.#stream.end();
        await this.#callerEnded.promise;
        this.#finish('complete');
      }
    } catch (thrown) {
      this.#failed(thrown);
    }
  }

  /** Returns when the answer is complete and written, or the delivery is over. */
  async #writeAll(): Promise<void> {
    const { log, changed } = this.#parts;
    while (!this.#isOver) {
      const batch = log.take(inferLimits.writeBytes);
      if (batch.length > 0) {
        changed.now();
        await this.#writeBatch(batch);
      } else if (log.isComplete) {
        return;
      } else {
        await changed.next();
        await afterAllThatIsReady();
      }
    }
  }

  async #writeBatch(batch: readonly Uint8Array[]): Promise<void> {
    this.#waitingSinceMs = this.#parts.clock.monotonicMs();
    await this.#stream.write(joined(batch));
    this.#waitingSinceMs = undefined;
  }

  /** A caller may cancel, or end its side at any time, which alone means nothing; it says no more than that. */
  async #hearCaller(): Promise<void> {
    try {
      const frame = await this.#parts.frames.next();
      if (frame === undefined) {
        await this.#onCallerEnd();
      } else if (frame.type === 'cancel') {
        this.#finish('unwanted', new MeshnodeError('cancelled', 'The caller wants no more.'));
      } else {
        throw new MeshnodeError('frame_invalid', `A ${frame.type} frame came after the request.`);
      }
    } catch (thrown) {
      this.#failed(thrown);
    }
  }

  /** There is nothing to read any more that could tell of a lost connection. */
  async #onCallerEnd(): Promise<void> {
    this.#callerEnded.resolve();
    await this.#stream.closed;
    if (!this.#isEnding) {
      this.#finish('lost', new MeshnodeError('stream_broken', 'The stream of an answer was lost.'));
    }
  }

  #failed(thrown: unknown): void {
    const error = asMeshnodeError(thrown);
    this.#finish(error.code === 'stream_broken' ? 'lost' : 'unwanted', error);
  }

  /** A caller that takes nothing for inferLimits.writeMs is given up. One timer for all writes. */
  #watchForStall(delayMs: number): void {
    const { clock } = this.#parts;
    const check = (): void => {
      const nowMs = clock.monotonicMs();
      const leftMs = (this.#waitingSinceMs ?? nowMs) + inferLimits.writeMs - nowMs;
      if (leftMs > 0) {
        this.#watchForStall(leftMs);
      } else {
        this.#finish(
          'unwanted',
          new MeshnodeError('stream_broken', 'The caller takes nothing of its answer.'),
        );
      }
    };
    this.#stallWatch = clock.after(delayMs, check);
  }

  #finish(end: DeliveryEnd, cause?: MeshnodeError): void {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    this.#stallWatch?.cancel();
    if (cause !== undefined) {
      this.#stream.abort(cause);
    }
    this.#parts.changed.now();
    this.#end.resolve(end);
  }
}

/** Events that are there at once go out in one write: this lets them all come, and waits for nothing that is not. */
function afterAllThatIsReady(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
