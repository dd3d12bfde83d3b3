// What an API surface is to the code that answers: a reader that makes a call of a body, and writers that
// make bytes of its events. Types only.
import type { DeltaEvent, FinishEvent, ScoreEvent, UsageEvent, VectorEvent } from '../inference/events.ts';
import type { InferenceRequest } from '../inference/request.ts';
import type { JsonValue } from '../util/json.ts';

/** What a reader knows beside the body. */
export interface CallContext {
  readonly requestId: string;
  /** The `x-session-id` header. */
  readonly sessionId?: string;
}

/** Reads a body. Throws `invalid_request`, `unsupported_parameter` or `forbidden_parameter` with `param`. */
export type SurfaceReader = (body: JsonValue, context: CallContext) => SurfaceCall;

/** A body understood: what to ask, and how to tell the answer. */
export interface SurfaceCall {
  /** Asked one after the other; their choices are numbered through. Nearly always one. */
  readonly requests: readonly [InferenceRequest, ...InferenceRequest[]];
  /** Names of fields that were dropped. */
  readonly ignored: readonly string[];
  /** There if the client asked for a stream. */
  readonly stream?: (head: AnswerHead, send: SendFrame) => StreamWriter;
  readonly whole: () => WholeWriter;
}

/** What all parts of one answer share. */
export interface AnswerHead {
  /** Random, without a surface's prefix. */
  readonly id: string;
  /** Wall clock, seconds. */
  readonly createdSeconds: number;
  readonly model: string;
}

/** An event that is part of an answer. */
export type AnswerEvent = DeltaEvent | FinishEvent | VectorEvent | ScoreEvent | UsageEvent;

/** Sends the payload of one server-sent event. */
export type SendFrame = (payload: string) => void;

/** Turns events into frames as they come. */
export interface StreamWriter {
  event(event: AnswerEvent): void;
  /** Every event has come, and no error: sends what closes the stream. */
  end(): void;
}

/** Gathers events into one JSON value. */
export interface WholeWriter {
  event(event: AnswerEvent): void;
  end(head: AnswerHead): object;
}
