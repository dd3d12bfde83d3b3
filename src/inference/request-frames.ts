// A request as frames and back: `head`, `body` as often as needed, `end`. The body is the JSON object of all
// that the head does not say; whoever takes up an answer sends none.
import { MeshnodeError } from '../util/errors.ts';
import { frameLimits } from '../util/limits/inference.ts';
import { ByteGatherer } from '../wire/byte-gatherer.ts';
import type { InferFrame } from './frames.ts';
import type { RequestHead } from './head-codec.ts';
import { decodeJsonObject, encodeJson } from './json-bytes.ts';
import type { InferenceRequest } from './request.ts';
import { parseInferenceRequest } from './validate.ts';

/** How a caller takes up its answer after a lost connection. */
export interface Resumption {
  /** frameLimits.resumeKeyBytes random bytes, the same for every try of one request. */
  readonly resumeKey: Uint8Array;
  /** Event frames of the answer that it already has: 0 at first. */
  readonly framesHeld: number;
}

export interface ReceivedRequest extends Resumption {
  /** Absent if an answer is taken up: whoever keeps it knows what was asked. */
  readonly request?: InferenceRequest;
}

/** All frames of a request, or of the take-up of its answer. Throws `body_too_large` above frameLimits.bodyBytes. */
export function requestToFrames(request: InferenceRequest, resumption: Resumption): InferFrame[] {
  const { requestId, model, kind, sessionKey, priority, timeoutMs, hops, ...rest } = request;
  const body = resumption.framesHeld > 0 ? new Uint8Array() : encodeJson(rest);
  if (body.length > frameLimits.bodyBytes) {
    throw new MeshnodeError('body_too_large', `The request has a body of ${body.length} bytes.`);
  }
  const head: RequestHead = {
    requestId,
    model,
    kind,
    ...(sessionKey === undefined ? {} : { sessionKey }),
    priority,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    hops,
    resumeKey: resumption.resumeKey,
    framesHeld: resumption.framesHeld,
    bodyBytes: body.length,
  };
  return [{ type: 'head', head }, ...bodyFrames(body), { type: 'end' }];
}

/** Puts a request together again from its frames. */
export class RequestAssembler {
  readonly #body = new ByteGatherer(frameLimits.bodyBytes);
  #head: RequestHead | undefined;
  #complete = false;

  /**
   * Takes the next frame; the request once its `end` is there. Throws `frame_invalid` for a frame out of order
   * or a body not as long as announced, and what parseInferenceRequest throws. `cancel` is the caller's to see.
   */
  add(frame: InferFrame): ReceivedRequest | undefined {
    if (frame.type === 'head' && this.#head === undefined) {
      this.#head = frame.head;
      return undefined;
    }
    if (this.#head === undefined || this.#complete) {
      throw outOfOrder(frame);
    }
    switch (frame.type) {
      case 'body':
        this.#addBody(this.#head, frame.bytes);
        return undefined;
      case 'end':
        this.#complete = true;
        return this.#assemble(this.#head);
      default:
        throw outOfOrder(frame);
    }
  }

  #addBody(head: RequestHead, bytes: Uint8Array): void {
    if (bytes.length === 0 || bytes.length > frameLimits.bodyPieceBytes) {
      throw new MeshnodeError('frame_invalid', `A body frame has ${bytes.length} bytes.`);
    }
    if (this.#body.length + bytes.length > head.bodyBytes) {
      throw new MeshnodeError('frame_invalid', 'A request body is longer than announced.');
    }
    this.#body.add(bytes);
  }

  #assemble({ resumeKey, framesHeld, bodyBytes, ...envelope }: RequestHead): ReceivedRequest {
    if (this.#body.length !== bodyBytes) {
      throw new MeshnodeError('frame_invalid', 'A request body is shorter than announced.');
    }
    if (framesHeld > 0) {
      return { resumeKey, framesHeld };
    }
    const body = decodeJsonObject(this.#body.take());
    const repeated = headFields.find((field) => Object.hasOwn(body, field));
    if (repeated !== undefined) {
      throw new MeshnodeError('frame_invalid', `A request body says \`${repeated}\`, which is for the head.`);
    }
    return { request: parseInferenceRequest({ ...body, ...envelope }), resumeKey, framesHeld };
  }
}

/** Fields of a request that travel in its head, and only there. */
const headFields = ['requestId', 'model', 'kind', 'sessionKey', 'priority', 'timeoutMs', 'hops'] as const;

function* bodyFrames(body: Uint8Array): Generator<InferFrame, void, undefined> {
  for (let start = 0; start < body.length; start += frameLimits.bodyPieceBytes) {
    yield { type: 'body', bytes: body.subarray(start, start + frameLimits.bodyPieceBytes) };
  }
}

function outOfOrder(frame: InferFrame): MeshnodeError {
  return new MeshnodeError('frame_invalid', `A ${frame.type} frame is out of order in a request.`);
}
