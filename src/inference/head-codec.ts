// The head of a request as a protobuf message and back. What the request itself says of its fields is
// checked by validate.ts, once its body is there.
import { MeshnodeError } from '../util/errors.ts';
import { frameLimits } from '../util/limits/inference.ts';
import { EnumNames } from '../wire/enum-names.ts';
import { type HeadMessage, Kind, Priority } from '../wire/infer-messages.ts';
import type { InferenceKind, Priority as PriorityName, RequestEnvelope } from './request.ts';

/** What a node has to know of a request before its body. */
export interface RequestHead extends Omit<RequestEnvelope, 'extra'> {
  readonly kind: InferenceKind;
  /** frameLimits.resumeKeyBytes random bytes; whoever shows them may take up the answer after a lost connection. */
  readonly resumeKey: Uint8Array;
  /** Event frames of the answer that the caller already has: 0 unless it takes up an answer. */
  readonly framesHeld: number;
  /** Bytes of all body frames together: 0 when an answer is taken up. */
  readonly bodyBytes: number;
}

const kinds = new EnumNames<InferenceKind>({
  chat: Kind.KIND_CHAT,
  completion: Kind.KIND_COMPLETION,
  embedding: Kind.KIND_EMBEDDING,
  rerank: Kind.KIND_RERANK,
  transcription: Kind.KIND_TRANSCRIPTION,
});

const priorities = new EnumNames<PriorityName>({
  interactive: Priority.PRIORITY_INTERACTIVE,
  batch: Priority.PRIORITY_BATCH,
});

export function messageOfHead(head: RequestHead): HeadMessage {
  return {
    requestId: head.requestId,
    model: head.model.name,
    digest: head.model.digest ?? null,
    kind: kinds.number(head.kind),
    sessionKey: head.sessionKey?.toWellFormed() ?? null,
    priority: priorities.number(head.priority),
    // What is left of a deadline has a fraction; a last millisecond must not become none.
    timeoutMs: head.timeoutMs === undefined ? null : Math.ceil(head.timeoutMs),
    hops: head.hops,
    resumeKey: head.resumeKey,
    framesHeld: head.framesHeld,
    bodyBytes: head.bodyBytes,
  };
}

/** Throws `frame_invalid` if the key, the body's length or an enum is not possible. */
export function headOfMessage(message: HeadMessage): RequestHead {
  const { digest, sessionKey, timeoutMs, resumeKey, framesHeld, bodyBytes } = message;
  if (resumeKey?.length !== frameLimits.resumeKeyBytes) {
    throw new MeshnodeError('frame_invalid', `A resume key has ${frameLimits.resumeKeyBytes} bytes.`);
  }
  if (framesHeld && bodyBytes) {
    throw new MeshnodeError('frame_invalid', 'Whoever takes up an answer sends no body.');
  }
  if ((bodyBytes ?? 0) > frameLimits.bodyBytes) {
    throw new MeshnodeError('body_too_large', `A request body of ${bodyBytes} bytes is announced.`);
  }
  return {
    requestId: message.requestId ?? '',
    model: { name: message.model ?? '', ...(digest == null ? {} : { digest }) },
    kind: kinds.name(message.kind ?? 0),
    ...(sessionKey == null ? {} : { sessionKey }),
    priority: priorities.name(message.priority ?? 0),
    ...(timeoutMs == null ? {} : { timeoutMs }),
    hops: message.hops ?? 0,
    // A copy: the key is kept for as long as the answer, the chunk it came in is not.
    resumeKey: Uint8Array.from(resumeKey),
    framesHeld: framesHeld ?? 0,
    bodyBytes: bodyBytes ?? 0,
  };
}
