// What of a peer's error is told to a client: its message may be anything, and its context of any size.
import type { ErrorEvent } from '../../inference/events.ts';
import { remoteLimits } from '../../util/limits/dispatch.ts';

export function boundedError({ data, retryAfterSeconds, ...error }: ErrorEvent): ErrorEvent {
  const isSmall = data !== undefined && JSON.stringify(data).length <= remoteLimits.errorDataChars;
  return {
    ...error,
    message: error.message.slice(0, remoteLimits.errorChars).toWellFormed(),
    ...(isSmall ? { data } : {}),
    ...(retryAfterSeconds === undefined
      ? {}
      : { retryAfterSeconds: Math.min(Math.max(retryAfterSeconds, 0), remoteLimits.retryAfterSeconds) || 0 }),
  };
}
