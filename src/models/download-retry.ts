// Trying again: waits that grow, with jitter, bounded, and ended by a signal. Only `download_failed` is
// tried again; every other error says something that time does not change.
import { type Clock, sleep } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { downloadLimits } from '../util/limits/models.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';

/** The bounds of downloads; a test may hand in shorter waits. */
export type DownloadLimits = { readonly [Name in keyof typeof downloadLimits]: number };

/** What everything that talks to the hub is built from. */
export interface DownloadParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly limits: DownloadLimits;
}

/** Calls `attempt` until it succeeds or failed `limits.tries` times in a row without `advanced()` being true. */
export async function withRetries<T>(
  parts: DownloadParts,
  signal: AbortSignal,
  attempt: () => Promise<T>,
  advanced: () => boolean = () => false,
): Promise<T> {
  for (let failures = 0; ; ) {
    try {
      return await attempt();
    } catch (thrown) {
      failures = advanced() ? 1 : failures + 1;
      if (!mayPass(thrown) || failures >= parts.limits.tries) {
        throw thrown;
      }
      const waitMs = backoffMs(thrown, failures, parts);
      parts.log.info({ err: thrown, waitMs, failures }, 'the hub failed; trying again');
      await sleep(parts.clock, waitMs, signal);
    }
  }
}

function mayPass(thrown: unknown): thrown is MeshnodeError {
  return thrown instanceof MeshnodeError && thrown.code === 'download_failed';
}

/** Doubling with a jitter of a half, or what the hub asked for. */
function backoffMs(error: MeshnodeError, failures: number, { limits, random }: DownloadParts): number {
  const askedMs = (error.details.retryAfterSeconds ?? 0) * 1000;
  const growingMs = Math.min(limits.backoffMs * 2 ** (failures - 1), limits.backoffMaxMs);
  return Math.max(Math.min(askedMs, limits.retryAfterMaxMs), growingMs * (0.5 + random.float() / 2));
}
