// The contract's requests in llama-server's own words: its `/completion`, which gives token ids, and which requests
// can go there. Pure.
import type {
  ChatRequest,
  CompletionRequest,
  OutputFormat,
  Sampling,
  TextOrTokens,
} from '../../inference/request.ts';
import type { JsonObject } from '../../util/json.ts';
import { assertBearableGrammar } from '../grammar-bounds.ts';
import { chatMessagesJson } from '../openai/request.ts';
import { samplingExtra, templateExtra } from './extra-fields.ts';
import { enforcedSchema } from './schema-check.ts';

/** A chat whose prompt can be made first and completed then: nothing in its answer has to be parsed out of the text. */
export function isPlainChat(request: ChatRequest, template: { readonly reasons: boolean }): boolean {
  const usesTools =
    request.output.tools.length > 0 ||
    request.messages.some(
      (message) => message.role === 'tool' || (message.role === 'assistant' && message.toolCalls),
    );
  const onlyText = request.messages.every((message) => message.content.every(({ type }) => type === 'text'));
  return !usesTools && onlyText && !template.reasons;
}

/** The body of `/apply-template`. */
export function templateBody(request: ChatRequest): JsonObject {
  return { ...templateExtra(request.extra), messages: chatMessagesJson(request.messages) };
}

export interface CompletionCallOptions {
  /** Answers asked for here: some of the request's. */
  readonly choices: number;
  /** Number of the first of them within the request: equal seeds must not give equal choices. */
  readonly firstChoice: number;
  readonly contextTokens: number;
}

/**
 * The body of `/completion`. Stop sequences are not in it: at the end of an answer the server drops text that might
 * have become one, so they are found on our side. Throws `invalid_request` or `invalid_schema`.
 */
export function completionBody(
  request: ChatRequest | CompletionRequest,
  prompt: TextOrTokens,
  { choices, firstChoice, contextTokens }: CompletionCallOptions,
): JsonObject {
  const { sampling, output } = request;
  return {
    ...samplingExtra(request.extra, contextTokens),
    prompt: typeof prompt === 'string' ? prompt : [...prompt],
    stream: true,
    return_tokens: true,
    return_progress: true,
    cache_prompt: true,
    n_cmpl: choices,
    ...samplingFields(sampling, firstChoice),
    ...formatFields(output.format),
    ...(output.maxTokens === undefined ? {} : { n_predict: output.maxTokens }),
    // None are given for 0: the chosen token's own is among the first.
    ...(output.topLogprobs === undefined ? {} : { n_probs: Math.max(1, output.topLogprobs) }),
  };
}

/** Seeds are 32-bit, and the last one means "any". */
const seedRange = 2 ** 32 - 1;

function samplingFields(sampling: Sampling, firstChoice: number): JsonObject {
  const { temperature, topP, topK, minP, seed, frequencyPenalty, presencePenalty, repeatPenalty, logitBias } =
    sampling;
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...(topK === undefined ? {} : { top_k: topK }),
    ...(minP === undefined ? {} : { min_p: minP }),
    ...(seed === undefined ? {} : { seed: (seed + firstChoice) % seedRange }),
    ...(frequencyPenalty === undefined ? {} : { frequency_penalty: frequencyPenalty }),
    ...(presencePenalty === undefined ? {} : { presence_penalty: presencePenalty }),
    ...(repeatPenalty === undefined ? {} : { repeat_penalty: repeatPenalty }),
    ...(logitBias === undefined ? {} : { logit_bias: logitBias.map(([token, bias]) => [token, bias]) }),
  };
}

/** How the output is constrained. Throws `invalid_schema` for what the server would drop or could not bear. */
export function formatFields(format: OutputFormat): JsonObject {
  switch (format.type) {
    case 'text':
      return {};
    case 'json':
      return { json_schema: { type: 'object' } };
    case 'schema':
      return { json_schema: enforcedSchema(format.schema) };
    case 'grammar':
      assertBearableGrammar(format.grammar);
      return { grammar: format.grammar };
  }
}
