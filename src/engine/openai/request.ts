// The contract's request as the JSON that OpenAI-speaking servers read. Pure; decides nothing about
// what the server can do.
import type {
  ChatMessage,
  ChatRequest,
  CompletionRequest,
  ContentPart,
  EmbeddingRequest,
  OutputConstraints,
  OutputFormat,
  RerankRequest,
  Sampling,
  TextOrTokens,
  Tool,
  ToolCall,
} from '../../inference/request.ts';
import type { JsonObject, JsonValue } from '../../util/json.ts';

/** A POST to the server: `path` is below its base URL. */
export interface ServerCall {
  readonly path: '/chat/completions' | '/completions' | '/embeddings' | '/rerank';
  readonly body: JsonObject;
}

/**
 * Fields of `extra` that are passed on: they shape sampling or the template of this one answer and
 * nothing else. Whatever chooses slots, files, adapters, limits or debug output is not here.
 */
export const harmlessExtraFields: ReadonlySet<string> = new Set([
  'typical_p',
  'tfs_z',
  'top_a',
  'top_n_sigma',
  'mirostat',
  'mirostat_tau',
  'mirostat_eta',
  'dynatemp_range',
  'dynatemp_exponent',
  'repeat_last_n',
  'repetition_penalty',
  'length_penalty',
  'no_repeat_ngram_size',
  'xtc_probability',
  'xtc_threshold',
  'dry_multiplier',
  'dry_base',
  'dry_allowed_length',
  'dry_penalty_last_n',
  'dry_sequence_breakers',
  'adaptive_target',
  'adaptive_decay',
  'samplers',
  'min_tokens',
  'min_keep',
  'chat_template_kwargs',
  'reasoning_effort',
  'reasoning_format',
  'thinking_budget_tokens',
  'verbosity',
]);

/** The call that streams the answer to a chat or a completion. */
export function generationCall(request: ChatRequest | CompletionRequest): ServerCall {
  const shared = {
    ...harmlessFields(request.extra),
    model: request.model.name,
    stream: true,
    stream_options: { include_usage: true },
    ...samplingFields(request.sampling),
    ...outputFields(request.output),
  };
  const { topLogprobs, echo } = request.output;
  if (request.kind === 'chat') {
    return {
      path: '/chat/completions',
      body: {
        ...shared,
        messages: chatMessagesJson(request.messages),
        ...toolFields(request.output),
        ...(topLogprobs === undefined ? {} : { logprobs: true, top_logprobs: topLogprobs }),
      },
    };
  }
  return {
    path: '/completions',
    body: {
      ...shared,
      prompt: inputJson(request.prompt),
      ...(echo ? { echo } : {}),
      ...(topLogprobs === undefined ? {} : { logprobs: topLogprobs }),
    },
  };
}

/** The call for the vectors of `inputs`, a part of the request's own. */
export function embeddingCall(request: EmbeddingRequest, inputs: readonly TextOrTokens[]): ServerCall {
  return {
    path: '/embeddings',
    body: {
      ...harmlessFields(request.extra),
      model: request.model.name,
      input: inputs.map(inputJson),
      encoding_format: 'float',
      ...withoutUndefined({ dimensions: request.dimensions }),
    },
  };
}

/** The call for the scores of every document, in the shape that Jina, Cohere and llama-server share. */
export function rerankCall(request: RerankRequest): ServerCall {
  return {
    path: '/rerank',
    body: {
      model: request.model.name,
      query: request.query,
      documents: [...request.documents],
      top_n: request.documents.length,
    },
  };
}

function harmlessFields(extra: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(extra).filter(([name]) => harmlessExtraFields.has(name)));
}

function samplingFields(sampling: Sampling): JsonObject {
  return withoutUndefined({
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    seed: sampling.seed,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    // llama.cpp's name and vLLM's: each server reads its own and passes over the other.
    repeat_penalty: sampling.repeatPenalty,
    repetition_penalty: sampling.repeatPenalty,
    logit_bias: sampling.logitBias === undefined ? undefined : Object.fromEntries(sampling.logitBias),
  });
}

function outputFields(output: OutputConstraints): JsonObject {
  return withoutUndefined({
    max_tokens: output.maxTokens,
    stop: output.stop.length === 0 ? undefined : [...output.stop],
    n: output.choices === 1 ? undefined : output.choices,
    response_format: responseFormat(output.format),
  });
}

function responseFormat(format: OutputFormat): JsonObject | undefined {
  switch (format.type) {
    case 'json':
      return { type: 'json_object' };
    case 'schema': {
      const { name, schema, strict } = format;
      return { type: 'json_schema', json_schema: { name, schema, strict } };
    }
    case 'text':
    case 'grammar':
      return undefined;
  }
}

/** Nothing at all without tools: several servers refuse `tool_choice` alone. */
function toolFields(output: OutputConstraints): JsonObject {
  if (output.tools.length === 0) {
    return {};
  }
  const { toolChoice } = output;
  return {
    tools: output.tools.map(toolJson),
    tool_choice:
      toolChoice.type === 'function'
        ? { type: 'function', function: { name: toolChoice.name } }
        : toolChoice.type,
    ...(output.parallelToolCalls ? {} : { parallel_tool_calls: false }),
  };
}

/** A tool as every OpenAI-speaking server reads it. */
export function toolJson(tool: Tool): JsonObject {
  const { name, description, parameters, strict } = tool;
  return { type: 'function', function: withoutUndefined({ name, description, parameters, strict }) };
}

/** Messages as every OpenAI-speaking server reads them. */
export function chatMessagesJson(messages: readonly ChatMessage[]): JsonObject[] {
  return messages.map(messageJson);
}

function messageJson(message: ChatMessage): JsonObject {
  const { role } = message;
  const content = contentJson(message.content);
  if (message.role === 'tool') {
    return { role, content, tool_call_id: message.toolCallId };
  }
  if (message.role === 'assistant') {
    const { name, reasoning, toolCalls = [] } = message;
    return withoutUndefined({
      role,
      content: message.content.length === 0 && toolCalls.length > 0 ? null : content,
      name,
      reasoning_content: reasoning,
      tool_calls: toolCalls.length === 0 ? undefined : toolCalls.map(toolCallJson),
    });
  }
  return withoutUndefined({ role, content, name: message.name });
}

function toolCallJson(call: ToolCall): JsonObject {
  return { id: call.id, type: 'function', function: { name: call.name, arguments: call.arguments } };
}

/** One text is sent as a string: not every server reads lists of parts. */
function contentJson(content: readonly ContentPart[]): JsonValue {
  const [first] = content;
  if (first === undefined) {
    return '';
  }
  return content.length === 1 && first.type === 'text' ? first.text : content.map(partJson);
}

function partJson(part: ContentPart): JsonObject {
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part.text };
    case 'image': {
      const { mediaType, base64 } = part.image;
      return { type: 'image_url', image_url: { url: `data:${mediaType};base64,${base64}` } };
    }
    case 'audio': {
      const { mediaType, base64 } = part.audio;
      return { type: 'input_audio', input_audio: { data: base64, format: audioFormat(mediaType) } };
    }
  }
}

/** OpenAI names `wav` and `mp3`, the media types are `audio/wav`, `audio/x-wav`, `audio/mpeg`, ... */
function audioFormat(mediaType: string): string {
  const subtype = mediaType.slice(mediaType.indexOf('/') + 1).replace(/^x-/, '');
  return subtype === 'mpeg' ? 'mp3' : subtype;
}

function inputJson(input: TextOrTokens): JsonValue {
  return typeof input === 'string' ? input : [...input];
}

function withoutUndefined(fields: Record<string, JsonValue | undefined>): JsonObject {
  const present: JsonObject = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) {
      present[name] = value;
    }
  }
  return present;
}
