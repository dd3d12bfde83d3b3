// What Prometheus is told of the API. Labels are bounded: models by number, routes by our own table.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { InferenceEvent } from '../inference/events.ts';
import type { Clock } from '../util/clock.ts';
import { apiLimits } from '../util/limits/api.ts';
import type { AnswerWatcher } from './answer-call.ts';

/** Seconds to the first token: from a cached prompt on a GPU to a long one on a CPU. */
const firstTokenBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];
/** Seconds per token: from 1000 to half a token per second. */
const perTokenBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2];

/** The API's metrics in a registry. A registry takes one of these. */
export class ApiMetrics {
  readonly #registry: Registry;
  readonly #requests: Counter<'model' | 'route' | 'code'>;
  readonly #firstToken: Histogram<'model'>;
  readonly #perToken: Histogram<'model'>;
  readonly #queueDepth: Gauge;
  readonly #modelLabels = new Set<string>();

  constructor(registry: Registry) {
    this.#registry = registry;
    const registers = [registry];
    this.#requests = new Counter({
      name: 'meshnode_requests_total',
      help: 'Requests answered, by model, route and HTTP status (499: the client hung up).',
      labelNames: ['model', 'route', 'code'],
      registers,
    });
    this.#firstToken = new Histogram({
      name: 'meshnode_ttft_seconds',
      help: 'Time from reading a request to the first piece of its answer.',
      labelNames: ['model'],
      buckets: firstTokenBuckets,
      registers,
    });
    this.#perToken = new Histogram({
      name: 'meshnode_tpot_seconds',
      help: 'Time per generated token after the first.',
      labelNames: ['model'],
      buckets: perTokenBuckets,
      registers,
    });
    this.#queueDepth = new Gauge({
      name: 'meshnode_queue_depth',
      help: 'Requests that no engine has accepted yet.',
      registers,
    });
  }

  /** All metrics of the registry in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  countRequest(model: string, route: string, status: number): void {
    this.#requests.inc({ model, route, code: String(status) });
  }

  /** The label of a model that is served. The first ones get their own; strangers' names never do. */
  modelLabel(name: string): string {
    if (this.#modelLabels.size < apiLimits.metricModels) {
      this.#modelLabels.add(name);
    }
    return this.#modelLabels.has(name) ? name : 'other';
  }

  /** Measures one answer. `close` must be called when it is over. */
  meter(model: string, clock: Clock): AnswerMeter {
    this.#queueDepth.inc();
    return new AnswerMeter(clock, {
      accepted: () => this.#queueDepth.dec(),
      firstToken: (seconds) => this.#firstToken.observe({ model }, seconds),
      perToken: (seconds) => this.#perToken.observe({ model }, seconds),
    });
  }
}

interface MeterSinks {
  accepted(): void;
  firstToken(seconds: number): void;
  perToken(seconds: number): void;
}

/** Watches the events of one answer. */
export class AnswerMeter implements AnswerWatcher {
  readonly #clock: Clock;
  readonly #sinks: MeterSinks;
  readonly #startMs: number;
  #waiting = true;
  #firstMs: number | undefined;

  constructor(clock: Clock, sinks: MeterSinks) {
    this.#clock = clock;
    this.#sinks = sinks;
    this.#startMs = clock.monotonicMs();
  }

  event(event: InferenceEvent): void {
    if (event.type === 'delta') {
      if (this.#firstMs === undefined) {
        this.#firstMs = this.#clock.monotonicMs();
        this.#sinks.firstToken((this.#firstMs - this.#startMs) / 1000);
      }
    } else if (event.type === 'accepted') {
      this.close();
    } else if (event.type === 'usage' && this.#firstMs !== undefined && event.completion > 1) {
      this.#sinks.perToken((this.#clock.monotonicMs() - this.#firstMs) / 1000 / (event.completion - 1));
    }
  }

  close(): void {
    if (this.#waiting) {
      this.#waiting = false;
      this.#sinks.accepted();
    }
  }
}
