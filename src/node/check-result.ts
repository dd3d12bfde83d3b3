// What a check of `meshnode doctor` finds: one sentence, how bad it is, and what to do. A contract of `--json`: fields
// are added, never renamed.
import { asMeshnodeError } from '../util/errors.ts';

export interface CheckResult {
  readonly check: string;
  readonly outcome: 'ok' | 'warning' | 'failed';
  /** What was found, one sentence. */
  readonly found: string;
  /** What to do; absent if all is well. */
  readonly hint?: string;
  /** Id of the peer that it is about, if it is about one. */
  readonly peerId?: string;
}

export function ok(check: string, found: string): CheckResult {
  return { check, outcome: 'ok', found };
}

export function warning(check: string, found: string, hint: string): CheckResult {
  return { check, outcome: 'warning', found, hint };
}

export function failed(check: string, found: string, hint: string): CheckResult {
  return { check, outcome: 'failed', found, hint };
}

/** A check that could not be made, because of `thrown`. */
export function failure(check: string, thrown: unknown): CheckResult {
  const { message, hint } = asMeshnodeError(thrown);
  return failed(check, message, hint);
}
