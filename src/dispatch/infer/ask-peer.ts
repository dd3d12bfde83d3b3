// The asking end of `/meshnode/infer/1`: one request to one peer and the events that answer it, taken up again when
// its stream breaks. It keeps no order among events (guardEvents does) and chooses no peer.
import { type InferenceEvent, isOutput } from '../../inference/events.ts';
import type { InferFrame } from '../../inference/frames.ts';
import type { InferenceRequest } from '../../inference/request.ts';
import { requestToFrames } from '../../inference/request-frames.ts';
import type { PeerStream } from '../../net/network.ts';
import type { PeerId } from '../../trust/keys.ts';
import { raceSignal } from '../../util/async.ts';
import { type Clock, sleep } from '../../util/clock.ts';
import { asMeshnodeError, type ErrorCode, MeshnodeError } from '../../util/errors.ts';
import { frameLimits } from '../../util/limits/inference.ts';
import type { Logger } from '../../util/logging.ts';
import type { Random } from '../../util/random.ts';
import { InferExchange } from './exchange.ts';
import { isLast } from './infer-frames.ts';
import { TakeUpPlan } from './take-up-plan.ts';

export interface InferCallerComponents {
  /**
   * A stream to a linked peer, negotiated. Rejects with `peer_unreachable`, `protocol_refused`, `stream_broken`,
   * `queue_full`, or the signal's reason.
   */
  readonly open: (peer: PeerId, signal: AbortSignal) => Promise<PeerStream>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface PeerAsk {
  readonly peer: PeerId;
  /** As the peer is to see it: model name and digest, hops and time left are its own. */
  readonly request: InferenceRequest;
  /** The caller wants no more: the peer is told at once. */
  readonly signal: AbortSignal;
  /** The peer is held to be gone: nothing of it is waited for any more. */
  readonly lost: AbortSignal;
  /**
   * How long a broken stream is tried to be taken up before any output came; 0 if another replica can be asked.
   * After output it is inferLimits.resumeMs.
   */
  readonly patienceMs: number;
}

/**
 * The events of the answer as they come. Throws a MeshnodeError if it cannot be had: `body_too_large`, why no stream
 * could be opened, `stream_broken`, `frame_invalid`, or the reason of `signal` or `lost`. The peer is read from only
 * when the consumer asks for an event. Leaving early cancels the request; a read under way is for `signal` to end.
 */
export async function* askPeer(
  ask: PeerAsk,
  components: InferCallerComponents,
): AsyncGenerator<InferenceEvent, void, undefined> {
  const inquiry = new Inquiry(ask, components);
  try {
    while (true) {
      const event = await inquiry.next();
      yield event;
      if (isLast(event)) {
        inquiry.requireNoMore();
        return;
      }
    }
  } catch (thrown) {
    throw asMeshnodeError(thrown);
  } finally {
    await inquiry.close();
  }
}

/** What may be over by the next try to open a stream: a link that is down, or up and not admitted yet. */
const mayPass: ReadonlySet<ErrorCode> = new Set([
  'peer_unreachable',
  'protocol_refused',
  'stream_broken',
  'queue_full',
]);

/** One request on its way, over as many streams as it takes. */
class Inquiry {
  readonly #ask: PeerAsk;
  readonly #components: InferCallerComponents;
  readonly #resumeKey: Uint8Array;
  readonly #beganMs: number;
  /** Aborted when nothing is waited for any more. */
  readonly #over = new AbortController();
  readonly #onCancel = (): void => {
    this.#over.abort(asMeshnodeError(this.#ask.signal.reason, 'cancelled'));
    void this.#exchange?.cancel();
  };
  readonly #onLost = (): void => {
    this.#over.abort(asMeshnodeError(this.#ask.lost.reason, 'peer_unreachable'));
    // Should the peer come back it must not go on for nobody.
    void this.#exchange?.cancel();
  };
  #exchange: InferExchange | undefined;
  /** Absent before the first stream. */
  #plan: TakeUpPlan | undefined;
  /** What is wrong with what came after the last event. */
  #surplus: unknown;

  constructor(ask: PeerAsk, components: InferCallerComponents) {
    this.#ask = ask;
    this.#components = components;
    this.#resumeKey = components.random.bytes(frameLimits.resumeKeyBytes);
    this.#beganMs = components.clock.monotonicMs();
    heed(ask.signal, this.#onCancel);
    heed(ask.lost, this.#onLost);
  }

  async next(): Promise<InferenceEvent> {
    this.#exchange ??= await this.#begin();
    while (true) {
      try {
        const event = await this.#exchange.next(this.#over.signal);
        this.#received(event);
        return event;
      } catch (thrown) {
        this.#over.signal.throwIfAborted();
        this.#exchange.abort(thrown);
        this.#exchange = await this.#takeUp(asMeshnodeError(thrown));
      }
    }
  }

  /** Throws `frame_invalid` if anything is known to have come after the last event. */
  requireNoMore(): void {
    if (this.#surplus !== undefined) {
      throw this.#surplus;
    }
  }

  /** Nobody asks for another event. Cancels what is not complete, and whoever just leaves waits until that is said. */
  async close(): Promise<void> {
    this.#ask.signal.removeEventListener('abort', this.#onCancel);
    this.#ask.lost.removeEventListener('abort', this.#onLost);
    const told = this.#exchange?.cancel();
    if (!this.#over.signal.aborted) {
      await told;
    }
  }

  #received(event: InferenceEvent): void {
    this.#plan?.received(isOutput(event));
    if (isLast(event)) {
      this.#finish();
    }
  }

  /** Done before the event is handed on: the peer keeps the answer until it knows that it has arrived. */
  #finish(): void {
    try {
      this.#exchange?.finish();
    } catch (cause) {
      this.#surplus = cause;
      this.#exchange?.abort(cause);
    }
  }

  async #begin(): Promise<InferExchange> {
    this.#over.signal.throwIfAborted();
    const frames = this.#framesNow();
    const stream = await this.#open(this.#over.signal);
    const { clock } = this.#components;
    this.#plan = new TakeUpPlan(clock.monotonicMs(), this.#ask.patienceMs);
    return new InferExchange(stream, frames, clock);
  }

  async #open(signal: AbortSignal): Promise<PeerStream> {
    const opening = this.#components.open(this.#ask.peer, signal);
    try {
      return await raceSignal(opening, signal);
    } catch (cause) {
      opening.then(abandon, () => {});
      throw cause;
    }
  }

  /** What is asked for now: the request, for which less time is left, or the rest of its answer. */
  #framesNow(): InferFrame[] {
    const { request } = this.#ask;
    const spentMs = this.#components.clock.monotonicMs() - this.#beganMs;
    const asked =
      request.timeoutMs === undefined
        ? request
        : { ...request, timeoutMs: Math.max(1, request.timeoutMs - spentMs) };
    const framesHeld = this.#plan?.framesHeld ?? 0;
    return requestToFrames(asked, { resumeKey: this.#resumeKey, framesHeld });
  }

  /** A stream on which the answer goes on after `loss`. Throws `loss` if there is none in time. */
  async #takeUp(loss: MeshnodeError): Promise<InferExchange> {
    const { clock, log } = this.#components;
    const plan = this.#plan;
    const chance = loss.code === 'stream_broken' ? plan?.chanceAfterLoss(clock.monotonicMs()) : undefined;
    if (plan === undefined || chance === undefined) {
      throw loss;
    }
    const { peer, request } = this.#ask;
    log.debug({ err: loss, peer, requestId: request.requestId }, 'the stream of an answer broke');
    for (let tries = 0; tries < chance.tries; tries++) {
      await this.#pause(Math.min(plan.nextPauseMs(), chance.untilMs - clock.monotonicMs()));
      const leftMs = chance.untilMs - clock.monotonicMs();
      if (leftMs <= 0) {
        break;
      }
      const exchange = await this.#tryToOpen(leftMs);
      if (exchange !== undefined) {
        return exchange;
      }
    }
    throw loss;
  }

  async #pause(pauseMs: number): Promise<void> {
    if (pauseMs > 0) {
      await sleep(this.#components.clock, pauseMs, this.#over.signal);
    }
  }

  /** Undefined if no stream could be opened in this time, for a reason that may pass. */
  async #tryToOpen(timeMs: number): Promise<InferExchange | undefined> {
    const { clock } = this.#components;
    const late = new AbortController();
    const timer = clock.after(timeMs, () => late.abort());
    try {
      const stream = await this.#open(AbortSignal.any([this.#over.signal, late.signal]));
      return new InferExchange(stream, this.#framesNow(), clock);
    } catch (thrown) {
      this.#over.signal.throwIfAborted();
      if (late.signal.aborted || mayPass.has(asMeshnodeError(thrown).code)) {
        return undefined;
      }
      throw thrown;
    } finally {
      timer.cancel();
    }
  }
}

/** Calls `onAbort` when the signal aborts, at once if it has. */
function heed(signal: AbortSignal, onAbort: () => void): void {
  if (signal.aborted) {
    onAbort();
  } else {
    signal.addEventListener('abort', onAbort, { once: true });
  }
}

/** Gives up a stream on which nothing was said. */
function abandon(stream: PeerStream): void {
  stream.abort(new MeshnodeError('cancelled', 'The stream came too late to be used.'));
}
