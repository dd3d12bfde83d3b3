// The one stream of events that answers a request, from every engine to every surface. Only types and
// makers: event-rules.ts says which sequences are lawful.
import type { ErrorCode, MeshnodeError } from '../util/errors.ts';
import type { JsonObject } from '../util/json.ts';

/**
 * One event of an answer, in this order: `progress`* `accepted` (`progress` | `delta` | `vector` | `score` |
 * `finish`)* `usage`? then `end`; or `error` at any point. After `error` or `end` nothing comes, and a stream
 * without either is broken.
 */
export type InferenceEvent =
  | AcceptedEvent
  | ProgressEvent
  | DeltaEvent
  | VectorEvent
  | ScoreEvent
  | FinishEvent
  | UsageEvent
  | ErrorEvent
  | EndEvent;

/** An engine has taken the request: from here on work is being done for it. */
export interface AcceptedEvent {
  readonly type: 'accepted';
  /** The engine instance that answers, e.g. `embedded/demo`. */
  readonly replica: string;
  /** Prompt tokens that were already in the KV cache, if known this early. */
  readonly cachedTokens?: number;
}

/** Something long is going on. */
export interface ProgressEvent {
  readonly type: 'progress';
  readonly stage: 'queued' | 'loading' | 'prefill';
  /** 0 to 1, if known. */
  readonly fraction?: number;
}

/** The next piece of choice `index`. */
export interface DeltaEvent {
  readonly type: 'delta';
  readonly index: number;
  readonly text?: string;
  readonly reasoning?: string;
  readonly toolCall?: ToolCallDelta;
  /** Ids of exactly the tokens whose text this and earlier deltas hold. */
  readonly tokenIds?: readonly number[];
  readonly logprobs?: readonly TokenLogprob[];
  /** Fields of the engine's answer that the contract does not know. */
  readonly extra?: JsonObject;
}

/** A piece of tool call number `call`: `id` and `name` come once, with its first piece. */
export interface ToolCallDelta {
  readonly call: number;
  readonly id?: string;
  readonly name?: string;
  readonly arguments?: string;
}

/** A token with its natural-log probability. `bytes` are the token's own, which may be no whole character. */
export interface TokenLogprob {
  readonly token: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly top: ReadonlyArray<{ token: string; bytes: readonly number[]; logprob: number }>;
}

/** The embedding of input number `index`. */
export interface VectorEvent {
  readonly type: 'vector';
  readonly index: number;
  readonly values: Float32Array;
}

/** How well document number `index` answers the query; larger is better. */
export interface ScoreEvent {
  readonly type: 'score';
  readonly index: number;
  readonly score: number;
}

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter';

/** Choice `index` is complete. */
export interface FinishEvent {
  readonly type: 'finish';
  readonly index: number;
  readonly reason: FinishReason;
}

/** Tokens of the whole request, all choices together. `cached` of `prompt` were not computed again. */
export interface UsageEvent {
  readonly type: 'usage';
  readonly prompt: number;
  readonly cached: number;
  readonly completion: number;
}

/** Whether anything of the answer had been given when the error came. */
export type ErrorPhase = 'before-output' | 'during-output';

export interface ErrorEvent {
  readonly type: 'error';
  readonly code: ErrorCode;
  readonly message: string;
  /** Whether another replica may be asked. */
  readonly retryable: boolean;
  readonly phase: ErrorPhase;
  readonly param?: string;
  readonly retryAfterSeconds?: number;
  /** Machine-readable context that the caller may see. */
  readonly data?: Record<string, unknown>;
}

export interface EndEvent {
  readonly type: 'end';
}

/** The error event that tells of `error`. */
export function errorEvent(error: MeshnodeError, phase: ErrorPhase): ErrorEvent {
  const { param, retryAfterSeconds, data } = error.details;
  return {
    type: 'error',
    code: error.code,
    message: error.message,
    retryable: error.kind.retryable,
    phase,
    ...(param === undefined ? {} : { param }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    ...(data === undefined ? {} : { data }),
  };
}

/** Whether an event carries a piece of the answer. */
export function isOutput(event: InferenceEvent): boolean {
  return event.type === 'delta' || event.type === 'vector' || event.type === 'score';
}
