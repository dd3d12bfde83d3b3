// What the HTTP double says: OpenAI's JSON for chats, completions, embeddings and rankings, whole or as
// frames of a stream. Pure; when and how it is sent is the server's affair.
import { isJsonObject, type JsonObject, type JsonValue } from '../../src/util/json.ts';
import {
  detokenizeDouble,
  generateText,
  instanceOfSchema,
  scoreOf,
  type TextPlan,
  tokenizeDouble,
  vectorOf,
} from './double-text.ts';
import type { Frame } from './token-pacer.ts';

export interface Generation {
  readonly route: 'chat' | 'completion';
  readonly body: JsonObject;
  readonly model: string;
  /** Token ids of the prompt, and how many of them were cached. */
  readonly promptIds: readonly number[];
  readonly cached: number;
  /** Tokens that prompt and answer may have together. */
  readonly contextTokens: number;
  /** The id and the name of a tool call come with each of its pieces. */
  readonly repeatToolIds: boolean;
  /** Counts are given, if the request asks for them. */
  readonly countsUsage: boolean;
}

/** Characters of a tool call's arguments in one piece. */
const argumentChars = 6;

/** The prompt's text of a chat (every message's, in order) or a completion. */
export function promptText(body: JsonObject): string {
  const { prompt, messages } = body;
  if (Array.isArray(messages)) {
    return messages
      .map((message) => (isJsonObject(message) ? contentText(message['content']) : ''))
      .join('\n');
  }
  return inputText(prompt ?? '');
}

/** An input as text: a string, or token ids. */
export function inputText(input: JsonValue): string {
  return Array.isArray(input) ? detokenizeDouble(input.map(Number)) : String(input);
}

function contentText(content: JsonValue | undefined): string {
  if (Array.isArray(content)) {
    return content.map((part) => (isJsonObject(part) ? String(part['text'] ?? '[media]') : '')).join('');
  }
  return String(content ?? '');
}

/** The frames of a streamed answer, up to but without `[DONE]`. */
export function* streamFrames(generation: Generation): Generator<Frame, void, undefined> {
  const counts = { completion: 0 };
  const choices = Array.from({ length: choiceCount(generation) }, (_, index) =>
    choiceFrames(generation, index, counts),
  );
  const open = new Set(choices);
  while (open.size > 0) {
    for (const choice of open) {
      const { value, done } = choice.next();
      if (done) {
        open.delete(choice);
      } else {
        yield value;
      }
    }
  }
  const options = generation.body['stream_options'];
  if (generation.countsUsage && isJsonObject(options) && options['include_usage'] === true) {
    yield frame({
      ...envelope(generation, true),
      choices: [],
      usage: usageJson(generation, counts.completion),
    });
  }
}

/** The whole answer of a request that does not stream. */
export function wholeAnswer(generation: Generation): JsonObject {
  const counts = { completion: 0 };
  const choices = Array.from({ length: choiceCount(generation) }, (_, index) =>
    wholeChoice(generation, index, counts),
  );
  return {
    ...envelope(generation, false),
    choices,
    ...(generation.countsUsage ? { usage: usageJson(generation, counts.completion) } : {}),
  };
}

export function embeddingsAnswer(body: JsonObject, dimensions: number): JsonObject {
  const inputs = Array.isArray(body['input']) ? body['input'] : [body['input'] ?? ''];
  const texts = inputs.map(inputText);
  return {
    object: 'list',
    data: texts.map((text, index) => ({
      object: 'embedding',
      index,
      embedding: vectorOf(text, typeof body['dimensions'] === 'number' ? body['dimensions'] : dimensions),
    })),
    usage: listUsage(texts),
  };
}

/** Best first, as real servers answer. */
export function rerankAnswer(body: JsonObject): JsonObject {
  const query = String(body['query']);
  const documents = Array.isArray(body['documents']) ? body['documents'].map(String) : [];
  const results = documents.map((document, index) => ({ index, relevance_score: scoreOf(query, document) }));
  results.sort((one, other) => other.relevance_score - one.relevance_score);
  return { results, usage: listUsage([query, ...documents]) };
}

function listUsage(texts: readonly string[]): JsonObject {
  const tokens = texts.reduce((sum, text) => sum + tokenizeDouble(text).length, 0);
  return { prompt_tokens: tokens, total_tokens: tokens };
}

function* choiceFrames(
  generation: Generation,
  index: number,
  counts: { completion: number },
): Generator<Frame, void, undefined> {
  const { route } = generation;
  const chunk = (fields: JsonObject, finish: string | null, token: boolean): Frame => {
    const piece = route === 'chat' ? { delta: fields } : { ...fields };
    return frame(
      { ...envelope(generation, true), choices: [{ index, finish_reason: finish, ...liftLogprobs(piece) }] },
      token,
    );
  };
  if (route === 'chat') {
    yield chunk({ role: 'assistant', content: null }, null, false);
  }
  const tool = chosenTool(generation.body);
  if (tool !== undefined) {
    for (const call of toolCallPieces(tool, generation.repeatToolIds)) {
      counts.completion++;
      yield chunk({ tool_calls: [call] }, null, true);
    }
    yield chunk({}, 'tool_calls', false);
    return;
  }
  const pieces = generateText(textPlan(generation, index));
  while (true) {
    const { value, done } = pieces.next();
    if (done) {
      yield chunk(route === 'chat' ? {} : { text: '' }, value, false);
      return;
    }
    counts.completion += value.generated;
    if (value.text !== '') {
      const text = route === 'chat' ? { content: value.text } : { text: value.text };
      yield chunk({ ...text, ...logprobsJson(generation.body, route, value.ids) }, null, true);
    }
  }
}

/** `logprobs` belongs beside a chat's delta, not into it. */
function liftLogprobs(piece: JsonObject): JsonObject {
  const delta = piece['delta'];
  if (!isJsonObject(delta) || delta['logprobs'] === undefined) {
    return piece;
  }
  const { logprobs, ...rest } = delta;
  return { delta: rest, logprobs };
}

function wholeChoice(generation: Generation, index: number, counts: { completion: number }): JsonObject {
  const pieces = generateText(textPlan(generation, index));
  let text = '';
  while (true) {
    const { value, done } = pieces.next();
    if (done) {
      const answer =
        generation.route === 'chat' ? { message: { role: 'assistant', content: text } } : { text };
      return { index, finish_reason: value, ...answer };
    }
    counts.completion += value.generated;
    text += value.text;
  }
}

function textPlan({ body, promptIds, contextTokens }: Generation, index: number): TextPlan {
  const { temperature, seed, max_tokens: maxTokens, stop, response_format: format } = body;
  const room = contextTokens - promptIds.length;
  return {
    prompt: promptText(body),
    // Greedy answers do not depend on the seed; choices of one request differ.
    seed: (temperature === 0 ? 0 : Number(seed ?? 0)) + index * 7919,
    maxTokens: Math.min(typeof maxTokens === 'number' ? maxTokens : Number.POSITIVE_INFINITY, room),
    stop: Array.isArray(stop) ? stop.map(String) : [],
    schema: schemaOf(format),
  };
}

function schemaOf(format: JsonValue | undefined): JsonValue | undefined {
  if (!isJsonObject(format)) {
    return undefined;
  }
  const named = format['json_schema'];
  return isJsonObject(named) ? named['schema'] : { type: 'object' };
}

/** The first tool, if the request forces one or its prompt says "call". */
function chosenTool(body: JsonObject): JsonObject | undefined {
  const tool = Array.isArray(body['tools']) ? body['tools'][0] : undefined;
  const called = isJsonObject(tool) ? tool['function'] : undefined;
  const forced = body['tool_choice'] === 'required' || isJsonObject(body['tool_choice']);
  const wanted = forced || (body['tool_choice'] !== 'none' && /\bcall\b/.test(promptText(body)));
  return wanted && isJsonObject(called) ? called : undefined;
}

function* toolCallPieces(tool: JsonObject, repeatIds: boolean): Generator<JsonObject, void, undefined> {
  const head = { id: 'call_double', type: 'function' };
  const name = tool['name'] ?? '';
  const json = JSON.stringify(instanceOfSchema(tool['parameters'] ?? { type: 'object' }));
  yield { index: 0, ...head, function: { name, arguments: '' } };
  for (let start = 0; start < json.length; start += argumentChars) {
    const args = json.slice(start, start + argumentChars);
    yield repeatIds
      ? { index: 0, ...head, function: { name, arguments: args } }
      : { index: 0, function: { arguments: args } };
  }
}

function logprobsJson(body: JsonObject, route: 'chat' | 'completion', ids: readonly number[]): JsonObject {
  const wanted = route === 'chat' ? body['top_logprobs'] : body['logprobs'];
  if (typeof wanted !== 'number') {
    return {};
  }
  const tokens = ids.map((id) => detokenizeDouble([id]));
  const alternatives = (token: string): Array<[string, number]> =>
    Array.from({ length: wanted }, (_, rank) => [rank === 0 ? token : ` other${rank}`, -0.25 * (rank + 1)]);
  if (route === 'completion') {
    return {
      logprobs: {
        tokens,
        token_logprobs: tokens.map(() => -0.25),
        top_logprobs: tokens.map((token) => Object.fromEntries(alternatives(token))),
      },
    };
  }
  const content = tokens.map((token) => ({
    token,
    logprob: -0.25,
    bytes: [...Buffer.from(token)],
    top_logprobs: alternatives(token).map(([other, logprob]) => ({ token: other, logprob, bytes: null })),
  }));
  return { logprobs: { content } };
}

function usageJson({ promptIds, cached }: Generation, completion: number): JsonObject {
  return {
    prompt_tokens: promptIds.length,
    completion_tokens: completion,
    total_tokens: promptIds.length + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

function choiceCount({ body }: Generation): number {
  return typeof body['n'] === 'number' ? body['n'] : 1;
}

function envelope({ route, model }: Generation, stream: boolean): JsonObject {
  const object =
    route === 'completion' ? 'text_completion' : stream ? 'chat.completion.chunk' : 'chat.completion';
  return { id: 'double-1', object, created: 1_700_000_000, model };
}

function frame(json: JsonObject, token = false): Frame {
  return { bytes: `data: ${JSON.stringify(json)}\n\n`, token };
}
