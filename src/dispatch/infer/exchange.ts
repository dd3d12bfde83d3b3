// One stream of a request as its caller has it: the request goes out, events come in, and it is left with an end, a
// cancel or an abort, each in bounded time. Whether another stream takes the answer up is not decided here.
import type { InferenceEvent } from '../../inference/events.ts';
import { encodeFrame, type InferFrame } from '../../inference/frames.ts';
import type { PeerStream } from '../../net/network.ts';
import { raceSignal } from '../../util/async.ts';
import type { Clock } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';
import { netLimits } from '../../util/limits/net.ts';
import { InferFrames, writesOf } from './infer-frames.ts';

export class InferExchange {
  readonly #stream: PeerStream;
  readonly #frames: InferFrames;
  readonly #clock: Clock;
  readonly #stopSending = new AbortController();
  /** Settles when the request is written, or is not going to be. Never rejects. */
  readonly #sending: Promise<void>;
  /** Absent while events are waited for; resolves when the peer has been told otherwise. */
  #left: Promise<void> | undefined;

  /** Begins to write `request` at once: a peer that refuses it need not read it all before it says so. */
  constructor(stream: PeerStream, request: Iterable<InferFrame>, clock: Clock) {
    this.#stream = stream;
    this.#frames = new InferFrames(stream);
    this.#clock = clock;
    this.#sending = this.#send(request);
  }

  /**
   * The next event. Rejects with the signal's reason, `stream_broken`, or `frame_invalid` for whatever is no event,
   * the peer's end included: an answer ends with an event.
   */
  async next(signal: AbortSignal): Promise<InferenceEvent> {
    signal.throwIfAborted();
    const frame = await this.#frames.next(signal);
    if (frame?.type === 'event') {
      return frame.event;
    }
    const what = frame === undefined ? 'ended its stream' : `sent a ${frame.type} frame`;
    throw new MeshnodeError('frame_invalid', `The peer ${what} in the middle of its answer.`);
  }

  /**
   * The last event has come, perhaps before all of the request was sent: the end of this side tells the peer so.
   * Throws `frame_invalid` if something came after it.
   */
  finish(): void {
    this.#frames.requireNoMore();
    this.#left = Promise.resolve();
    void this.#leave(netLimits.lingerMs, (signal) => this.#stream.end(signal));
  }

  /** Nobody wants the answer. Resolves once the peer was told, or after inferLimits.cancelMs. Never rejects. */
  cancel(): Promise<void> {
    this.#left ??= this.#leave(inferLimits.cancelMs, async (signal) => {
      await this.#stream.write(encodeFrame({ type: 'cancel' }), signal);
      await this.#stream.end(signal);
    });
    return this.#left;
  }

  abort(cause: unknown): void {
    this.#left = Promise.resolve();
    this.#stopSending.abort();
    this.#stream.abort(asMeshnodeError(cause));
  }

  async #send(request: Iterable<InferFrame>): Promise<void> {
    const { signal } = this.#stopSending;
    try {
      for (const piece of writesOf(request)) {
        await this.#stream.write(piece, signal);
      }
    } catch (cause) {
      if (!signal.aborted) {
        this.#stream.abort(asMeshnodeError(cause));
      }
    }
  }

  /** Sends no more of the request but says the last words; the other side gets the rest of `timeMs` to end as well. */
  async #leave(timeMs: number, say: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const late = new AbortController();
    const giveUp = (): void => {
      late.abort(new MeshnodeError('stream_broken', 'The peer did not end its stream.'));
      this.#stream.abort(late.signal.reason);
    };
    const timer = this.#clock.after(timeMs, giveUp, { keepAlive: false });
    void this.#stream.closed.then(() => timer.cancel());
    try {
      this.#stopSending.abort();
      await this.#sending;
      await raceSignal(say(late.signal), late.signal);
    } catch (cause) {
      this.#stream.abort(asMeshnodeError(cause));
    }
  }
}
