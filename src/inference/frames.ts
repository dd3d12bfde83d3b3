// The frames of `/meshnode/infer/1`: the one writer and the one reader of their bytes. Which frame may follow
// which is for request-frames.ts (a request) and EventRules (its answer).
import { MeshnodeError } from '../util/errors.ts';
import { frameLimits } from '../util/limits/inference.ts';
import { decodeMessage, encodeDelimited, MessageReader } from '../wire/framing.ts';
import { Frame, type FrameMessage } from '../wire/infer-messages.ts';
import { halvesOf } from './delta-halves.ts';
import { eventOfMessage, messageOfEvent } from './event-codec.ts';
import type { InferenceEvent } from './events.ts';
import { headOfMessage, messageOfHead, type RequestHead } from './head-codec.ts';

export type InferFrame =
  | { readonly type: 'head'; readonly head: RequestHead }
  /** The next piece of the request's body, of at most frameLimits.bodyPieceBytes. */
  | { readonly type: 'body'; readonly bytes: Uint8Array }
  | { readonly type: 'event'; readonly event: InferenceEvent }
  /** Nobody waits for the answer any more. */
  | { readonly type: 'cancel' }
  /** The request is complete. An answer ends with its `end` or `error` event. */
  | { readonly type: 'end' };

/**
 * The bytes of a frame, its length before it. A delta too large for one frame is written as several. Throws
 * `internal` for any other frame above frameLimits.frameBytes: its writer should have kept the bounds.
 */
export function encodeFrame(frame: InferFrame): Uint8Array {
  if (frame.type === 'event') {
    const [first = new Uint8Array(), ...others] = encodeEventFrames(frame.event);
    return others.length === 0 ? first : Buffer.concat([first, ...others]);
  }
  return encodeWhole(frame) ?? tooLarge(frame);
}

/** The frames of an event, each with its length before it: several only for a delta too large for one. */
export function encodeEventFrames(event: InferenceEvent): Uint8Array[] {
  const frame: InferFrame = { type: 'event', event };
  const bytes = encodeWhole(frame);
  if (bytes !== undefined) {
    return [bytes];
  }
  const halves = event.type === 'delta' ? halvesOf(event) : undefined;
  return halves?.flatMap(encodeEventFrames) ?? tooLarge(frame);
}

/** The frame in a message without its length. Throws `frame_invalid`. */
export function decodeFrame(bytes: Uint8Array): InferFrame {
  const { head, body, event, cancel, end } = decodeMessage(Frame, bytes);
  if (event) {
    return { type: 'event', event: eventOfMessage(event) };
  }
  if (head) {
    return { type: 'head', head: headOfMessage(head) };
  }
  if (body) {
    return { type: 'body', bytes: body.bytes ?? new Uint8Array() };
  }
  if (cancel) {
    return { type: 'cancel' };
  }
  if (end) {
    return { type: 'end' };
  }
  throw new MeshnodeError('frame_invalid', 'A frame holds nothing that this version knows.');
}

/** Cuts a stream of bytes, in chunks of any size, into frames. */
export class FrameReader {
  readonly #messages = new MessageReader(frameLimits.frameBytes);

  /**
   * Gives every frame that `chunk` completes to `deliver`, in order; its bytes may share memory with the chunk.
   * Throws `frame_invalid`, and what `deliver` throws: the stream cannot be read on then.
   */
  feed(chunk: Uint8Array, deliver: (frame: InferFrame) => void): void {
    this.#messages.feed(chunk, (message) => deliver(decodeFrame(message)));
  }

  /** The stream has ended. Throws `frame_invalid` if it did so within a frame. */
  end(): void {
    this.#messages.end();
  }
}

/** Undefined if the frame is larger than one may be. */
function encodeWhole(frame: InferFrame): Uint8Array | undefined {
  return encodeDelimited(Frame, messageOfFrame(frame), frameLimits.frameBytes);
}

function tooLarge(frame: InferFrame): never {
  throw new MeshnodeError('internal', `A frame of type ${frame.type} is too large to be sent.`);
}

function messageOfFrame(frame: InferFrame): FrameMessage {
  switch (frame.type) {
    case 'head':
      return { head: messageOfHead(frame.head) };
    case 'body':
      return { body: { bytes: frame.bytes } };
    case 'event':
      return { event: messageOfEvent(frame.event) };
    case 'cancel':
      return { cancel: {} };
    case 'end':
      return { end: {} };
  }
}
