// The answering end of `/meshnode/infer/1`: takes requests of peers in, has them answered, and lets whoever lost its
// stream take its answer up. What is answered, and whether at all, is for whoever gives it `answer`.
import { type ErrorPhase, errorEvent, type InferenceEvent } from '../../inference/events.ts';
import { encodeFrame } from '../../inference/frames.ts';
import type { InferenceRequest } from '../../inference/request.ts';
import type { Network, PeerStream } from '../../net/network.ts';
import { protocols } from '../../trust/gate.ts';
import type { PeerId } from '../../trust/keys.ts';
import { withTimeout } from '../../util/async.ts';
import type { Clock } from '../../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';
import type { Logger } from '../../util/logging.ts';
import { BodyMemory } from './body-memory.ts';
import { InferFrames } from './infer-frames.ts';
import { PeerAnswers } from './peer-answers.ts';
import { receiveRequest, type TakenRequest } from './reception.ts';
import type { ServedAnswer } from './served-answer.ts';

export interface InferServerInit {
  readonly network: Pick<Network, 'handle'>;
  /**
   * The answer to a peer's request: lawful by EventRules, never throws. Work begins when it is read; once the signal
   * aborts nobody wants it any more.
   */
  readonly answer: (
    peer: PeerId,
    request: InferenceRequest,
    signal: AbortSignal,
  ) => AsyncIterable<InferenceEvent>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What the server holds at the moment. */
export interface InferServerFigures {
  /** Answers that are not over, or whose engine has not stopped yet. */
  readonly answers: number;
  /** Those of them that have lost their stream. */
  readonly detached: number;
  /** What is kept of their frames, bytes. */
  readonly keptBytes: number;
}

export class InferServer {
  readonly #init: InferServerInit;
  readonly #bodies = new BodyMemory();
  readonly #answers = new PeerAnswers();
  readonly #stopping = new AbortController();
  #takesRequests = true;

  constructor(init: InferServerInit) {
    this.#init = init;
    init.network.handle(protocols.infer, (stream) => this.#serve(stream), {
      streamsPerPeer: inferLimits.streamsPerPeer,
    });
  }

  figures(): InferServerFigures {
    const answers = this.#answers.all();
    return {
      answers: answers.length,
      detached: answers.filter(({ isDetached }) => isDetached).length,
      keptBytes: answers.reduce((sum, { keptBytes }) => sum + keptBytes, 0),
    };
  }

  /** Takes no request any more (`shutting_down`, another node can be asked). Resolves when those it has are over. */
  async drain(): Promise<void> {
    this.#takesRequests = false;
    await Promise.all(this.#answers.all().map(({ stopped }) => stopped));
  }

  /** Gives up every answer (`shutting_down`), and tells whoever still asks the same. Resolves when all have stopped. */
  async stop(): Promise<void> {
    const reason = new MeshnodeError('shutting_down', 'The node is stopping.');
    this.#stopping.abort(reason);
    const answers = this.#answers.all();
    for (const answer of answers) {
      answer.fail(reason);
    }
    const stopped = Promise.all(answers.map((answer) => answer.stopped));
    try {
      await withTimeout(this.#init.clock, inferLimits.cancelMs, stopped, () => reason);
    } catch {
      for (const answer of answers) {
        answer.cancel(reason);
      }
      await stopped;
    }
  }

  async #serve(stream: PeerStream): Promise<void> {
    const frames = new InferFrames(stream);
    const received = await this.#receive(frames);
    if (received === undefined) {
      return;
    }
    let answer: ServedAnswer;
    try {
      answer = this.#answerTo(stream.peer, received);
    } catch (thrown) {
      received.giveRoomBack();
      await this.#refuse(frames, thrown, received.framesHeld > 0 ? 'during-output' : 'before-output');
      return;
    }
    await answer.deliver(frames, received.framesHeld);
  }

  /** Undefined if there is nothing to answer, or it has been refused already. */
  async #receive(frames: InferFrames): Promise<TakenRequest | undefined> {
    try {
      return await receiveRequest(frames, {
        clock: this.#init.clock,
        bodies: this.#bodies,
        signal: this.#stopping.signal,
      });
    } catch (thrown) {
      if (frames.receivedBytes > 0 || this.#stopping.signal.aborted) {
        await this.#refuse(frames, thrown, 'before-output');
      } else {
        // Opened in advance by a pool, and not needed.
        frames.stream.abort(asMeshnodeError(thrown));
      }
      return undefined;
    }
  }

  /** The answer that is asked for, a new one or one that is under way. Throws if it cannot be had. */
  #answerTo(peer: PeerId, { request, resumeKey, framesHeld, giveRoomBack }: TakenRequest): ServedAnswer {
    const known = this.#answers.find(peer, resumeKey);
    if (known !== undefined) {
      giveRoomBack();
      requireKept(known, framesHeld);
      return known;
    }
    if (request === undefined) {
      throw noLongerKept();
    }
    if (!this.#takesRequests) {
      throw new MeshnodeError('shutting_down', 'The node takes no more requests.');
    }
    if (request.hops < 1) {
      throw new MeshnodeError('invalid_request', 'A request from a node has passed one at least.', {
        param: 'hops',
      });
    }
    const { answer, clock, log } = this.#init;
    const source = (signal: AbortSignal) => answer(peer, request, signal);
    const started = this.#answers.start(peer, resumeKey, { source, clock, log });
    void started.stopped.then(giveRoomBack);
    return started;
  }

  /** Says why, if the stream still can be written. It is ended behind this, and what still comes is dropped. */
  async #refuse(frames: InferFrames, thrown: unknown, phase: ErrorPhase): Promise<void> {
    const { stream } = frames;
    const error = asMeshnodeError(thrown);
    const level = error.code === 'internal' ? 'error' : 'debug';
    this.#init.log[level]({ err: error, peer: stream.peer }, 'a request of a peer was refused');
    await stream.write(encodeFrame({ type: 'event', event: errorEvent(error, phase) }));
  }
}

/** Throws if whoever has so many frames of the answer cannot be given the rest, in which case it is of no use. */
function requireKept(answer: ServedAnswer, framesHeld: number): void {
  switch (answer.standingOf(framesHeld)) {
    case 'kept':
      return;
    case 'dropped':
      answer.cancel(noLongerKept());
      throw noLongerKept();
    case 'unwritten':
      throw new MeshnodeError('frame_invalid', `Nobody can have ${framesHeld} frames of this answer.`);
  }
}

function noLongerKept(): MeshnodeError {
  return new MeshnodeError('stream_broken', 'The answer is no longer kept.');
}
