// Events of an answer as protobuf messages and back: shapes and enums only. Order, sizes and numbers are
// judged by EventRules, the same for an engine and for a peer.
import { isErrorCode, MeshnodeError } from '../util/errors.ts';
import { EnumNames } from '../wire/enum-names.ts';
import {
  type DeltaMessage,
  type ErrorMessage,
  type EventMessage,
  FinishReason,
  Stage,
  type TokenLogprobMessage,
  type ToolCallMessage,
} from '../wire/infer-messages.ts';
import type {
  DeltaEvent,
  ErrorEvent,
  FinishReason as FinishReasonName,
  InferenceEvent,
  ProgressEvent,
  TokenLogprob,
  ToolCallDelta,
} from './events.ts';
import { decodeJsonObject, encodeJson } from './json-bytes.ts';

type Alternative = TokenLogprob['top'][number];

const stages = new EnumNames<ProgressEvent['stage']>({
  queued: Stage.STAGE_QUEUED,
  loading: Stage.STAGE_LOADING,
  prefill: Stage.STAGE_PREFILL,
});

const finishReasons = new EnumNames<FinishReasonName>({
  stop: FinishReason.FINISH_REASON_STOP,
  length: FinishReason.FINISH_REASON_LENGTH,
  tool_calls: FinishReason.FINISH_REASON_TOOL_CALLS,
  content_filter: FinishReason.FINISH_REASON_CONTENT_FILTER,
});

/** The message of an event. Half of a surrogate pair in a text becomes U+FFFD: UTF-8 cannot carry it. */
export function messageOfEvent(event: InferenceEvent): EventMessage {
  switch (event.type) {
    case 'accepted':
      return { accepted: { replica: event.replica, cachedTokens: event.cachedTokens ?? null } };
    case 'progress':
      return { progress: { stage: stages.number(event.stage), fraction: event.fraction ?? null } };
    case 'delta':
      return { delta: messageOfDelta(event) };
    case 'vector':
      return { vector: { index: event.index, values: littleEndianBytes(event.values) } };
    case 'score':
      return { score: { index: event.index, score: event.score } };
    case 'finish':
      return { finish: { index: event.index, reason: finishReasons.number(event.reason) } };
    case 'usage':
      return { usage: { prompt: event.prompt, cached: event.cached, completion: event.completion } };
    case 'error':
      return { error: messageOfError(event) };
    case 'end':
      return { end: {} };
  }
}

/** The event in a message. Throws `frame_invalid` if there is none, or one of a later version. */
export function eventOfMessage(message: EventMessage): InferenceEvent {
  const { accepted, progress, delta, vector, score, finish, usage, error, end } = message;
  if (delta) {
    return deltaOfMessage(delta);
  }
  if (accepted) {
    const { replica, cachedTokens } = accepted;
    return { type: 'accepted', replica: replica ?? '', ...(cachedTokens == null ? {} : { cachedTokens }) };
  }
  if (progress) {
    const { stage, fraction } = progress;
    return { type: 'progress', stage: stages.name(stage ?? 0), ...(fraction == null ? {} : { fraction }) };
  }
  if (vector) {
    return { type: 'vector', index: vector.index ?? 0, values: floatsOf(vector.values ?? new Uint8Array()) };
  }
  if (score) {
    return { type: 'score', index: score.index ?? 0, score: score.score ?? 0 };
  }
  if (finish) {
    return { type: 'finish', index: finish.index ?? 0, reason: finishReasons.name(finish.reason ?? 0) };
  }
  if (usage) {
    const { prompt, cached, completion } = usage;
    return { type: 'usage', prompt: prompt ?? 0, cached: cached ?? 0, completion: completion ?? 0 };
  }
  if (error) {
    return errorOfMessage(error);
  }
  if (end) {
    return { type: 'end' };
  }
  throw new MeshnodeError('frame_invalid', 'An event frame holds no event that this version knows.');
}

function messageOfDelta(delta: DeltaEvent): DeltaMessage {
  const { index, text, reasoning, toolCall, tokenIds, logprobs, extra } = delta;
  return {
    index,
    text: text?.toWellFormed() ?? null,
    reasoning: reasoning?.toWellFormed() ?? null,
    toolCall: toolCall === undefined ? null : messageOfToolCall(toolCall),
    ...(tokenIds === undefined ? {} : { tokenIds: [...tokenIds] }),
    ...(logprobs === undefined ? {} : { logprobs: logprobs.map(messageOfLogprob) }),
    extra: extra === undefined ? null : encodeJson(extra),
  };
}

function deltaOfMessage({
  index,
  text,
  reasoning,
  toolCall,
  tokenIds,
  logprobs,
  extra,
}: DeltaMessage): DeltaEvent {
  return {
    type: 'delta',
    index: index ?? 0,
    ...(text == null ? {} : { text }),
    ...(reasoning == null ? {} : { reasoning }),
    ...(toolCall == null ? {} : { toolCall: toolCallOfMessage(toolCall) }),
    ...(tokenIds?.length ? { tokenIds } : {}),
    ...(logprobs?.length ? { logprobs: logprobs.map(logprobOfMessage) } : {}),
    ...(extra == null ? {} : { extra: decodeJsonObject(extra) }),
  };
}

function messageOfToolCall(piece: ToolCallDelta): ToolCallMessage {
  return {
    call: piece.call,
    id: piece.id?.toWellFormed() ?? null,
    name: piece.name?.toWellFormed() ?? null,
    arguments: piece.arguments?.toWellFormed() ?? null,
  };
}

function toolCallOfMessage({ call, id, name, arguments: text }: ToolCallMessage): ToolCallDelta {
  return {
    call: call ?? 0,
    ...(id == null ? {} : { id }),
    ...(name == null ? {} : { name }),
    ...(text == null ? {} : { arguments: text }),
  };
}

function messageOfLogprob(logprob: TokenLogprob): TokenLogprobMessage {
  return { ...messageOfAlternative(logprob), top: logprob.top.map(messageOfAlternative) };
}

function messageOfAlternative({ token, bytes, logprob }: Alternative): TokenLogprobMessage {
  return { token: token.toWellFormed(), bytes: Uint8Array.from(bytes), logprob };
}

function logprobOfMessage(message: TokenLogprobMessage): TokenLogprob {
  return { ...alternativeOfMessage(message), top: message.top?.map(alternativeOfMessage) ?? [] };
}

function alternativeOfMessage({ token, bytes, logprob }: TokenLogprobMessage): Alternative {
  return { token: token ?? '', bytes: [...(bytes ?? [])], logprob: logprob ?? 0 };
}

function messageOfError(error: ErrorEvent): ErrorMessage {
  return {
    code: error.code,
    message: error.message.toWellFormed(),
    retryable: error.retryable,
    duringOutput: error.phase === 'during-output',
    param: error.param?.toWellFormed() ?? null,
    retryAfterSeconds: error.retryAfterSeconds ?? null,
    data: error.data === undefined ? null : encodeJson(error.data),
  };
}

function errorOfMessage(message: ErrorMessage): ErrorEvent {
  const { code, param, retryAfterSeconds, data } = message;
  return {
    type: 'error',
    // A later version may have codes that this one has not.
    code: code && isErrorCode(code) ? code : 'engine_error',
    message: message.message ?? '',
    retryable: message.retryable ?? false,
    phase: message.duringOutput ? 'during-output' : 'before-output',
    ...(param == null ? {} : { param }),
    ...(retryAfterSeconds == null ? {} : { retryAfterSeconds }),
    ...(data == null ? {} : { data: decodeJsonObject(data) }),
  };
}

function littleEndianBytes(values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) {
    view.setFloat32(index * 4, value, true);
  }
  return bytes;
}

function floatsOf(bytes: Uint8Array): Float32Array {
  if (bytes.length % 4 !== 0) {
    throw new MeshnodeError('frame_invalid', 'A vector ends in the middle of a number.');
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(index * 4, true));
}
