// Answers one inference call: asks dispatch, and sends its events as a stream or as one JSON value. The
// same for every surface.
import type { OutgoingHttpHeaders } from 'node:http';
import type { Answer, Dispatch } from '../dispatch/answer.ts';
import type { Exchange } from '../http/exchange.ts';
import { errorBody, sendError, sendJson } from '../http/json-answer.ts';
import { SseWriter } from '../http/sse.ts';
import { type ErrorEvent, type InferenceEvent, isOutput } from '../inference/events.ts';
import type { Clock } from '../util/clock.ts';
import { asMeshnodeError, MeshnodeError } from '../util/errors.ts';
import { type Random, randomId } from '../util/random.ts';
import { ignoredHeader, routeHeaders } from './answer-headers.ts';
import { inferInTurn } from './infer-in-turn.ts';
import type { AnswerHead, StreamWriter, SurfaceCall } from './surface.ts';

export interface AnswerComponents {
  readonly dispatch: Dispatch;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: AnswerLimits;
}

export interface AnswerLimits {
  readonly holdHeadersMs: number;
  readonly pingMs: number;
  readonly stalledReaderMs: number;
}

/** Hears of every event of one answer, and of its end, however it came. */
export interface AnswerWatcher {
  event(event: InferenceEvent): void;
  close(): void;
}

const idLength = 24;

/**
 * Sends the whole answer. Resolves to the HTTP status that tells how it ended, which for a stream that
 * failed late is not the one the client saw.
 */
export async function answerCall(
  exchange: Exchange,
  call: SurfaceCall,
  options: { waitForLoadMs?: number; watchers: readonly AnswerWatcher[] },
  components: AnswerComponents,
): Promise<number> {
  const { waitForLoadMs, watchers } = options;
  const onPiece = (event: InferenceEvent): void => {
    for (const watcher of watchers) {
      watcher.event(event);
    }
  };
  const answer = inferInTurn(components.dispatch, call.requests, {
    signal: exchange.signal,
    stream: call.stream !== undefined,
    ...(call.stream === undefined ? { whole: { onPiece } } : {}),
    ...(waitForLoadMs === undefined ? {} : { waitForLoadMs }),
  });
  const sending = new AnswerSending(exchange, call, answer, watchers, components);
  try {
    return await (call.stream === undefined ? sending.whole() : sending.stream(call.stream));
  } finally {
    for (const watcher of watchers) {
      watcher.close();
    }
  }
}

/** One answer on its way to the client. */
class AnswerSending {
  readonly #exchange: Exchange;
  readonly #call: SurfaceCall;
  readonly #answer: Answer;
  readonly #watchers: readonly AnswerWatcher[];
  readonly #components: AnswerComponents;
  readonly #id: string;
  readonly #createdSeconds: number;
  readonly #startMs: number;

  constructor(
    exchange: Exchange,
    call: SurfaceCall,
    answer: Answer,
    watchers: readonly AnswerWatcher[],
    components: AnswerComponents,
  ) {
    this.#exchange = exchange;
    this.#call = call;
    this.#answer = answer;
    this.#watchers = watchers;
    this.#components = components;
    this.#id = randomId(components.random, idLength);
    this.#createdSeconds = Math.floor(components.clock.wallMs() / 1000);
    this.#startMs = components.clock.monotonicMs();
  }

  async whole(): Promise<number> {
    const { response } = this.#exchange;
    const writer = this.#call.whole();
    for await (const event of this.#answer.events) {
      if (!isOutput(event)) {
        this.#watched(event); // Its pieces they have heard of when they came.
      }
      switch (event.type) {
        case 'accepted':
        case 'progress':
          break;
        case 'error':
          return this.#refuse(event);
        case 'end':
          sendJson(response, 200, writer.end(this.#head()), this.#headers());
          return 200;
        default:
          writer.event(event);
      }
    }
    return this.#refuse(brokenOff);
  }

  /**
   * The status line is held back until there is a piece of the answer, so that an early failure has its
   * own status; but not for long, because proxies and people wait for it.
   */
  async stream(makeWriter: NonNullable<SurfaceCall['stream']>): Promise<number> {
    const { clock, limits } = this.#components;
    const sse = new SseWriter(this.#exchange.response, { clock, ...limits });
    const holding = clock.after(limits.holdHeadersMs, () => {
      sse.open(this.#headers());
      sse.ping();
    });
    let writer: StreamWriter | undefined;
    const begin = (): StreamWriter => {
      holding.cancel();
      sse.open(this.#headers());
      return makeWriter(this.#head(), (payload) => sse.data(payload));
    };
    try {
      for await (const event of this.#answer.events) {
        this.#watched(event);
        switch (event.type) {
          case 'accepted':
            break;
          case 'progress':
            if (sse.opened && !sse.full) {
              sse.ping();
            }
            break;
          case 'error':
            return await this.#fail(sse, event);
          case 'end':
            writer ??= begin();
            writer.end();
            sse.end();
            return 200;
          default:
            writer ??= begin();
            writer.event(event);
        }
        if (sse.full) {
          await sse.drained();
        }
      }
      return await this.#fail(sse, brokenOff);
    } catch (thrown) {
      // Our own fault: the stream must not look complete. Whoever called us logs it.
      if (sse.opened) {
        await sse.fail(JSON.stringify(errorBody(asMeshnodeError(thrown))));
      }
      throw thrown;
    } finally {
      holding.cancel();
    }
  }

  #watched(event: InferenceEvent): void {
    for (const watcher of this.#watchers) {
      watcher.event(event);
    }
  }

  async #fail(sse: SseWriter, event: ErrorEvent): Promise<number> {
    if (!sse.opened) {
      return this.#refuse(event);
    }
    const error = errorOf(event);
    await sse.fail(JSON.stringify(errorBody(error)));
    return error.kind.status;
  }

  /** Answers with the error alone. Once tokens were generated, the client is not to repeat it by itself. */
  #refuse(event: ErrorEvent): number {
    const { response } = this.#exchange;
    const error = errorOf(event);
    for (const [name, value] of Object.entries(this.#headers())) {
      if (value !== undefined && !response.headersSent) {
        response.setHeader(name, value);
      }
    }
    sendError(response, error, { outputProduced: event.phase === 'during-output' });
    return error.kind.status;
  }

  /** The model is known for sure only once an engine has accepted. */
  #head(): AnswerHead {
    return {
      id: this.#id,
      createdSeconds: this.#createdSeconds,
      model: this.#answer.route().model,
    };
  }

  #headers(): OutgoingHttpHeaders {
    const route = this.#answer.route();
    return {
      ...routeHeaders(route),
      ...ignoredHeader([...this.#call.ignored, ...route.ignored]),
      'openai-processing-ms': String(Math.round(this.#components.clock.monotonicMs() - this.#startMs)),
    };
  }
}

/** What a stream of events without an end means. */
const brokenOff: ErrorEvent = {
  type: 'error',
  code: 'engine_lost',
  message: 'The answer broke off.',
  retryable: true,
  phase: 'during-output',
};

function errorOf({ code, message, param, retryAfterSeconds, data }: ErrorEvent): MeshnodeError {
  return new MeshnodeError(code, message, {
    ...(param === undefined ? {} : { param }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    ...(data === undefined ? {} : { data }),
  });
}
