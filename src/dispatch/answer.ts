// What dispatch gives to whoever asks (the API, and peers): where a request went, and its events.
import type { InferenceEvent } from '../inference/events.ts';
import type { InferenceRequest } from '../inference/request.ts';
import type { PeerId } from '../trust/keys.ts';
import type { ListedModel } from './model-directory.ts';

/** The one entrance for requests, local and remote alike. */
export interface Dispatch {
  /** Every model of the mesh that can be asked for now, ready or on its way. */
  models(): readonly ListedModel[];
  /**
   * Answers a request. Never throws: an unknown model, a full queue, a broken engine are the stream's
   * `error` event. Nothing starts before the events are read.
   */
  infer(request: InferenceRequest, options: DispatchOptions): Answer;
}

export interface DispatchOptions {
  /** Aborted when the caller is gone; the engine stops within engineLimits.cancelMs. */
  readonly signal: AbortSignal;
  /** Whether the caller reads events as they come: only then may it be held while a model loads. */
  readonly stream: boolean;
  /** The caller reads nothing before all has come: until then the answer may be begun anew elsewhere. */
  readonly whole?: WholeAnswer;
  /** The caller's own wish (`x-meshnode-wait`): wait this long for a loading model, stream or not. */
  readonly waitForLoadMs?: number;
  /** The peer that sent the request; absent: it came by this node's own API. */
  readonly caller?: PeerId;
}

export interface WholeAnswer {
  /** Hears of each piece when it comes, of beginnings that were lost as well; the events bring the answer at its end. */
  readonly onPiece: (event: InferenceEvent) => void;
}

export interface Answer {
  readonly events: AsyncIterable<InferenceEvent>;
  /** What is known of the route by now; complete from the first `accepted` event on. */
  route(): Route;
}

/** Where a request went and why: the content of the `x-meshnode-*` headers. */
export interface Route {
  /** Name or id of the node that answers. */
  readonly peer: string;
  /** Replicas asked so far, the one that answers included. */
  readonly attempts: number;
  readonly mode: 'solo' | 'pipeline' | 'experts';
  readonly where: 'local' | 'remote';
  /** One word, e.g. `only`, `least-loaded`, `affinity`. */
  readonly reason: string;
  readonly model: string;
  /** Fields of the engine's own in the request that the engine which answers does not heed, as far as it is known. */
  readonly ignored: readonly string[];
}
