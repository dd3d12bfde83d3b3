// Reads a /v1/chat/completions body.
import { z } from 'zod';
import { integerIn } from '../../inference/bounded-schemas.ts';
import type { ChatRequest, OutputConstraints } from '../../inference/request.ts';
import type { JsonValue } from '../../util/json.ts';
import { requestLimits as limits } from '../../util/limits/inference.ts';
import type { CallContext, SurfaceCall } from '../surface.ts';
import { messagesBody, readMessages } from './chat-messages.ts';
import { ChatStreamWriter } from './chat-stream.ts';
import { readFormat, readTools, toolShape } from './chat-tools.ts';
import { ChatWholeWriter } from './chat-whole.ts';
import { readEnvelope } from './envelope.ts';
import { sortOtherFields } from './fields.ts';
import { generationShape, readSampling, readStops, wantsUsage } from './generation-fields.ts';
import { defined, invalid, parseBody, requestObject, unsupported } from './parse.ts';

const chatShape = {
  ...generationShape,
  ...toolShape,
  messages: messagesBody,
  max_completion_tokens: integerIn(1, limits.maxTokens).optional(),
  parallel_tool_calls: z.boolean().optional(),
  logprobs: z.boolean().optional(),
  top_logprobs: integerIn(0, limits.topLogprobs).optional(),
  modalities: z.array(z.string()).max(8).optional(),
};
const chatBody = z.object(chatShape);
const knownFields: ReadonlySet<string> = new Set(Object.keys(chatShape));

type ChatBody = z.infer<typeof chatBody>;

export function readChat(json: JsonValue, context: CallContext): SurfaceCall {
  const object = requestObject(json);
  const { extra, ignored } = sortOtherFields(object, knownFields);
  const body = parseBody(chatBody, object);
  if (body.modalities?.some((modality) => modality !== 'text')) {
    throw unsupported(['modalities'], 'only text is generated');
  }
  const request: ChatRequest = {
    ...readEnvelope(body, context, extra),
    kind: 'chat',
    messages: readMessages(body.messages),
    sampling: readSampling(body),
    output: readOutput(body),
  };
  const style = {
    choices: request.output.choices,
    includeUsage: wantsUsage(body),
    legacyFunctions: body.tools === undefined && body.functions !== undefined,
  };
  return {
    requests: [request],
    ignored,
    whole: () => new ChatWholeWriter(style),
    ...(body.stream ? { stream: (head, send) => new ChatStreamWriter(head, style, send) } : {}),
  };
}

function readOutput(body: ChatBody): OutputConstraints {
  if (body.top_logprobs !== undefined && body.logprobs !== true) {
    throw invalid(['top_logprobs'], 'needs `logprobs` to be true');
  }
  return defined<OutputConstraints>({
    maxTokens: body.max_completion_tokens ?? body.max_tokens,
    stop: readStops(body),
    choices: body.n ?? 1,
    format: readFormat(body),
    ...readTools(body),
    parallelToolCalls: body.parallel_tool_calls ?? true,
    topLogprobs: body.logprobs ? (body.top_logprobs ?? 0) : undefined,
    echo: false,
  });
}
