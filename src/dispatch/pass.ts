// The course of one request: waits until somebody who can answer is ready, asks one replica after the other until one
// has given a piece of the answer, and hands its events on. Who they are, and in which order, it is told anew each time.
import type { LoadedModel } from '../engine/engine.ts';
import {
  type AcceptedEvent,
  type ErrorEvent,
  errorEvent,
  type InferenceEvent,
  isOutput,
  type ProgressEvent,
} from '../inference/events.ts';
import { unsupportedFeature } from '../inference/features.ts';
import { guardEvents } from '../inference/guard-events.ts';
import type { InferenceRequest } from '../inference/request.ts';
import { background, withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, type ErrorCode } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import { passLimits, queueLimits, remoteLimits } from '../util/limits/dispatch.ts';
import type { Logger } from '../util/logging.ts';
import type { DispatchOptions, Route } from './answer.ts';
import type { Call } from './call.ts';
import type { Candidates, ReadyReplica } from './candidates.ts';
import { KeptAnswer } from './kept-answer.ts';
import { expectedSeconds, modelLoading } from './load-wait.ts';
import type { LocalModels } from './local-models.ts';
import { relayed } from './relayed.ts';
import type { LocalReplica, RemoteReplica } from './replica.ts';

export interface PassComponents {
  readonly clock: Clock;
  readonly log: Logger;
  readonly local: Pick<LocalModels, 'ask'>;
  /** Whom to ask now, or what to wait for. Throws what there is to say if that is nobody. */
  readonly candidates: () => Candidates;
  /** Hears that the candidates may be others now; the returned function ends that. */
  readonly onChange: (listener: () => void) => () => void;
  /** Sees to it that the candidates are of now, where that takes a question. Never rejects. */
  readonly refresh: () => Promise<void> | undefined;
  /** A model of this node is about to be asked. */
  readonly onLocal: (replica: LocalReplica) => void;
}

export interface PassInit {
  readonly request: InferenceRequest;
  readonly options: DispatchOptions;
  readonly call: Call;
  /** Filled in as it becomes known. */
  readonly route: { -readonly [Field in keyof Route]: Route[Field] };
  /** Monotonic time by which the answer must be complete. */
  readonly deadlineMs: number | undefined;
}

/** How asking one replica ended: the answer is complete, or this error came before any of it was given. */
type Outcome = { readonly answered: true } | { readonly answered: false; readonly error: ErrorEvent };

export class Pass {
  readonly #init: PassInit;
  readonly #components: PassComponents;
  /** Whether `accepted` has gone out: the reader sees it once, however many replicas are asked. */
  #isAccepted = false;
  #hasOutput = false;
  /** Beginnings that were lost after pieces of the answer had come. */
  #lostBeginnings = 0;

  constructor(init: PassInit, components: PassComponents) {
    this.#init = init;
    this.#components = components;
  }

  /** Whether any replica has given a piece of an answer, be it that the reader has it or not. */
  get hasOutput(): boolean {
    return this.#hasOutput;
  }

  /**
   * Asks the candidates until one has given a piece of an answer. If all were lost before that, e.g. because the engine
   * hung while others waited for it, whoever can be held waits for it to be back, once. Throws what ends the call.
   */
  async *events(): AsyncGenerator<InferenceEvent, void, undefined> {
    const { options } = this.#init;
    const heldUntilMs = this.#heldUntilMs();
    let lastError = yield* this.#askAll();
    if (lastError !== undefined && engineGone.has(lastError.code) && mayHold(options) && this.#mayBeginAnew) {
      lastError = yield* this.#askAll();
    }
    while (lastError?.code === 'model_loading' && this.#isSoonReady(lastError, heldUntilMs)) {
      yield* this.#whileElsewhereLoading(lastError, heldUntilMs);
      lastError = yield* this.#askAll();
    }
    if (lastError !== undefined) {
      yield this.#hasOutput ? { ...lastError, phase: 'during-output' } : lastError;
    }
  }

  get #mayBeginAnew(): boolean {
    return this.#lostBeginnings <= passLimits.newBeginnings;
  }

  /** Monotonic time until which the caller can be held while a model loads. */
  #heldUntilMs(): number {
    const { waitForLoadMs, stream } = this.#init.options;
    const mayHoldMs = waitForLoadMs ?? (stream ? apiLimits.holdForLoadMs : 0);
    return this.#components.clock.monotonicMs() + Math.min(mayHoldMs, queueLimits.waitMs);
  }

  /** Whether a model that another node loads is worth waiting for, as that node says how long it takes. */
  #isSoonReady({ retryAfterSeconds }: ErrorEvent, untilMs: number): boolean {
    const leftMs = untilMs - this.#components.clock.monotonicMs();
    const expectedMs = (retryAfterSeconds ?? Number.POSITIVE_INFINITY) * 1000;
    return leftMs > 0 && (this.#init.options.waitForLoadMs !== undefined || expectedMs <= leftMs);
  }

  /** Tells of the progress and waits a little, or until anything has changed. */
  async *#whileElsewhereLoading(
    error: ErrorEvent,
    untilMs: number,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock, onChange } = this.#components;
    const { call, route } = this.#init;
    route.attempts = 0;
    yield { type: 'progress', stage: 'loading', ...fractionOf(error) };
    const changed = Promise.withResolvers<void>();
    const stopListening = onChange(() => changed.resolve());
    const waitMs = Math.min(remoteLimits.loadingLookMs, untilMs - clock.monotonicMs());
    const timer = clock.after(Math.max(0, waitMs), () => changed.resolve());
    try {
      await call.wait(changed.promise);
    } finally {
      timer.cancel();
      stopListening();
    }
  }

  /** Asks each candidate once. Undefined if one has answered, else the last error. */
  async *#askAll(): AsyncGenerator<InferenceEvent, ErrorEvent | undefined, undefined> {
    const { request, route } = this.#init;
    const { ask: candidates, reason } = yield* this.#whenReady();
    route.reason = reason;
    let lastError: ErrorEvent | undefined;
    for (const [index, replica] of candidates.entries()) {
      // What a model that loads elsewhere will be able to do is not told yet: its node says when it knows.
      const isKnown = replica.status.stage === 'ready';
      const unsupported = isKnown ? unsupportedFeature(request, replica.model.capabilities) : undefined;
      if (unsupported !== undefined) {
        lastError ??= errorEvent(unsupported, 'before-output');
        continue;
      }
      this.#note(replica);
      const outcome = yield* this.#ask(replica, index === candidates.length - 1);
      if (outcome.answered) {
        return undefined;
      }
      lastError = outcome.error;
      const mayGoOn = lastError.retryable || (replica.where === 'remote' && mistaken.has(lastError.code));
      if (!mayGoOn || !this.#mayBeginAnew) {
        break;
      }
    }
    return lastError;
  }

  #note(replica: ReadyReplica): void {
    const { request, route } = this.#init;
    route.attempts++;
    route.peer = replica.peer;
    route.where = replica.where;
    route.ignored = replica.where === 'local' ? notHeeded(request, replica.model) : [];
  }

  /**
   * Waits until a candidate is ready, telling of the progress, as long as the caller can be held: as long as
   * it said, or, for a stream, while the model is expected soon. Throws `model_loading` otherwise.
   */
  async *#whenReady(): AsyncGenerator<InferenceEvent, Extract<Candidates, { ask: unknown }>, undefined> {
    const { clock, onChange } = this.#components;
    const { options, call } = this.#init;
    const untilMs = this.#heldUntilMs();
    let changed = Promise.withResolvers<void>();
    const stopListening = onChange(() => changed.resolve());
    try {
      await this.#refresh();
      while (true) {
        changed = Promise.withResolvers();
        const candidates = this.#components.candidates();
        if ('ask' in candidates) {
          return candidates;
        }
        const { status } = candidates.wait;
        const leftMs = untilMs - clock.monotonicMs();
        const expectedMs = (expectedSeconds(status) ?? Number.POSITIVE_INFINITY) * 1000;
        if (leftMs <= 0 || (options.waitForLoadMs === undefined && expectedMs > leftMs)) {
          throw modelLoading(status);
        }
        const { fraction } = status;
        yield { type: 'progress', stage: 'loading', ...(fraction === undefined ? {} : { fraction }) };
        await call.wait(withTimeout(clock, leftMs, changed.promise, () => modelLoading(status)));
      }
    } finally {
      stopListening();
      changed.resolve();
    }
  }

  /** Where others know who serves what, they are asked first. */
  async #refresh(): Promise<void> {
    const asked = this.#components.refresh();
    if (asked !== undefined) {
      await this.#init.call.wait(asked);
    }
  }

  /**
   * Hands the events of one replica on. An error before the reader has any of the answer is not handed on but returned.
   * Of a whole answer he has nothing before its end: until then another replica may begin anew.
   */
  async *#ask(replica: ReadyReplica, isLast: boolean): AsyncGenerator<InferenceEvent, Outcome, undefined> {
    const { call, options } = this.#init;
    const kept = options.whole === undefined ? undefined : new KeptAnswer();
    let hasOutput = false;
    let isGiven = false;
    try {
      for await (const event of this.#eventsOf(replica, isLast)) {
        if (event.type === 'error' && !isGiven) {
          return this.#lost(event, hasOutput);
        }
        if (isOutput(event)) {
          hasOutput = true;
          this.#hasOutput = true;
          options.whole?.onPiece(event);
        }
        if (event.type === 'accepted' || event.type === 'progress') {
          yield* this.#once(event);
        } else if (kept === undefined || isGiven) {
          isGiven ||= hasOutput;
          yield event;
        } else {
          kept.keep(event);
          isGiven = kept.isFull;
          yield* isGiven ? kept.take() : [];
        }
      }
    } catch (thrown) {
      // What ends the call ends it for all replicas. Everything else is the fault of this one.
      if (call.signal.aborted || isGiven) {
        throw thrown;
      }
      return this.#lost(errorEvent(asMeshnodeError(thrown), 'before-output'), hasOutput);
    }
    yield* kept?.take() ?? [];
    return { answered: true };
  }

  #lost(error: ErrorEvent, hadOutput: boolean): Outcome {
    this.#lostBeginnings += Number(hadOutput);
    return { answered: false, error };
  }

  /** `accepted` is for the first replica that says it. */
  *#once(event: AcceptedEvent | ProgressEvent): Generator<InferenceEvent, void, undefined> {
    if (event.type === 'progress' || !this.#isAccepted) {
      this.#isAccepted ||= event.type === 'accepted';
      yield event;
    }
  }

  #eventsOf(replica: ReadyReplica, isLast: boolean): AsyncGenerator<InferenceEvent> {
    if (replica.where === 'remote') {
      return this.#askPeer(replica, isLast);
    }
    const { request, call, options } = this.#init;
    this.#components.onLocal(replica);
    return this.#components.local.ask(replica.model, request, call, options.caller);
  }

  async *#askPeer(
    { model, digest }: RemoteReplica,
    isLast: boolean,
  ): AsyncGenerator<InferenceEvent, void, undefined> {
    const { clock, log } = this.#components;
    const { request, call, deadlineMs } = this.#init;
    const left = deadlineMs === undefined ? {} : { timeoutMs: Math.max(1, deadlineMs - clock.monotonicMs()) };
    const passedOn: InferenceRequest = {
      ...request,
      ...left,
      model: { name: model.name, ...(digest === undefined ? {} : { digest }) },
      hops: request.hops + 1,
    };
    const events = guardEvents(passedOn, model.infer(passedOn, call.signal, { patient: isLast }), { log });
    try {
      yield* relayed(events, call, model.name);
    } finally {
      background(events.return(undefined), 'stop of a remote answer', log);
    }
  }
}

/** What an error says whose reason is that the engine's process went away, not the request. */
const engineGone: ReadonlySet<string> = new Set(['engine_lost', 'engine_unavailable']);

/** What a peer says that has changed since it was chosen: another one may still do what was asked. */
const mistaken: ReadonlySet<ErrorCode> = new Set([
  'model_not_found',
  'model_unsupported',
  'unsupported_parameter',
]);

/** How far a model is that another node loads, if that node says so in a way that can be. */
function fractionOf({ data }: ErrorEvent): { readonly fraction?: number } {
  const { loading } = data ?? {};
  const fraction =
    typeof loading === 'object' && loading !== null && 'fraction' in loading && loading.fraction;
  return typeof fraction === 'number' && fraction >= 0 && fraction <= 1 ? { fraction } : {};
}

/** Whether the caller can wait: it reads a stream, or said how long it will. */
function mayHold({ stream, waitForLoadMs }: DispatchOptions): boolean {
  return stream || (waitForLoadMs ?? 0) > 0;
}

function notHeeded(request: InferenceRequest, { capabilities }: LoadedModel): string[] {
  return Object.keys(request.extra).filter((name) => !capabilities.extraFields.has(name));
}
