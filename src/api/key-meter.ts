// Holds keys to their limits: remembers what each has used, refuses with 429, and tells every answer of a
// limited key what is left. Usage is kept in memory only; a node that starts anew starts from none.
import type { ServerResponse } from 'node:http';
import { type InferenceEvent, isOutput } from '../inference/events.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import type { AnswerWatcher } from './answer-call.ts';
import {
  type Allowance,
  admitRequest,
  chargeTokens,
  type KeyUsage,
  limitNames,
  type Refusal,
  tightestAllowance,
} from './key-limits.ts';
import type { ApiKey } from './key-ring.ts';

/** What all keys have used. */
export class KeyMeter {
  readonly #clock: Clock;
  /** By the hash of the key: one made anew under an old name owes nothing. Latest use last. */
  readonly #usages = new Map<string, KeyUsage>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The account of one request and its answer; undefined if the key has no limits. */
  open(key: ApiKey, response: ServerResponse): KeyAccount | undefined {
    return limitNames.some((name) => key[name] !== undefined)
      ? new KeyAccount(this, key, response)
      : undefined;
  }

  /** Counts a request, unless the key has to wait: the refusal says why. */
  admit(key: ApiKey): Refusal | undefined {
    const admission = admitRequest(key, this.#usageOf(key), this.#clock.monotonicMs());
    if (!admission.admitted) {
      return admission.refusal;
    }
    this.#remember(key, admission.usage);
    return undefined;
  }

  charge(key: ApiKey, tokens: number): void {
    this.#remember(key, chargeTokens(key, this.#usageOf(key), tokens, this.#clock.monotonicMs()));
  }

  /** What is left, as the headers of OpenAI's API tell it. */
  headers(key: ApiKey): Map<string, string> {
    const nowMs = this.#clock.monotonicMs();
    const usage = this.#usageOf(key);
    return new Map([
      ...allowanceHeaders('requests', tightestAllowance('requests', key, usage, nowMs)),
      ...allowanceHeaders('tokens', tightestAllowance('tokens', key, usage, nowMs)),
    ]);
  }

  #usageOf(key: ApiKey): KeyUsage {
    return this.#usages.get(key.sha256) ?? {};
  }

  /** Above the bound the key goes that was used longest ago: there are never so many in force. */
  #remember({ sha256 }: ApiKey, usage: KeyUsage): void {
    this.#usages.delete(sha256);
    this.#usages.set(sha256, usage);
    const [oldest] = this.#usages.keys();
    if (oldest !== undefined && this.#usages.size > apiLimits.meteredKeys) {
      this.#usages.delete(oldest);
    }
  }
}

/** What one request of a limited key costs, and what its answer says of it. */
export class KeyAccount implements AnswerWatcher {
  readonly #meter: KeyMeter;
  readonly #key: ApiKey;
  readonly #response: ServerResponse;
  /** Tokens of the answer seen so far; undefined once they were charged. */
  #seen: number | undefined = 0;

  constructor(meter: KeyMeter, key: ApiKey, response: ServerResponse) {
    this.#meter = meter;
    this.#key = key;
    this.#response = response;
    this.#tell();
  }

  /** Counts the request. Throws `rate_limit_exceeded`. */
  admit(): void {
    const refusal = this.#meter.admit(this.#key);
    this.#tell();
    if (refusal === undefined) {
      return;
    }
    const { limit, waitMs } = refusal;
    const retryAfterSeconds = waitMs / 1000;
    if (retryAfterSeconds > apiLimits.retryAfterSeconds) {
      // Clients that repeat a request by themselves wait for a minute at most: it would be in vain.
      this.#response.setHeader('x-should-retry', 'false');
    }
    throw new MeshnodeError(
      'rate_limit_exceeded',
      `The key '${this.#key.name}' may use ${limit}; it has to wait ${durationText(waitMs)}.`,
      { retryAfterSeconds },
    );
  }

  event(event: InferenceEvent): void {
    if (event.type === 'usage') {
      this.#charge(event.prompt + event.completion);
    } else if (isOutput(event) && this.#seen !== undefined) {
      this.#seen += (event.type === 'delta' && event.tokenIds?.length) || 1;
    }
  }

  /** The answer is over. One without usage, because it failed or nobody waited for it, costs what was seen of it. */
  close(): void {
    this.#charge(this.#seen ?? 0);
  }

  #charge(tokens: number): void {
    if (this.#seen !== undefined) {
      this.#seen = undefined;
      this.#meter.charge(this.#key, tokens);
      this.#tell();
    }
  }

  #tell(): void {
    if (!this.#response.headersSent) {
      this.#response.setHeaders(this.#meter.headers(this.#key));
    }
  }
}

function allowanceHeaders(unit: string, allowance: Allowance | undefined): Array<[string, string]> {
  if (allowance === undefined) {
    return [];
  }
  return [
    [`x-ratelimit-limit-${unit}`, String(allowance.limit)],
    [`x-ratelimit-remaining-${unit}`, String(allowance.remaining)],
    [`x-ratelimit-reset-${unit}`, durationText(allowance.resetMs)],
  ];
}

/** `0s`, `12s`, `6m0s`, `23h59m1s`: whole seconds, rounded up. */
export function durationText(durationMs: number): string {
  const seconds = Math.ceil(durationMs / 1000);
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const parts = [hours > 0 ? `${hours}h` : '', hours > 0 || minutes > 0 ? `${minutes}m` : ''];
  return `${parts.join('')}${seconds % 60}s`;
}
