// An answer by llama-server's chat route, which takes tool calls and reasoning apart and gives no token ids. Stop
// sequences are found on our side, as everywhere.
import type { DeltaEvent, InferenceEvent } from '../../inference/events.ts';
import type { ChatRequest } from '../../inference/request.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { isJsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { Random } from '../../util/random.ts';
import { AnswerReader, tokenCount } from '../openai/answer-reader.ts';
import { readAnswer } from '../openai/answer-stream.ts';
import { generationCall } from '../openai/request.ts';
import { StopDetector } from '../stop-detector.ts';
import type { AnswerOptions } from './completion-answer.ts';
import { samplingExtra, templateExtra } from './extra-fields.ts';
import { formatFields } from './server-calls.ts';

/** The events of one group of choices, numbered from 0. Throws what went wrong, or the signal's reason. */
export async function* chatAnswer(
  request: ChatRequest,
  options: AnswerOptions & { readonly random: Random },
): AsyncGenerator<InferenceEvent, void, undefined> {
  const { run, replica, choices, firstChoice, contextTokens, random } = options;
  const { stop } = request.output;
  const format = formatFields(request.output.format);
  const call = generationCall({
    ...request,
    extra: { ...samplingExtra(request.extra, contextTokens), ...templateExtra(request.extra) },
    sampling: seeded(request, firstChoice),
    output: { ...request.output, choices, stop: [] },
  });
  const body = {
    ...call.body,
    // A schema is in the call already; here it is only looked at.
    ...(request.output.format.type === 'grammar' ? format : {}),
    // What is broken off at a stop sequence has no last chunk that counts.
    ...(stop.length > 0 ? { timings_per_token: true } : {}),
  };
  const enough = new AbortController();
  const signal = AbortSignal.any([options.signal, enough.signal]);
  const path = `/v1${call.path}`;
  const reader = new AnswerReader({ choices, random, context: { path, apiKey: run.client.apiKey } });
  const cuts = new Cuts(choices, stop);
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
      if (cuts.allStopped) {
        break;
      }
    }
  } finally {
    enough.abort(new MeshnodeError('cancelled', 'The answer is complete.'));
  }
  yield* cuts.allStopped ? [cuts.usage()] : cuts.end(reader.end(said));
}

function seeded({ sampling }: ChatRequest, firstChoice: number): ChatRequest['sampling'] {
  return sampling.seed === undefined
    ? sampling
    : { ...sampling, seed: (sampling.seed + firstChoice) % (2 ** 32 - 1) };
}

/** What is left of the choices when each is cut before a stop sequence. */
class Cuts {
  readonly #choices: readonly Cut[];

  constructor(choices: number, stop: readonly string[]) {
    this.#choices = Array.from({ length: choices }, () => new Cut(stop));
  }

  get allStopped(): boolean {
    return this.#choices.every(({ stopped }) => stopped);
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
      if (event.type !== 'finish' || cut === undefined) {
        yield event;
      } else if (!cut.stopped) {
        yield* cut.end(event.index);
        yield event;
      }
    }
  }

  /** Counted from the last chunk of each choice. */
  usage(): InferenceEvent {
    const counts = this.#choices.map((cut) => cut.counts);
    return {
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
  stopped = false;
  counts = { prompt: 0, cached: 0, completion: 0 };

  constructor(stop: readonly string[]) {
    this.#stops = new StopDetector(stop);
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
    const { show, stopped } = this.#stops.push({
      text,
      tokenIds: [],
      ...(logprobs === undefined ? {} : { logprobs }),
    });
    this.stopped = stopped;
    const shown = show.text === '' ? {} : { text: show.text };
    const delta: DeltaEvent = {
      ...rest,
      ...shown,
      ...(show.logprobs === undefined ? {} : { logprobs: show.logprobs }),
    };
    const says = delta.text ?? delta.reasoning ?? delta.toolCall ?? delta.extra;
    return [
      ...(says === undefined ? [] : [delta]),
      ...(stopped ? [{ type: 'finish', index: event.index, reason: 'stop' } as const] : []),
    ];
  }

  /** The text is over: what might have become a stop sequence did not. */
  end(index: number): InferenceEvent[] {
    const { text, logprobs } = this.#stops.flush();
    return text === ''
      ? []
      : [{ type: 'delta', index, text, ...(logprobs === undefined ? {} : { logprobs }) }];
  }
}
