// A Dispatch whose answers a test writes itself, lawful or not, and that tells what became of them.
import type { Answer, Dispatch, DispatchOptions, Route } from '../../src/dispatch/answer.ts';
import type { ListedModel } from '../../src/dispatch/model-directory.ts';
import { type DeltaEvent, type InferenceEvent, isOutput } from '../../src/inference/events.ts';
import type { InferenceRequest } from '../../src/inference/request.ts';

/** The events of an answer; a generator may wait for `options.signal`. */
export type Script = (
  request: InferenceRequest,
  options: DispatchOptions,
) => Iterable<InferenceEvent> | AsyncIterable<InferenceEvent>;

/** One request that came in. */
export interface ScriptedCall {
  readonly request: InferenceRequest;
  readonly options: DispatchOptions;
  /** Events read so far. */
  pulled: number;
  /** Resolves when the reader has left, or has read all. */
  readonly over: Promise<void>;
}

export class ScriptedDispatch implements Dispatch {
  readonly calls: ScriptedCall[] = [];
  script: Script;
  readonly served: ListedModel[];

  constructor(script: Script = () => textAnswer('Hello', ' world'), served = [readyModel('demo')]) {
    this.script = script;
    this.served = served;
  }

  models(): readonly ListedModel[] {
    return this.served;
  }

  infer(request: InferenceRequest, options: DispatchOptions): Answer {
    const over = Promise.withResolvers<void>();
    const call: ScriptedCall = { request, options, pulled: 0, over: over.promise };
    this.calls.push(call);
    const script = this.script;
    async function* events(): AsyncGenerator<InferenceEvent, void, undefined> {
      try {
        for await (const event of script(request, options)) {
          call.pulled++;
          if (isOutput(event)) {
            options.whole?.onPiece(event);
          }
          yield event;
        }
      } finally {
        over.resolve();
      }
    }
    const route: Route = {
      peer: 'workstation',
      attempts: 1,
      mode: 'solo',
      where: 'local',
      reason: 'only',
      model: request.model.name,
      ignored: [],
    };
    return { events: events(), route: () => route };
  }

  /** The latest request; throws if there was none. */
  get last(): ScriptedCall {
    const call = this.calls.at(-1);
    if (call === undefined) {
      throw new Error('nothing was asked');
    }
    return call;
  }
}

export function readyModel(name: string): ListedModel {
  return {
    name,
    stage: 'ready',
    replicas: 1,
    createdMs: 1_700_000_000_000,
    capabilities: {
      kinds: new Set(['chat', 'completion']),
      contextTokens: 4096,
      features: new Set(),
      extraFields: new Set(),
    },
  };
}

export const accepted: InferenceEvent = { type: 'accepted', replica: 'embedded/demo' };
export const usage: InferenceEvent = { type: 'usage', prompt: 7, cached: 3, completion: 2 };
export const end: InferenceEvent = { type: 'end' };

/** An answer of one choice in these pieces. */
export function textAnswer(...texts: string[]): InferenceEvent[] {
  return answerOf(...texts.map((text): DeltaEvent => ({ type: 'delta', index: 0, text })));
}

/** An answer of one choice with these deltas. */
export function answerOf(...deltas: DeltaEvent[]): InferenceEvent[] {
  return [accepted, ...deltas, { type: 'finish', index: 0, reason: 'stop' }, usage, end];
}

/** Resolves when a signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
    }
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
