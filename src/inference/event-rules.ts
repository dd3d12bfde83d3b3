// Which sequences of events are a lawful answer to a request. One EventRules watches one answer; it is asked
// for every token, so it allocates nothing unless a rule is broken.
import { MeshnodeError } from '../util/errors.ts';
import { eventLimits } from '../util/limits/inference.ts';
import {
  type AcceptedEvent,
  type DeltaEvent,
  type ErrorPhase,
  type InferenceEvent,
  isOutput,
  type ProgressEvent,
  type TokenLogprob,
  type ToolCallDelta,
  type UsageEvent,
  type VectorEvent,
} from './events.ts';
import type { InferenceRequest } from './request.ts';

/** The law of events.ts as a state machine. `check` every event in order; stop at the first violation. */
export class EventRules {
  /** What pieces of the answer are: text that grows, or one vector or score for each index. */
  readonly #output: 'delta' | 'vector' | 'score';
  /** By index (choice, input or document): whether nothing more may come for it. */
  readonly #complete: Uint8Array;
  #incomplete: number;
  /** By choice: tool calls begun. */
  readonly #toolCalls: Uint32Array;
  #vectorLength: number | undefined;
  #accepted = false;
  #outputGiven = false;
  #usageGiven = false;
  #ended = false;
  /** See eventLimits.answerChars. */
  #answerChars = 0;

  constructor(request: InferenceRequest) {
    this.#output = outputOf(request);
    this.#incomplete = countOf(request);
    this.#complete = new Uint8Array(this.#incomplete);
    this.#toolCalls = new Uint32Array(this.#incomplete);
  }

  /** Whether the last event was seen. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The phase an error would be in now. */
  get phase(): ErrorPhase {
    return this.#outputGiven ? 'during-output' : 'before-output';
  }

  /** The rule that `event` breaks as the next one (`engine_protocol`), or undefined if it is lawful. */
  check(event: InferenceEvent): MeshnodeError | undefined {
    const fault = this.#ended ? 'came after the last one' : this.#faultOf(event);
    if (fault !== undefined) {
      return new MeshnodeError('engine_protocol', `The engine's ${event.type} event ${fault}.`);
    }
    this.#outputGiven ||= isOutput(event);
    return undefined;
  }

  #faultOf(event: InferenceEvent): string | undefined {
    switch (event.type) {
      case 'delta':
        return this.#pieceFault('delta', event.index) ?? this.#deltaFault(event);
      case 'finish':
        return this.#pieceFault('delta', event.index) ?? this.#completeIndex(event.index);
      case 'vector':
        return (
          this.#pieceFault('vector', event.index) ??
          this.#vectorFault(event) ??
          this.#completeIndex(event.index)
        );
      case 'score':
        return (
          this.#pieceFault('score', event.index) ??
          (Number.isFinite(event.score) ? this.#completeIndex(event.index) : 'has a score that is no number')
        );
      case 'accepted':
        return this.#acceptedFault(event);
      case 'progress':
        return progressFault(event);
      case 'usage':
        return this.#usageFault(event);
      case 'error':
        this.#ended = true;
        return event.phase === this.phase ? undefined : `is not ${event.phase}`;
      case 'end':
        this.#ended = true;
        return this.#incomplete === 0 ? undefined : 'came before the answer was complete';
    }
  }

  /** What is wrong with the place of a piece of kind `output` for `index`. */
  #pieceFault(output: 'delta' | 'vector' | 'score', index: number): string | undefined {
    if (!this.#accepted) {
      return 'came before the accepted event';
    }
    if (output !== this.#output) {
      return 'does not belong to this kind of request';
    }
    // Undefined for everything but an index of the request.
    const complete = this.#complete[index];
    if (complete === undefined) {
      return 'has an index that was not asked for';
    }
    return complete === 0 ? undefined : 'came after its index was complete';
  }

  #completeIndex(index: number): undefined {
    this.#complete[index] = 1;
    this.#incomplete--;
  }

  #deltaFault(delta: DeltaEvent): string | undefined {
    const { text, reasoning, toolCall, tokenIds, logprobs } = delta;
    const chars = (text?.length ?? 0) + (reasoning?.length ?? 0) + (toolCall?.arguments?.length ?? 0);
    if (chars > eventLimits.deltaChars) {
      return `has more than ${eventLimits.deltaChars} characters`;
    }
    this.#answerChars += chars + (logprobs === undefined ? 0 : charsOfLogprobs(logprobs));
    if (this.#answerChars > eventLimits.answerChars) {
      return `makes the answer longer than ${eventLimits.answerChars} characters`;
    }
    if (tokenIds !== undefined && !areTokenIds(tokenIds)) {
      return 'has token ids that cannot be';
    }
    if (logprobs !== undefined && !areLogprobs(logprobs)) {
      return 'has log probabilities that cannot be';
    }
    if (toolCall !== undefined) {
      return this.#toolCallFault(toolCall, delta.index);
    }
    const listed = (tokenIds?.length ?? 0) + (logprobs?.length ?? 0);
    return chars > 0 || listed > 0 || hasKeys(delta.extra) ? undefined : 'is empty';
  }

  #toolCallFault(piece: ToolCallDelta, index: number): string | undefined {
    const begun = this.#toolCalls[index] ?? 0;
    if (!Number.isInteger(piece.call) || piece.call < 0 || piece.call > begun) {
      return 'skips a tool call';
    }
    if (piece.call < begun) {
      if (piece.id !== undefined || piece.name !== undefined) {
        return 'names a tool call a second time';
      }
      return piece.arguments ? undefined : 'has an empty piece of a tool call';
    }
    if (!piece.id || !piece.name) {
      return 'begins a tool call without id and name';
    }
    this.#toolCalls[index] = begun + 1;
    return undefined;
  }

  #vectorFault({ values }: VectorEvent): string | undefined {
    const length = this.#vectorLength ?? values.length;
    if (values.length !== length || length === 0 || length > eventLimits.vectorLength) {
      return `has ${values.length} dimensions`;
    }
    this.#vectorLength = length;
    return values.every(Number.isFinite) ? undefined : 'has a value that is no number';
  }

  #acceptedFault({ replica, cachedTokens }: AcceptedEvent): string | undefined {
    if (this.#accepted) {
      return 'came twice';
    }
    this.#accepted = true;
    if (replica.length === 0 || replica.length > eventLimits.replicaLength) {
      return 'has no fit replica';
    }
    return cachedTokens === undefined || isTokenCount(cachedTokens) ? undefined : 'has an impossible count';
  }

  #usageFault({ prompt, cached, completion }: UsageEvent): string | undefined {
    if (this.#usageGiven) {
      return 'came twice';
    }
    this.#usageGiven = true;
    if (this.#incomplete > 0) {
      return 'came before the answer was complete';
    }
    const possible = isTokenCount(prompt) && isTokenCount(cached) && isTokenCount(completion);
    return possible && cached <= prompt ? undefined : 'has impossible counts';
  }
}

function outputOf(request: InferenceRequest): 'delta' | 'vector' | 'score' {
  switch (request.kind) {
    case 'embedding':
      return 'vector';
    case 'rerank':
      return 'score';
    default:
      return 'delta';
  }
}

/** How many choices, vectors or scores answer the request. */
function countOf(request: InferenceRequest): number {
  switch (request.kind) {
    case 'chat':
    case 'completion':
      return request.output.choices;
    case 'embedding':
      return request.inputs.length;
    case 'rerank':
      return request.documents.length;
    case 'transcription':
      return 1;
  }
}

function progressFault({ fraction }: ProgressEvent): string | undefined {
  return fraction === undefined || (fraction >= 0 && fraction <= 1)
    ? undefined
    : 'has an impossible fraction';
}

function areTokenIds(ids: readonly number[]): boolean {
  return ids.length <= eventLimits.deltaTokens && ids.every((id) => id >>> 0 === id);
}

/** What log probabilities weigh in the memory of whoever keeps the answer. */
function charsOfLogprobs(logprobs: readonly TokenLogprob[]): number {
  let chars = 0;
  for (const { top } of logprobs) {
    chars += (1 + top.length) * eventLimits.alternativeChars;
  }
  return chars;
}

function areLogprobs(logprobs: readonly TokenLogprob[]): boolean {
  return (
    logprobs.length <= eventLimits.deltaTokens &&
    logprobs.every(
      ({ logprob, top }) =>
        Number.isFinite(logprob) && top.every((alternative) => Number.isFinite(alternative.logprob)),
    )
  );
}

function isTokenCount(count: number): boolean {
  return Number.isInteger(count) && count >= 0 && count <= eventLimits.usageTokens;
}

function hasKeys(object: object | undefined): boolean {
  for (const _ in object) {
    return true;
  }
  return false;
}
