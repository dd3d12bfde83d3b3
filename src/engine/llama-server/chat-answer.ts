// An answer by llama-server's chat route, which takes tool calls and reasoning apart and gives no token ids. Stop
// sequences are found on our side, as everywhere.
import type { DeltaEvent, InferenceEvent } from '../../inference/events.ts';
import type { ChatRequest } from '../../inference/request.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { Random } from '../../util/random.ts';
import { AnswerReader, tokenCount } from '../openai/answer-reader.ts';
import { readAnswer } from '../openai/answer-stream.ts';
import { generationCall } from '../openai/request.ts';
import { StopDetector } from '../stop-detector.ts';
import type { AnswerOptions } from './completion-answer.ts';
import { samplingExtra, templateExtra } from './extra-fields.ts';
import { assertBearableTools } from './schema-tools.ts';
import { formatFields } from './server-calls.ts';

/** The events of one group of choices, numbered from 0. Throws what went wrong, or the signal's reason. */
export async function* chatAnswer(
  request: ChatRequest,
  options: AnswerOptions & { readonly random: Random },
): AsyncGenerator<InferenceEvent, void, undefined> {
  const { run, replica, choices, random } = options;
  const enough = new AbortController();
  const signal = AbortSignal.any([options.signal, enough.signal]);
  const path = '/v1/chat/completions';
  const reader = new AnswerReader({ choices, random, context: { path, apiKey: run.client.apiKey } });
  const cuts = new Cuts(request, choices);
  const body = chatBody(request, options);
  const silenceMs = engineLimits.stallMs;
  const parts = readAnswer(run.client.stream({ method: 'POST', path, body, signal, silenceMs }));
  let accepted = false;
  let said = false;
  try {
    for await (const part of parts) {
      if (part.done) {
        said = true;
        break;
      }
      const events = reader.read(part.chunk);
      if (!accepted) {
        accepted = true;
        yield { type: 'accepted', replica };
      }
      yield* cuts.take(events, part.chunk);
      if (cuts.areOver(reader)) {
        break;
      }
    }
  } finally {
    enough.abort(new MeshnodeError('cancelled', 'The answer is complete.'));
  }
  yield* cuts.haveCut ? cuts.endEarly(reader) : cuts.end(reader.end(said));
}

/**
 * Throws for tools that the server could not bear, and for log probabilities beside tools: it has none while it
 * streams, and says so as if the caller had asked to stream.
 */
export function assertToolsPossible({ output }: ChatRequest): void {
  if (output.tools.length > 0 && output.topLogprobs !== undefined) {
    throw new MeshnodeError('unsupported_parameter', 'This engine gives no log probabilities beside tools.', {
      param: 'logprobs',
    });
  }
  assertBearableTools(output.tools);
}

function chatBody(request: ChatRequest, { choices, firstChoice, contextTokens }: AnswerOptions): JsonObject {
  const { topLogprobs, format } = request.output;
  const constraints = formatFields(format);
  const schema = constraints['json_schema'];
  const { body } = generationCall({
    ...request,
    extra: { ...samplingExtra(request.extra, contextTokens), ...templateExtra(request.extra) },
    sampling: seeded(request, firstChoice),
    output: {
      ...request.output,
      ...{ choices, stop: [] },
      ...(format.type === 'schema' && schema !== undefined ? { format: { ...format, schema } } : {}),
    },
  });
  return {
    ...body,
    ...(format.type === 'grammar' ? constraints : {}),
    // None are given for 0: the chosen token's own is among the first.
    ...(topLogprobs === undefined ? {} : { top_logprobs: Math.max(1, topLogprobs) }),
    // What is broken off at a stop sequence has no last chunk that counts.
    ...(request.output.stop.length > 0 ? { timings_per_token: true } : {}),
  };
}

function seeded({ sampling }: ChatRequest, firstChoice: number): ChatRequest['sampling'] {
  return sampling.seed === undefined
    ? sampling
    : { ...sampling, seed: (sampling.seed + firstChoice) % (2 ** 32 - 1) };
}

/** What is left of the choices when each is cut before a stop sequence. */
class Cuts {
  readonly #choices: readonly Cut[];

  constructor({ output }: ChatRequest, choices: number) {
    this.#choices = Array.from({ length: choices }, () => new Cut(output.stop, output.topLogprobs));
  }

  /** Whether the server is no longer wanted to go on with any of them, as it would. */
  get haveCut(): boolean {
    return this.#choices.some(({ stopped }) => stopped);
  }

  /** Some were cut, and the others have ended by themselves. */
  areOver(reader: AnswerReader): boolean {
    const isOver = (cut: Cut, index: number): boolean => cut.stopped || reader.endChoice(index) !== undefined;
    return this.haveCut && this.#choices.every(isOver);
  }

  *take(events: readonly InferenceEvent[], chunk: JsonValue): Generator<InferenceEvent> {
    for (const event of events) {
      const cut = event.type === 'delta' ? this.#choices[event.index] : undefined;
      if (event.type === 'delta' && cut !== undefined) {
        cut.count(chunk);
        yield* cut.take(event);
      }
    }
  }

  /** `events` close the answer. */
  *end(events: readonly InferenceEvent[]): Generator<InferenceEvent> {
    for (const event of events) {
      const cut = event.type === 'finish' ? this.#choices[event.index] : undefined;
      yield* cut?.flush(event) ?? [];
      yield event;
    }
  }

  /** Closes what was cut and what had ended before; counted from the last chunk of each. */
  *endEarly(reader: AnswerReader): Generator<InferenceEvent> {
    for (const [index, cut] of this.#choices.entries()) {
      const closing = cut.stopped ? [] : reader.endChoice(index);
      if (closing === undefined) {
        throw new MeshnodeError('engine_lost', 'The model server stopped in the middle of its answer.');
      }
      for (const event of closing) {
        yield* cut.flush(event);
        yield event;
      }
    }
    const counts = this.#choices.map((cut) => cut.counts);
    yield {
      type: 'usage',
      prompt: counts[0]?.prompt ?? 0,
      cached: counts[0]?.cached ?? 0,
      completion: counts.reduce((sum, { completion }) => sum + completion, 0),
    };
  }
}

/** Cuts the text of one choice before a stop sequence. Reasoning and tool calls are no text. */
class Cut {
  readonly #stops: StopDetector;
  readonly #topLogprobs: number;
  stopped = false;
  counts = { prompt: 0, cached: 0, completion: 0 };

  constructor(stop: readonly string[], topLogprobs = 0) {
    this.#stops = new StopDetector(stop);
    this.#topLogprobs = topLogprobs;
  }

  /** Takes the server's own count with a chunk, where it has one. */
  count(chunk: JsonValue): void {
    const timings = isJsonObject(chunk) ? chunk['timings'] : undefined;
    if (isJsonObject(timings)) {
      const cached = tokenCount(timings['cache_n']) ?? 0;
      const computed = tokenCount(timings['prompt_n']) ?? 0;
      this.counts = {
        prompt: cached + computed,
        cached,
        completion: tokenCount(timings['predicted_n']) ?? 0,
      };
    }
  }

  take(event: DeltaEvent): InferenceEvent[] {
    if (this.stopped) {
      return [];
    }
    const { text, logprobs, ...rest } = event;
    if (text === undefined) {
      return [event];
    }
    const asked = logprobs?.map((one) => ({ ...one, top: one.top.slice(0, this.#topLogprobs) }));
    const piece = { text, tokenIds: [], ...(asked === undefined ? {} : { logprobs: asked }) };
    const { show, stopped } = this.#stops.push(piece);
    this.stopped = stopped;
    const delta: DeltaEvent = {
      ...rest,
      ...(show.text === '' ? {} : { text: show.text }),
      ...(show.logprobs === undefined ? {} : { logprobs: show.logprobs }),
    };
    const says = delta.text ?? delta.reasoning ?? delta.toolCall ?? delta.extra;
    return [
      ...(says === undefined ? [] : [delta]),
      ...(stopped ? [{ type: 'finish', index: event.index, reason: 'stop' } as const] : []),
    ];
  }

  /** The text is over with this event: what might have become a stop sequence did not. */
  flush(event: InferenceEvent): InferenceEvent[] {
    if (event.type !== 'finish') {
      return [];
    }
    const { text, logprobs } = this.#stops.flush();
    const probabilities = logprobs === undefined ? {} : { logprobs };
    return text === '' ? [] : [{ type: 'delta', index: event.index, text, ...probabilities }];
  }
}
