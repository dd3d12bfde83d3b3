// Whole JSON answers: a value, or an error in OpenAI's shape. The one place that turns a MeshnodeError
// into a status, headers and a body.
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import { cutUnlessTaken } from './stalled-reader.ts';

/** The body of every error. `loading` is there only while the model asked for is on its way. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
    readonly loading?: unknown;
  };
}

export function errorBody(error: MeshnodeError): ErrorBody {
  const { param, data } = error.details;
  return {
    error: {
      message: error.message,
      type: error.kind.type,
      param: param ?? null,
      code: error.code,
      ...(data?.['loading'] === undefined ? {} : { loading: data['loading'] }),
    },
  };
}

/** Answers with `value` as JSON. Does nothing if the client is gone. */
export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: OutgoingHttpHeaders = {},
): void {
  sendBody(response, status, 'application/json', JSON.stringify(value), headers);
}

/** Answers with a short text for a person or a program. Does nothing if the client is gone. */
export function sendText(
  response: ServerResponse,
  text: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  sendBody(response, 200, contentType, text);
}

/**
 * Answers with an error. With `outputProduced` the client is told not to send the request again by
 * itself: tokens were generated for it. An answer that has begun is broken off instead.
 */
export function sendError(
  response: ServerResponse,
  error: MeshnodeError,
  options: { outputProduced?: boolean } = {},
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const mayRetry = error.kind.retryable && options.outputProduced !== true;
  sendJson(response, error.kind.status, errorBody(error), {
    ...(mayRetry ? {} : { 'x-should-retry': 'false' }),
    ...retryHeaders(error, response),
    ...allowHeader(error),
  });
}

/** `retry-after`, and what OpenAI's clients read of a rate limit, unless the answer tells of the caller's own. */
function retryHeaders(error: MeshnodeError, response: ServerResponse): OutgoingHttpHeaders {
  const { retryAfterSeconds, data } = error.details;
  const limited = error.kind.status === 429;
  if (retryAfterSeconds === undefined && !limited) {
    return {};
  }
  const seconds = Math.min(apiLimits.retryAfterSeconds, Math.max(1, Math.ceil(retryAfterSeconds ?? 1)));
  if (!limited || response.getHeaderNames().some((name) => name.startsWith('x-ratelimit-'))) {
    return { 'retry-after': String(seconds) };
  }
  return {
    'retry-after': String(seconds),
    'x-ratelimit-remaining-requests': '0',
    'x-ratelimit-reset-requests': `${seconds}s`,
    ...(typeof data?.['limit'] === 'number' ? { 'x-ratelimit-limit-requests': String(data['limit']) } : {}),
  };
}

function allowHeader(error: MeshnodeError): OutgoingHttpHeaders {
  const allow = error.details.data?.['allow'];
  return typeof allow === 'string' ? { allow } : {};
}

function sendBody(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string,
  headers: OutgoingHttpHeaders = {},
): void {
  if (response.destroyed || response.headersSent) {
    return;
  }
  const bytes = Buffer.from(body);
  response.writeHead(status, { ...headers, 'content-type': contentType, 'content-length': bytes.length });
  cutUnlessTaken(response, apiLimits.stalledReaderMs);
  response.end(bytes);
}
