// Makes an InferenceRequest from a value that came from a stranger: types, ranges, and what must agree with
// what. Every list, text and number is bounded by requestLimits; fields we do not know are left out.
import { z } from 'zod';
import { MeshnodeError } from '../util/errors.ts';
import type { JsonValue } from '../util/json.ts';
import { apiLimits } from '../util/limits/api.ts';
import { eventLimits, requestLimits as limits } from '../util/limits/inference.ts';
import {
  base64Of,
  integerIn,
  jsonObject,
  jsonOf,
  lineOf,
  listOf,
  numberIn,
  type Shape,
  textOf,
  tokenIds,
} from './bounded-schemas.ts';
import type {
  AssistantMessage,
  ChatMessage,
  ChatRequest,
  CompletionRequest,
  ContentPart,
  EmbeddingRequest,
  InferenceRequest,
  MediaData,
  ModelTarget,
  OutputConstraints,
  OutputFormat,
  RequestEnvelope,
  RerankRequest,
  Sampling,
  SystemMessage,
  TextOrTokens,
  Tool,
  ToolCall,
  ToolChoice,
  ToolMessage,
  TranscriptionRequest,
  UserMessage,
} from './request.ts';

/**
 * The request that `value` (JSON as parseJson gives it) describes. Throws `invalid_request` naming the first
 * field at fault, e.g. `messages[0].role`; a list is read no further than its first bad element.
 */
export function parseInferenceRequest(value: unknown): InferenceRequest {
  const parsed = requestSchema.safeParse(value);
  if (parsed.success) {
    return parsed.data;
  }
  const issue = parsed.error.issues[0];
  const param = z.core.toDotPath(issue?.path ?? []);
  const field = param === '' ? 'The request' : `The field \`${param}\``;
  const message = `${field} is not valid: ${issue?.message ?? 'unknown fault'}`;
  throw new MeshnodeError('invalid_request', message, param === '' ? {} : { param });
}

const text = textOf(limits.textLength);
const name = lineOf(limits.nameLength);
const toolCallId = textOf(limits.toolCallIdLength, 1);

const textOrTokens = z.union([text, tokenIds(limits.promptTokens)], {
  error: `a text of at most ${limits.textLength} characters or a list of at most ${limits.promptTokens} token ids is expected`,
}) satisfies z.ZodType<TextOrTokens>;

const model = z.object({
  name: lineOf(limits.modelNameLength),
  digest: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'a lower-case hex SHA-256 is expected')
    .exactOptional(),
} satisfies Shape<ModelTarget>);

const envelope = {
  requestId: z
    .string()
    .max(apiLimits.requestIdLength)
    .regex(/^[\x21-\x7e]+$/, 'printable ASCII without spaces is expected'),
  model,
  sessionKey: textOf(limits.sessionKeyLength, 1).exactOptional(),
  priority: z.enum(['interactive', 'batch']),
  timeoutMs: integerIn(1, limits.timeoutMs).exactOptional(),
  hops: integerIn(0, limits.hops),
  extra: jsonObject,
} satisfies Shape<RequestEnvelope>;

const sampling = z.object({
  temperature: numberIn(0, limits.temperature).exactOptional(),
  topP: numberIn(0, 1).exactOptional(),
  // 0 and -1 switch it off in llama.cpp's family.
  topK: integerIn(-1, limits.topK).exactOptional(),
  minP: numberIn(0, 1).exactOptional(),
  seed: z.int().exactOptional(),
  frequencyPenalty: numberIn(-limits.penalty, limits.penalty).exactOptional(),
  presencePenalty: numberIn(-limits.penalty, limits.penalty).exactOptional(),
  repeatPenalty: numberIn(0, limits.repeatPenalty).exactOptional(),
  logitBias: listOf(
    z.tuple([z.uint32(), numberIn(-limits.logitBiasSize, limits.logitBiasSize)]),
    limits.logitBias,
  ).exactOptional(),
} satisfies Shape<Sampling>);

const media = (kind: 'image' | 'audio') =>
  z.object({
    mediaType: z
      .string()
      .max(limits.mediaTypeLength)
      .regex(new RegExp(`^${kind}/[a-z0-9][a-z0-9!#$&^_.+-]*$`), `a media type of ${kind}/ is expected`),
    base64: base64Of(limits.textLength),
  } satisfies Shape<MediaData>);

const contentPart = z.discriminatedUnion('type', [
  z.object({ type: z.literal('text'), text }),
  z.object({ type: z.literal('image'), image: media('image') }),
  z.object({ type: z.literal('audio'), audio: media('audio') }),
]) satisfies z.ZodType<ContentPart>;

const content = listOf(contentPart, limits.partsPerMessage);

const toolCall = z.object({ id: toolCallId, name, arguments: text } satisfies Shape<ToolCall>);

const message = z.discriminatedUnion('role', [
  z.object({
    role: z.literal('system'),
    content,
    name: name.exactOptional(),
  } satisfies Shape<SystemMessage>),
  z.object({ role: z.literal('user'), content, name: name.exactOptional() } satisfies Shape<UserMessage>),
  z.object({
    role: z.literal('assistant'),
    content,
    reasoning: text.exactOptional(),
    toolCalls: listOf(toolCall, limits.toolCallsPerMessage, 1).exactOptional(),
    name: name.exactOptional(),
  } satisfies Shape<AssistantMessage>),
  z.object({ role: z.literal('tool'), content, toolCallId } satisfies Shape<ToolMessage>),
]) satisfies z.ZodType<ChatMessage>;

const tool = z.object({
  name,
  description: text.exactOptional(),
  parameters: jsonOf(jsonObject, limits.schemaBytes).exactOptional(),
  strict: z.boolean().exactOptional(),
} satisfies Shape<Tool>);

const toolChoice = z.discriminatedUnion('type', [
  z.object({ type: z.enum(['auto', 'none', 'required']) }),
  z.object({ type: z.literal('function'), name }),
]) satisfies z.ZodType<ToolChoice>;

const anyJson = z.custom<JsonValue>((value) => value !== undefined, {
  error: 'a JSON schema is expected',
  abort: true,
});

const format = z.discriminatedUnion('type', [
  z.object({ type: z.enum(['text', 'json']) }),
  z.object({
    type: z.literal('schema'),
    name,
    schema: jsonOf(anyJson, limits.schemaBytes),
    strict: z.boolean(),
  }),
  z.object({
    type: z.literal('grammar'),
    grammar: jsonOf(textOf(limits.schemaBytes, 1), limits.schemaBytes),
  }),
]) satisfies z.ZodType<OutputFormat>;

const output = z
  .object({
    maxTokens: integerIn(1, limits.maxTokens).exactOptional(),
    stop: listOf(textOf(limits.stopLength, 1), limits.stops),
    choices: integerIn(1, limits.choices),
    format,
    tools: listOf(tool, limits.tools),
    toolChoice,
    parallelToolCalls: z.boolean(),
    topLogprobs: integerIn(0, limits.topLogprobs).exactOptional(),
    echo: z.boolean(),
  } satisfies Shape<OutputConstraints>)
  .superRefine((constraints, context) => {
    const conflict = toolConflict(constraints);
    if (conflict !== undefined) {
      context.addIssue({ code: 'custom', ...conflict });
    }
  });

/** What of the tools contradicts itself or the output format. */
function toolConflict(constraints: OutputConstraints): { path: string[]; message: string } | undefined {
  const { tools, toolChoice: choice, format: asked } = constraints;
  const names = new Set(tools.map((offered) => offered.name));
  if (names.size < tools.length) {
    return { path: ['tools'], message: 'two tools have one name' };
  }
  if (choice.type === 'required' && tools.length === 0) {
    return { path: ['toolChoice'], message: 'a tool call is required, but no tools are offered' };
  }
  if (choice.type === 'function' && !names.has(choice.name)) {
    return { path: ['toolChoice', 'name'], message: 'no tool of this name is offered' };
  }
  // A JSON schema may say how the answer looks when no tool is called; a grammar rules every token.
  if (asked.type === 'grammar' && tools.length > 0) {
    return { path: ['format'], message: 'a grammar leaves the model no way to call the tools' };
  }
  return undefined;
}

const chat = z
  .object({
    ...envelope,
    kind: z.literal('chat'),
    messages: listOf(message, limits.messages, 1),
    sampling,
    output,
  } satisfies Shape<ChatRequest>)
  .refine((request) => !request.output.echo, {
    path: ['output', 'echo'],
    message: 'only a completion can give its prompt back',
  });

const completion = z
  .object({
    ...envelope,
    kind: z.literal('completion'),
    prompt: textOrTokens,
    sampling,
    output,
  } satisfies Shape<CompletionRequest>)
  .refine((request) => request.output.tools.length === 0, {
    path: ['output', 'tools'],
    message: 'only a chat can call tools',
  });

const embedding = z.object({
  ...envelope,
  kind: z.literal('embedding'),
  inputs: listOf(textOrTokens, limits.embeddingInputs, 1),
  dimensions: integerIn(1, eventLimits.vectorLength).exactOptional(),
} satisfies Shape<EmbeddingRequest>);

const rerank = z.object({
  ...envelope,
  kind: z.literal('rerank'),
  query: text,
  documents: listOf(text, limits.rerankDocuments, 1),
} satisfies Shape<RerankRequest>);

const transcription = z.object({
  ...envelope,
  kind: z.literal('transcription'),
  audio: media('audio'),
  language: name.exactOptional(),
  prompt: text.exactOptional(),
  sampling,
} satisfies Shape<TranscriptionRequest>);

const requestSchema = z.discriminatedUnion('kind', [
  chat,
  completion,
  embedding,
  rerank,
  transcription,
]) satisfies z.ZodType<InferenceRequest>;
