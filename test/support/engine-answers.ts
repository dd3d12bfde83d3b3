// Requests for engine tests in one line, and whole answers collected under the rules that every stream of
// events must keep.
import { expect } from 'vitest';
import type { LoadedModel } from '../../src/engine/engine.ts';
import { EventRules } from '../../src/inference/event-rules.ts';
import type {
  ErrorEvent,
  FinishReason,
  InferenceEvent,
  ToolCallDelta,
  UsageEvent,
} from '../../src/inference/events.ts';
import {
  type ChatRequest,
  type CompletionRequest,
  type EmbeddingRequest,
  type InferenceRequest,
  type OutputConstraints,
  plainOutput,
  type RequestEnvelope,
  type RerankRequest,
  type Sampling,
  type TextOrTokens,
} from '../../src/inference/request.ts';
import type { JsonObject } from '../../src/util/json.ts';

/** What a test varies of a chat or completion. */
export interface GenerationOptions extends Partial<OutputConstraints> {
  readonly sampling?: Sampling;
  readonly extra?: JsonObject;
}

/** Sampling that always takes the likeliest token. */
export const greedy: Sampling = { temperature: 0 };

let requests = 0;

function envelope(model: string, extra: JsonObject = {}): RequestEnvelope {
  return { requestId: `test-${++requests}`, model: { name: model }, priority: 'interactive', hops: 0, extra };
}

/** A chat of one user message, greedy unless told otherwise. */
export function chatRequest(model: string, prompt: string, options: GenerationOptions = {}): ChatRequest {
  const { sampling = greedy, extra, ...output } = options;
  return {
    ...envelope(model, extra),
    kind: 'chat',
    messages: [{ role: 'user', content: [{ type: 'text', text: prompt }] }],
    sampling,
    output: { ...plainOutput, ...output },
  };
}

export function completionRequest(
  model: string,
  prompt: TextOrTokens,
  options: GenerationOptions = {},
): CompletionRequest {
  const { sampling = greedy, extra, ...output } = options;
  return {
    ...envelope(model, extra),
    kind: 'completion',
    prompt,
    sampling,
    output: { ...plainOutput, ...output },
  };
}

export function embeddingRequest(model: string, inputs: readonly TextOrTokens[]): EmbeddingRequest {
  return { ...envelope(model), kind: 'embedding', inputs };
}

export function rerankRequest(model: string, query: string, documents: readonly string[]): RerankRequest {
  return { ...envelope(model), kind: 'rerank', query, documents };
}

/** An answer, read to its last event. */
export class CollectedAnswer {
  readonly events: readonly InferenceEvent[];

  constructor(events: readonly InferenceEvent[]) {
    this.events = events;
  }

  text(index = 0): string {
    return this.textPieces(index).join('');
  }

  textPieces(index = 0): string[] {
    return this.#deltas(index).flatMap(({ text }) => (text === undefined ? [] : [text]));
  }

  reasoning(index = 0): string {
    return this.#deltas(index)
      .map(({ reasoning }) => reasoning ?? '')
      .join('');
  }

  tokenIds(index = 0): number[] {
    return this.#deltas(index).flatMap(({ tokenIds }) => tokenIds ?? []);
  }

  logprobs(index = 0) {
    return this.#deltas(index).flatMap(({ logprobs }) => logprobs ?? []);
  }

  toolCalls(index = 0): ToolCallDelta[] {
    return this.#deltas(index).flatMap(({ toolCall }) => (toolCall === undefined ? [] : [toolCall]));
  }

  finish(index = 0): FinishReason | undefined {
    const event = this.events.find((one) => one.type === 'finish' && one.index === index);
    return event?.type === 'finish' ? event.reason : undefined;
  }

  vectors(): Float32Array[] {
    return this.events.flatMap((event) => (event.type === 'vector' ? [event.values] : []));
  }

  scores(): number[] {
    const scores: number[] = [];
    for (const event of this.events) {
      if (event.type === 'score') {
        scores[event.index] = event.score;
      }
    }
    return scores;
  }

  get usage(): UsageEvent | undefined {
    return this.events.find((event) => event.type === 'usage');
  }

  get error(): ErrorEvent | undefined {
    return this.events.find((event) => event.type === 'error');
  }

  #deltas(index: number) {
    return this.events.filter((event) => event.type === 'delta').filter((delta) => delta.index === index);
  }
}

/** Reads an answer to its end. Fails the test on an unlawful event, a broken character or a missing end. */
export async function collect(
  model: LoadedModel,
  request: InferenceRequest,
  options: { signal?: AbortSignal; onEvent?: (event: InferenceEvent) => void } = {},
): Promise<CollectedAnswer> {
  const rules = new EventRules(request);
  const events: InferenceEvent[] = [];
  for await (const event of model.infer(request, options.signal ?? new AbortController().signal)) {
    expect(rules.check(event)?.message, `after ${JSON.stringify(events.slice(-2))}`).toBeUndefined();
    expect(hasBrokenCharacter(event), `a broken character in ${JSON.stringify(event)}`).toBe(false);
    events.push(event);
    options.onEvent?.(event);
  }
  expect(rules.ended, 'the stream must say how it ended').toBe(true);
  return new CollectedAnswer(events);
}

/** As `collect`, and fails the test unless the answer is complete. */
export async function complete(model: LoadedModel, request: InferenceRequest): Promise<CollectedAnswer> {
  const answer = await collect(model, request);
  expect(answer.error, 'the answer must not be an error').toBeUndefined();
  return answer;
}

function hasBrokenCharacter(event: InferenceEvent): boolean {
  const text = event.type === 'delta' ? (event.text ?? '') + (event.reasoning ?? '') : '';
  return text.includes('\u{fffd}') || !text.isWellFormed();
}
