// The id of a request: the client's own if it is harmless to repeat, else a fresh one.
import type { IncomingHttpHeaders } from 'node:http';
import { apiLimits } from '../util/limits/api.ts';
import { type Random, randomId } from '../util/random.ts';

/** Characters of the ids in use (UUIDs, ULIDs, trace ids); nothing that a header or a log could misread. */
const harmless = /^[A-Za-z0-9._:=+/-]+$/;
const freshLength = 24;

/** The client's `x-request-id` if it is valid, else a new id. */
export function requestIdOf(headers: IncomingHttpHeaders, random: Random): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && given.length <= apiLimits.requestIdLength && harmless.test(given)
    ? given
    : freshRequestId(random);
}

export function freshRequestId(random: Random): string {
  return `req_${randomId(random, freshLength)}`;
}
