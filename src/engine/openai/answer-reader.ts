// Chunks of an OpenAI-speaking server's answer as events of the contract. Pure; forgiving where servers
// differ (repeated ids, missing indices, several finish reasons), strict where a guess could be wrong.
import type { FinishReason, InferenceEvent, TokenLogprob, UsageEvent } from '../../inference/events.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { eventLimits, requestLimits } from '../../util/limits/inference.ts';
import { type Random, randomId } from '../../util/random.ts';
import { type FailureContext, inBandError, protocolError } from './errors.ts';

/** Finish reasons by every name in use; what is not here counts as `stop`. */
const finishReasons: Readonly<Record<string, FinishReason>> = {
  length: 'length',
  max_tokens: 'length',
  tool_calls: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
};

/** Finish reasons by which a server says that it gave up. */
const failedReasons: ReadonlySet<string> = new Set(['abort', 'error', 'cancelled']);

/** Fields of a delta that the contract knows, or that say nothing. */
const knownDeltaFields: ReadonlySet<string> = new Set([
  'role',
  'content',
  'reasoning',
  'reasoning_content',
  'tool_calls',
]);

export interface AnswerReaderOptions {
  /** Choices asked for. */
  readonly choices: number;
  /** For the ids of tool calls that the server gives none. */
  readonly random: Random;
  readonly context: FailureContext;
}

/** Reads the chunks of one answer. Finish reasons and usage wait for the end: a later chunk may correct them. */
export class AnswerReader {
  readonly #options: AnswerReaderOptions;
  readonly #choices = new Map<number, ChoiceReader>();
  #usage: UsageEvent | undefined;
  #pieces = 0;

  constructor(options: AnswerReaderOptions) {
    this.#options = options;
  }

  /** Deltas that carried text, reasoning or tool calls: about the generated tokens, if the server counts none. */
  get pieces(): number {
    return this.#pieces;
  }

  get usage(): UsageEvent | undefined {
    return this.#usage;
  }

  /** The events in one chunk, or in one whole answer. Throws the error that the chunk tells of, or is. */
  read(chunk: JsonValue): InferenceEvent[] {
    if (!isJsonObject(chunk)) {
      throw protocolError('sent a chunk that is no JSON object');
    }
    const error = inBandError(chunk, this.#options.context);
    if (error !== undefined) {
      throw error;
    }
    this.#usage = readUsage(chunk['usage']) ?? this.#usage;
    const choices = Array.isArray(chunk['choices']) ? chunk['choices'] : [];
    const events = choices.flatMap((choice) => this.#readChoice(choice));
    this.#pieces += events.length;
    return events;
  }

  /**
   * The events that close the answer. `said`: whether the server said that it was done. Throws `engine_lost`
   * if an answer is incomplete, `unsupported_parameter` if there are fewer answers than asked for.
   */
  end(said: boolean): InferenceEvent[] {
    const choices = [...this.#choices.entries()].sort(([one], [other]) => one - other);
    if (choices.length === 0 || choices.some(([, choice]) => choice.finish === undefined)) {
      throw said
        ? protocolError('ended its answer without a finish reason')
        : new MeshnodeError('engine_lost', 'The model server stopped in the middle of its answer.');
    }
    if (choices.length < this.#options.choices) {
      throw new MeshnodeError(
        'unsupported_parameter',
        `The model server gave ${choices.length} of ${this.#options.choices} choices.`,
        { param: 'n' },
      );
    }
    return [
      ...choices.flatMap(([, choice]) => choice.end()),
      ...(this.#usage === undefined ? [] : [this.#usage]),
    ];
  }

  /** The events that close one choice; undefined while it goes on. */
  endChoice(index: number): InferenceEvent[] | undefined {
    const choice = this.#choices.get(index);
    return choice?.finish === undefined ? undefined : choice.end();
  }

  #readChoice(json: JsonValue): InferenceEvent[] {
    if (!isJsonObject(json)) {
      throw protocolError('sent a choice that is no JSON object');
    }
    const index = json['index'] ?? 0;
    if (
      typeof index !== 'number' ||
      !Number.isInteger(index) ||
      index < 0 ||
      index >= this.#options.choices
    ) {
      throw protocolError('sent a choice that was not asked for');
    }
    let choice = this.#choices.get(index);
    if (choice === undefined) {
      choice = new ChoiceReader(index, this.#options.random);
      this.#choices.set(index, choice);
    }
    return choice.read(json);
  }
}

/** What is known of a tool call so far. */
interface OpenCall {
  readonly call: number;
  readonly id: string;
}

class ChoiceReader {
  readonly #index: number;
  readonly #random: Random;
  /** The newest call under each of the server's indices. */
  readonly #calls = new Map<number, OpenCall>();
  #callCount = 0;
  /** The first half of a surrogate pair whose second half is still to come. */
  #halfCharacter = '';
  finish: FinishReason | undefined;

  constructor(index: number, random: Random) {
    this.#index = index;
    this.#random = random;
  }

  /** A choice of a stream (`delta`), of a whole chat answer (`message`), or of a completion (`text`). */
  read(json: JsonObject): InferenceEvent[] {
    const delta = [json['delta'], json['message']].find(isJsonObject) ?? { content: json['text'] ?? null };
    const events = [...this.#readText(delta, json['logprobs']), ...this.#readToolCalls(delta['tool_calls'])];
    this.#readFinish(json['finish_reason']);
    return events;
  }

  end(): InferenceEvent[] {
    const reason = this.finish ?? 'stop';
    // Some servers say `stop` after tool calls; a client would not look for the calls then.
    const corrected = reason === 'stop' && this.#callCount > 0 ? 'tool_calls' : reason;
    return [{ type: 'finish', index: this.#index, reason: corrected }];
  }

  #readText(delta: JsonObject, logprobsJson: JsonValue | undefined): InferenceEvent[] {
    const text = this.#wholeCharacters(boundedText(delta['content']));
    const reasoning = boundedText(delta['reasoning_content']) || boundedText(delta['reasoning']);
    const logprobs = readLogprobs(logprobsJson);
    const extra = unknownFields(delta);
    if (text === '' && reasoning === '' && logprobs.length === 0 && extra === undefined) {
      return [];
    }
    return [
      {
        type: 'delta',
        index: this.#index,
        ...(text === '' ? {} : { text }),
        ...(reasoning === '' ? {} : { reasoning }),
        ...(logprobs.length === 0 ? {} : { logprobs }),
        ...(extra === undefined ? {} : { extra }),
      },
    ];
  }

  /** Holds half a character back until its other half has come. */
  #wholeCharacters(piece: string): string {
    if (piece === '') {
      return '';
    }
    const text = this.#halfCharacter + piece;
    const last = text.charCodeAt(text.length - 1);
    const cut = last >= 0xd800 && last <= 0xdbff ? text.length - 1 : text.length;
    this.#halfCharacter = text.slice(cut);
    return text.slice(0, cut).toWellFormed();
  }

  #readToolCalls(json: JsonValue | undefined): InferenceEvent[] {
    if (json === undefined || json === null) {
      return [];
    }
    if (!Array.isArray(json)) {
      throw protocolError('sent tool calls that are no list');
    }
    return json.flatMap((piece, position) => this.#readToolCall(piece, position));
  }

  #readToolCall(json: JsonValue, position: number): InferenceEvent[] {
    const called = isJsonObject(json) ? json['function'] : undefined;
    if (!isJsonObject(json) || !isJsonObject(called)) {
      throw protocolError('sent a tool call that is no function call');
    }
    const slot = typeof json['index'] === 'number' ? json['index'] : position;
    const id = shortText(json['id']);
    const name = shortText(called['name']);
    const args = argumentsText(called['arguments']);
    const open = this.#calls.get(slot);
    // Some servers give every call the index 0: another id together with a name is another call.
    if (open !== undefined && (name === '' || id === '' || id === open.id)) {
      return args === '' ? [] : [this.#callDelta(open, { arguments: args })];
    }
    if (name === '') {
      throw protocolError('sent a tool call without the name of a function');
    }
    const fresh = { call: this.#nextCall(), id: id || `call_${randomId(this.#random, 24)}` };
    this.#calls.set(slot, fresh);
    return [this.#callDelta(fresh, { id: fresh.id, name, ...(args === '' ? {} : { arguments: args }) })];
  }

  #nextCall(): number {
    if (this.#callCount === requestLimits.tools) {
      throw protocolError(`made more than ${requestLimits.tools} tool calls`);
    }
    return this.#callCount++;
  }

  #callDelta(open: OpenCall, fields: { id?: string; name?: string; arguments?: string }): InferenceEvent {
    return { type: 'delta', index: this.#index, toolCall: { call: open.call, ...fields } };
  }

  #readFinish(json: JsonValue | undefined): void {
    // An empty string is how some servers write `null`.
    if (typeof json !== 'string' || json === '') {
      return;
    }
    if (failedReasons.has(json)) {
      throw new MeshnodeError('engine_lost', 'The model server gave the answer up.');
    }
    this.finish = Object.hasOwn(finishReasons, json) ? finishReasons[json] : 'stop';
  }
}

/** `{prompt_tokens, completion_tokens, prompt_tokens_details: {cached_tokens}}`; undefined unless both counts are there. */
function readUsage(json: JsonValue | undefined): UsageEvent | undefined {
  if (!isJsonObject(json)) {
    return undefined;
  }
  const prompt = tokenCount(json['prompt_tokens']);
  const completion = tokenCount(json['completion_tokens']);
  if (prompt === undefined || completion === undefined) {
    return undefined;
  }
  const details = json['prompt_tokens_details'];
  const cached = isJsonObject(details) ? (tokenCount(details['cached_tokens']) ?? 0) : 0;
  return { type: 'usage', prompt, cached: Math.min(cached, prompt), completion };
}

/** A token count from outside, or undefined if it is none. */
export function tokenCount(json: JsonValue | undefined): number | undefined {
  return typeof json === 'number' && Number.isInteger(json) && json >= 0 && json <= eventLimits.usageTokens
    ? json
    : undefined;
}

/** Chat answers list `content`; older completion answers list tokens and their numbers side by side. */
function readLogprobs(json: JsonValue | undefined): TokenLogprob[] {
  if (!isJsonObject(json)) {
    return [];
  }
  return readLogprobEntries(Array.isArray(json['content']) ? json['content'] : parallelLogprobs(json));
}

/** Entries `{token, bytes, logprob, top_logprobs}`; what is none of them is left out. */
export function readLogprobEntries(entries: readonly JsonValue[]): TokenLogprob[] {
  return entries.flatMap((entry) => {
    const token = readLogprob(entry);
    if (token === undefined || !isJsonObject(entry)) {
      return [];
    }
    const top = Array.isArray(entry['top_logprobs']) ? entry['top_logprobs'] : [];
    return [
      {
        ...token,
        top: top
          .slice(0, requestLimits.topLogprobs)
          .map(readLogprob)
          .filter((one) => one !== undefined),
      },
    ];
  });
}

function readLogprob(json: JsonValue): Omit<TokenLogprob, 'top'> | undefined {
  if (!isJsonObject(json)) {
    return undefined;
  }
  const { token, logprob, bytes } = json;
  // JSON has no infinity, but 1e999 is one.
  if (typeof token !== 'string' || typeof logprob !== 'number' || !Number.isFinite(logprob)) {
    return undefined;
  }
  const known = Array.isArray(bytes) && bytes.every(isByte) ? bytes : [...Buffer.from(token)];
  return { token, logprob, bytes: known };
}

/** `{tokens: [..], token_logprobs: [..], top_logprobs: [{token: logprob}]}` in the shape of a chat's list. */
function parallelLogprobs(json: JsonObject): JsonValue[] {
  const { tokens, token_logprobs: logprobs, top_logprobs: tops } = json;
  if (!Array.isArray(tokens) || !Array.isArray(logprobs)) {
    return [];
  }
  return tokens.map((token, position) => {
    const top = Array.isArray(tops) ? tops[position] : undefined;
    return {
      token,
      logprob: logprobs[position] ?? null,
      top_logprobs: isJsonObject(top)
        ? Object.entries(top).map(([other, logprob]) => ({ token: other, logprob }))
        : [],
    };
  });
}

function isByte(json: JsonValue): json is number {
  return typeof json === 'number' && Number.isInteger(json) && json >= 0 && json <= 255;
}

function unknownFields(delta: JsonObject): JsonObject | undefined {
  const unknown = Object.entries(delta).filter(
    ([name, value]) => !knownDeltaFields.has(name) && value !== null && value !== '',
  );
  return unknown.length === 0 ? undefined : Object.fromEntries(unknown);
}

function boundedText(json: JsonValue | undefined): string {
  if (typeof json !== 'string') {
    return '';
  }
  if (json.length > eventLimits.deltaChars) {
    throw protocolError(`sent more than ${eventLimits.deltaChars} characters in one piece`);
  }
  return json;
}

function shortText(json: JsonValue | undefined): string {
  return typeof json === 'string' ? json.slice(0, requestLimits.modelNameLength) : '';
}

/** Some servers give the arguments as an object instead of its JSON text. */
function argumentsText(json: JsonValue | undefined): string {
  return isJsonObject(json) ? JSON.stringify(json) : boundedText(json);
}
