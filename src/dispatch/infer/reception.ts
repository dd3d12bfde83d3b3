// Takes one request in from a stream: each part in its time and within the memory there is. A stream on which
// nothing is asked is nothing to report: pools of peers open them in advance.
import { type ReceivedRequest, RequestAssembler } from '../../inference/request-frames.ts';
import type { Clock, Timer } from '../../util/clock.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';
import { poolLimits } from '../../util/limits/net.ts';
import type { BodyMemory } from './body-memory.ts';
import type { InferFrames } from './infer-frames.ts';

/** A request that was taken in. */
export interface TakenRequest extends ReceivedRequest {
  /** Gives the room of its body back, which it takes for as long as it is answered. Idempotent. */
  readonly giveRoomBack: () => void;
}

export interface ReceptionParts {
  readonly clock: Clock;
  readonly bodies: BodyMemory;
  /** Ends the reception with its reason. */
  readonly signal: AbortSignal;
}

/**
 * The request, or undefined if nothing was asked or it was cancelled. Rejects with `frame_invalid`,
 * `invalid_request`, `body_too_large`, `queue_full`, `request_timeout`, `stream_broken`, or the signal's reason.
 */
export async function receiveRequest(
  frames: InferFrames,
  parts: ReceptionParts,
): Promise<TakenRequest | undefined> {
  const reception = new Reception(frames, parts);
  let received: ReceivedRequest | undefined;
  try {
    received = await reception.run();
    return received && { ...received, giveRoomBack: reception.giveRoomBack };
  } finally {
    reception.close();
    if (received === undefined) {
      reception.giveRoomBack();
    }
  }
}

class Reception {
  readonly #frames: InferFrames;
  readonly #parts: ReceptionParts;
  readonly #over = new AbortController();
  readonly #onSignal = (): void => this.#over.abort(this.#parts.signal.reason);
  #timer: Timer | undefined;
  /** Gives back what was reserved for the body, if anything was. */
  giveRoomBack = (): void => {};

  constructor(frames: InferFrames, parts: ReceptionParts) {
    this.#frames = frames;
    this.#parts = parts;
    parts.signal.addEventListener('abort', this.#onSignal, { once: true });
  }

  async run(): Promise<ReceivedRequest | undefined> {
    this.#parts.signal.throwIfAborted();
    const assembler = new RequestAssembler();
    this.#expectFirstFrame();
    let frame = await this.#frames.next(this.#over.signal);
    if (frame === undefined) {
      return undefined;
    }
    this.#expectRest();
    while (frame !== undefined && frame.type !== 'cancel') {
      const received = assembler.add(frame);
      if (received !== undefined) {
        return received;
      }
      if (frame.type === 'head') {
        const { peer } = this.#frames.stream;
        this.giveRoomBack = this.#parts.bodies.reserve(peer, frame.head.bodyBytes);
      }
      frame = await this.#frames.next(this.#over.signal);
    }
    if (frame === undefined) {
      throw new MeshnodeError('frame_invalid', 'The stream ended before the request was complete.');
    }
    return undefined;
  }

  /** No timer is left. */
  close(): void {
    this.#timer?.cancel();
    this.#parts.signal.removeEventListener('abort', this.#onSignal);
  }

  #expectFirstFrame(): void {
    const late = (): void => this.#tooSlow('Nothing was asked on a stream.');
    this.#timer = this.#parts.clock.after(poolLimits.firstFrameMs, late, { keepAlive: false });
  }

  /** From now on the request has to come at a least speed, and to be complete in time. */
  #expectRest(): void {
    const { clock } = this.#parts;
    const untilMs = clock.monotonicMs() + inferLimits.requestMs;
    let seenBytes = this.#frames.receivedBytes;
    const look = (): void => {
      const nowMs = clock.monotonicMs();
      const newBytes = this.#frames.receivedBytes - seenBytes;
      if (nowMs >= untilMs || newBytes < inferLimits.requestLookBytes) {
        this.#tooSlow('A request came too slowly.');
        return;
      }
      seenBytes += newBytes;
      this.#timer = clock.after(Math.min(inferLimits.requestLookMs, untilMs - nowMs), look);
    };
    this.#timer?.cancel();
    this.#timer = clock.after(inferLimits.requestLookMs, look);
  }

  #tooSlow(message: string): void {
    this.#over.abort(new MeshnodeError('request_timeout', message));
  }
}
