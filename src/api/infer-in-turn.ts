// Several requests of one call, answered one after the other as if they were one.
import type { Answer, Dispatch, DispatchOptions } from '../dispatch/answer.ts';
import { type InferenceEvent, isOutput } from '../inference/events.ts';
import type { InferenceRequest } from '../inference/request.ts';

type Requests = readonly [InferenceRequest, ...InferenceRequest[]];

/**
 * The answer to all `requests`: choices are numbered through, tokens added up, the first error ends it.
 * The route is that of the request being answered.
 */
export function inferInTurn(dispatch: Dispatch, requests: Requests, options: DispatchOptions): Answer {
  return requests.length === 1
    ? dispatch.infer(requests[0], options)
    : new AnswerInTurn(dispatch, requests, options);
}

class AnswerInTurn implements Answer {
  readonly events: AsyncIterable<InferenceEvent>;
  #current: Answer;
  #outputGiven = false;
  readonly #tokens = { prompt: 0, cached: 0, completion: 0 };

  constructor(dispatch: Dispatch, requests: Requests, options: DispatchOptions) {
    const [first, ...others] = requests;
    this.#current = dispatch.infer(first, options);
    this.events = this.#all(choicesOf(first), others, (request) => dispatch.infer(request, options));
  }

  route() {
    return this.#current.route();
  }

  async *#all(
    firstChoices: number,
    others: readonly InferenceRequest[],
    infer: (request: InferenceRequest) => Answer,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    let complete = yield* this.#turn(0);
    let firstIndex = firstChoices;
    for (const request of others) {
      if (!complete) {
        return;
      }
      this.#current = infer(request);
      complete = yield* this.#turn(firstIndex);
      firstIndex += choicesOf(request);
    }
    if (complete) {
      yield { type: 'usage', ...this.#tokens };
      yield { type: 'end' };
    }
  }

  /** The events of the current request, its first choice numbered `firstIndex`. True if it is complete. */
  async *#turn(firstIndex: number): AsyncGenerator<InferenceEvent, boolean, undefined> {
    for await (const event of this.#current.events) {
      switch (event.type) {
        case 'end':
          return true;
        case 'error':
          yield this.#outputGiven ? { ...event, phase: 'during-output' } : event;
          return false;
        case 'usage':
          this.#tokens.prompt += event.prompt;
          this.#tokens.cached += event.cached;
          this.#tokens.completion += event.completion;
          break;
        case 'accepted':
          if (firstIndex === 0) {
            yield event;
          }
          break;
        case 'progress':
          yield event;
          break;
        default:
          this.#outputGiven ||= isOutput(event);
          yield { ...event, index: event.index + firstIndex };
      }
    }
    return false;
  }
}

function choicesOf(request: InferenceRequest): number {
  return 'output' in request ? request.output.choices : 1;
}
