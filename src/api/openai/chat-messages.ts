// The messages of a chat body, deprecated forms included, as the contract's messages.
import { z } from 'zod';
import { base64Of, lineOf, listOf, textOf } from '../../inference/bounded-schemas.ts';
import type {
  AssistantMessage,
  ChatMessage,
  ContentPart,
  MediaData,
  SystemMessage,
  ToolCall,
  UserMessage,
} from '../../inference/request.ts';
import { requestLimits as limits } from '../../util/limits/inference.ts';
import { defined, invalid, missing, textOr, unsupported } from './parse.ts';

type Path = readonly PropertyKey[];

const text = textOf(limits.textLength);
const name = lineOf(limits.nameLength);
const toolCallId = textOf(limits.toolCallIdLength, 1);

const partBody = z.object({
  type: z.string(),
  text: text.nullish(),
  refusal: text.nullish(),
  image_url: textOr(
    text,
    z.object({ url: text }).transform(({ url }) => url),
  ).nullish(),
  input_audio: z.object({ data: base64Of(limits.textLength), format: z.string() }).nullish(),
});

const functionCallBody = z.object({ name, arguments: text });

const messageBody = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: textOr(text, listOf(partBody, limits.partsPerMessage)).nullish(),
  name: name.nullish(),
  refusal: text.nullish(),
  reasoning_content: text.nullish(),
  audio: z.unknown().optional(),
  tool_calls: listOf(
    z.object({ id: toolCallId, type: z.string().nullish(), function: functionCallBody.nullish() }),
    limits.toolCallsPerMessage,
  ).nullish(),
  function_call: functionCallBody.nullish(),
  tool_call_id: toolCallId.nullish(),
});

/** The `messages` of a body. */
export const messagesBody = listOf(messageBody, limits.messages, 1);

type PartBody = z.infer<typeof partBody>;
type MessageBody = z.infer<typeof messageBody>;

/** Throws `invalid_request` and `unsupported_parameter`, naming the part at fault. */
export function readMessages(messages: readonly MessageBody[]): ChatMessage[] {
  return messages.map((message, index) => readMessage(message, ['messages', index]));
}

function readMessage(message: MessageBody, path: Path): ChatMessage {
  switch (message.role) {
    case 'system':
    case 'developer':
      return withName<SystemMessage>({ role: 'system', content: readContent(message, path) }, message);
    case 'user':
      return withName<UserMessage>({ role: 'user', content: readContent(message, path) }, message);
    case 'assistant':
      return readAssistant(message, path);
    case 'tool':
      return {
        role: 'tool',
        content: readContent(message, path),
        toolCallId: message.tool_call_id ?? missing([...path, 'tool_call_id']),
      };
    case 'function':
      return {
        role: 'tool',
        content: readContent(message, path),
        toolCallId: functionCallId(message.name ?? missing([...path, 'name'])),
      };
  }
}

function readAssistant(message: MessageBody, path: Path): AssistantMessage {
  if (message.audio !== undefined && message.audio !== null) {
    throw unsupported([...path, 'audio'], 'earlier audio answers are not kept here');
  }
  const toolCalls = readToolCalls(message, path);
  const content = message.content ?? message.refusal ?? [];
  return defined<AssistantMessage>({
    role: 'assistant',
    content: readParts(content, [...path, 'content']),
    reasoning: message.reasoning_content ?? undefined,
    toolCalls: toolCalls.length === 0 ? undefined : toolCalls,
    name: message.name ?? undefined,
  });
}

function readToolCalls({ tool_calls, function_call }: MessageBody, path: Path): ToolCall[] {
  const calls = (tool_calls ?? []).map((call, index): ToolCall => {
    if (call.function === undefined || call.function === null) {
      throw unsupported([...path, 'tool_calls', index, 'type'], 'only calls of functions are known');
    }
    return { id: call.id, ...call.function };
  });
  return function_call === undefined || function_call === null
    ? calls
    : [...calls, { id: functionCallId(function_call.name), ...function_call }];
}

/** Calls of the deprecated form have no id: call and result share the function's name. */
function functionCallId(functionName: string): string {
  return `call_${functionName}`;
}

function withName<Message extends SystemMessage | UserMessage>(
  message: Message,
  { name: given }: MessageBody,
): Message {
  return given === undefined || given === null ? message : { ...message, name: given };
}

function readContent({ content }: MessageBody, path: Path): ContentPart[] {
  return readParts(content ?? missing([...path, 'content']), [...path, 'content']);
}

function readParts(content: string | readonly PartBody[], path: Path): ContentPart[] {
  return typeof content === 'string'
    ? [{ type: 'text', text: content }]
    : content.map((part, index) => readPart(part, [...path, index]));
}

function readPart(part: PartBody, path: Path): ContentPart {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text ?? missing([...path, 'text']) };
    case 'refusal':
      return { type: 'text', text: part.refusal ?? missing([...path, 'refusal']) };
    case 'image_url':
      return {
        type: 'image',
        image: readImage(part.image_url ?? missing([...path, 'image_url']), [...path, 'image_url', 'url']),
      };
    case 'input_audio':
      return { type: 'audio', audio: readAudio(part, path) };
    default:
      throw unsupported([...path, 'type'], 'only text, image_url and input_audio parts are read');
  }
}

/** `data:image/png;base64,...`: an image travels with the request. */
function readImage(url: string, path: Path): MediaData {
  if (!url.startsWith('data:')) {
    throw unsupported(path, 'images are sent as data: URLs; other addresses are not fetched');
  }
  const comma = url.indexOf(',');
  const [mediaType, ...parameters] = url.slice('data:'.length, Math.max(comma, 0)).toLowerCase().split(';');
  const base64 = imageBase64.safeParse(url.slice(comma + 1));
  if (
    mediaType === undefined ||
    !imageType.test(mediaType) ||
    parameters.at(-1) !== 'base64' ||
    !base64.success
  ) {
    throw invalid(path, 'data:image/...;base64, followed by base64 is expected');
  }
  return { mediaType, base64: base64.data };
}

const imageBase64 = base64Of(limits.textLength);
const imageType = /^image\/[a-z0-9][a-z0-9!#$&^_.+-]{0,120}$/;
const audioTypes = new Map([
  ['wav', 'audio/wav'],
  ['mp3', 'audio/mpeg'],
  ['flac', 'audio/flac'],
]);

function readAudio({ input_audio }: PartBody, path: Path): MediaData {
  const { data, format } = input_audio ?? missing([...path, 'input_audio']);
  const mediaType = audioTypes.get(format);
  if (mediaType === undefined) {
    throw invalid(
      [...path, 'input_audio', 'format'],
      `one of ${[...audioTypes.keys()].join(', ')} is expected`,
    );
  }
  return { mediaType, base64: data };
}
