// How much one key may use: requests and tokens a minute, tokens a day. Pure; the whole state is one time for
// each bound.
import { fullAfterUse, leftOfRate, type RateLeft } from '../util/rate.ts';

/** What a key may use. A bound that is absent is none. */
export interface KeyLimits {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  readonly tokensPerDay?: number;
}

export type LimitName = keyof KeyLimits;

interface LimitKind {
  readonly unit: 'requests' | 'tokens';
  /** What is used comes back evenly over this long; as much as that may be used at once. */
  readonly windowMs: number;
}

const minuteMs = 60_000;

/**
 * A day is any 24 hours, not a date: nothing depends on a wall clock that may jump, nobody can spend two
 * days' worth around midnight, and the clients do not all come back at the same moment.
 */
const kinds = {
  requestsPerMinute: { unit: 'requests', windowMs: minuteMs },
  tokensPerMinute: { unit: 'tokens', windowMs: minuteMs },
  tokensPerDay: { unit: 'tokens', windowMs: 24 * 60 * minuteMs },
} as const satisfies Record<LimitName, LimitKind>;

export const limitNames = Object.keys(kinds) as LimitName[];

/** For each bound the monotonic time, ms, at which all of it can be used again. Absent: now. */
export type KeyUsage = { readonly [Name in LimitName]?: number };

/** What is left of one bound. */
export interface Allowance extends RateLeft {
  readonly limit: number;
}

/** Undefined if the key has no such bound. */
export function allowanceOf(
  name: LimitName,
  limits: KeyLimits,
  usage: KeyUsage,
  nowMs: number,
): Allowance | undefined {
  const limit = limits[name];
  if (limit === undefined) {
    return undefined;
  }
  const { windowMs } = kinds[name];
  return { limit, ...leftOfRate({ amount: limit, windowMs }, usage[name], nowMs) };
}

/** What is left of the key's bounds on one unit, the one with the least left: that is what a client meets first. */
export function tightestAllowance(
  unit: LimitKind['unit'],
  limits: KeyLimits,
  usage: KeyUsage,
  nowMs: number,
): Allowance | undefined {
  return limitNames
    .filter((name) => kinds[name].unit === unit)
    .map((name) => allowanceOf(name, limits, usage, nowMs))
    .reduce((least, other) => (least === undefined || isTighter(other, least) ? other : least), undefined);
}

function isTighter(one: Allowance | undefined, other: Allowance): boolean {
  return (
    one !== undefined &&
    (one.remaining < other.remaining || (one.remaining === other.remaining && one.waitMs > other.waitMs))
  );
}

/** Why a request has to wait: the bound that makes it wait longest. */
export interface Refusal {
  /** For people, e.g. `5 requests a minute`. */
  readonly limit: string;
  readonly waitMs: number;
}

export type Admission =
  | { readonly admitted: true; readonly usage: KeyUsage }
  | { readonly admitted: false; readonly refusal: Refusal };

/**
 * Admits a request if a request and at least one token are left, and counts it. What it will cost in
 * tokens is not known before it is answered; a refused request costs nothing.
 */
export function admitRequest(limits: KeyLimits, usage: KeyUsage, nowMs: number): Admission {
  let refusal: Refusal | undefined;
  for (const name of limitNames) {
    const allowance = allowanceOf(name, limits, usage, nowMs);
    if (allowance !== undefined && allowance.waitMs > (refusal?.waitMs ?? 0)) {
      refusal = { limit: limitText(name, allowance.limit), waitMs: allowance.waitMs };
    }
  }
  return refusal === undefined
    ? { admitted: true, usage: charged('requests', 1, limits, usage, nowMs) }
    : { admitted: false, refusal };
}

/** The usage after an answer of so many tokens. More than were left is a debt, which the next request waits for. */
export function chargeTokens(limits: KeyLimits, usage: KeyUsage, tokens: number, nowMs: number): KeyUsage {
  return charged('tokens', tokens, limits, usage, nowMs);
}

function charged(
  unit: LimitKind['unit'],
  amount: number,
  limits: KeyLimits,
  usage: KeyUsage,
  nowMs: number,
): KeyUsage {
  const after: { -readonly [Name in LimitName]?: number } = { ...usage };
  for (const name of limitNames) {
    const limit = limits[name];
    if (limit !== undefined && kinds[name].unit === unit) {
      const { windowMs } = kinds[name];
      after[name] = fullAfterUse({ amount: limit, windowMs }, usage[name], amount, nowMs);
    }
  }
  return after;
}

function limitText(name: LimitName, limit: number): string {
  const { unit, windowMs } = kinds[name];
  const one = limit === 1;
  return `${limit} ${one ? unit.slice(0, -1) : unit} a ${windowMs === minuteMs ? 'minute' : 'day'}`;
}
