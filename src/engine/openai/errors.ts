// What a model server's failures are called here: HTTP statuses, error objects and broken connections
// as MeshnodeErrors. Texts of the server are passed on short, on one line, without the key and addresses.

import { type ErrorCode, isErrorCode, MeshnodeError, systemErrorCode } from '../../util/errors.ts';
import { isJsonObject, type JsonValue, parseJson } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { requestLimits } from '../../util/limits/inference.ts';

/** An answer that is no success, as far as it was read. */
export interface FailedAnswer {
  readonly status: number;
  /** Value of the `retry-after` header. */
  readonly retryAfter?: string | undefined;
  /** The body, or its beginning. */
  readonly text: string;
}

/** What the server was asked, for messages. */
export interface FailureContext {
  /** E.g. `/rerank`. */
  readonly path: string;
  readonly apiKey: string | undefined;
}

/** What the server says of a failure, from whichever of the usual shapes it chose. */
interface ServerError {
  readonly message: string;
  readonly code: string;
  readonly type: string;
  readonly param: string | undefined;
}

/** Codes of ours that an attached meshnode, or another server with the same words, may give for a 400. */
const requestFaults: ReadonlySet<ErrorCode> = new Set([
  'invalid_request',
  'unsupported_parameter',
  'forbidden_parameter',
  'context_length_exceeded',
  'invalid_schema',
  'model_unsupported',
]);

const refusedKey = 'The model server refused the API key: set the right one where the server is attached.';

/** The error that an HTTP answer with a status other than 200 stands for. */
export function statusError(answer: FailedAnswer, context: FailureContext): MeshnodeError {
  const said = readServerError(tryParse(answer.text));
  return classify(answer.status, said, readRetryAfter(answer.retryAfter), context);
}

/** The error in an answer whose status was 200: `{"error": ...}` as a frame or as the whole body. Undefined if there is none. */
export function inBandError(body: JsonValue, context: FailureContext): MeshnodeError | undefined {
  const error = isJsonObject(body) ? (body['error'] ?? null) : null;
  if (error === null) {
    return undefined;
  }
  const status = isJsonObject(error) ? Number(error['code'] ?? error['status']) : Number.NaN;
  const said = readServerError(body);
  const known = Number.isInteger(status) && status >= 400 && status < 600;
  return classify(known ? status : isContextOverflow(said) ? 400 : 500, said, undefined, context);
}

function classify(
  status: number,
  said: ServerError,
  retryAfterSeconds: number | undefined,
  context: FailureContext,
): MeshnodeError {
  const message = describe(said.message || `HTTP status ${status}`, context);
  const later = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  // llama-server calls a text that is too long to embed a fault of its own.
  if (inputTooLarge.test(said.message)) {
    return new MeshnodeError('context_length_exceeded', message);
  }
  switch (status) {
    case 401:
    case 403:
      // No word of the server's text: some repeat the key in it.
      return new MeshnodeError('engine_error', refusedKey);
    case 404:
    case 405:
      return notFound(said, message, context);
    case 413:
      return new MeshnodeError('body_too_large', message);
    case 429:
      return new MeshnodeError('rate_limit_exceeded', message, later);
    case 501:
      return new MeshnodeError('model_unsupported', message);
    case 503:
      return new MeshnodeError('engine_unavailable', message, later);
    default:
      return status >= 400 && status < 500 && status !== 408
        ? requestFault(said, message)
        : new MeshnodeError('engine_error', message, later);
  }
}

/** The error that a failed connection stands for. `answered`: whether the server's headers had come. */
export function connectionError(thrown: unknown, answered: boolean): MeshnodeError {
  if (thrown instanceof MeshnodeError) {
    return thrown;
  }
  const code = systemErrorCode(thrown) ?? '';
  if (answered || code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE') {
    return new MeshnodeError('engine_lost', 'The connection to the model server broke.', {
      cause: thrown,
    });
  }
  if (code.startsWith('HPE_') || code === 'UND_ERR_HEADERS_OVERFLOW') {
    return new MeshnodeError('engine_protocol', 'The model server does not answer in HTTP.', {
      cause: thrown,
    });
  }
  return new MeshnodeError(
    'engine_unavailable',
    `The model server cannot be reached${code ? ` (${code})` : ''}.`,
    {
      cause: thrown,
    },
  );
}

/** `engine_protocol`: the server answered, but not as OpenAI's API does. */
export function protocolError(what: string, cause?: unknown): MeshnodeError {
  return new MeshnodeError('engine_protocol', `The model server ${what}.`, { cause });
}

/** 404 says either that the model is gone or that the server has no such route. */
function notFound(said: ServerError, message: string, context: FailureContext): MeshnodeError {
  const namesModel = said.code === 'model_not_found' || /\bmodel\b/i.test(said.message);
  return namesModel
    ? new MeshnodeError('model_not_found', message)
    : new MeshnodeError('model_unsupported', `The model server has no ${context.path}.`, {
        param: 'model',
      });
}

function requestFault(said: ServerError, message: string): MeshnodeError {
  const details = said.param === undefined ? {} : { param: said.param };
  if (isContextOverflow(said)) {
    return new MeshnodeError('context_length_exceeded', message, details);
  }
  const known = isErrorCode(said.code) && requestFaults.has(said.code);
  return new MeshnodeError(known ? (said.code as ErrorCode) : 'invalid_request', message, details);
}

const inputTooLarge = /^input \(\d+ tokens\) is too large to process/;

/** By code where there is one, else by the words that vLLM, LM Studio and others use. */
function isContextOverflow(said: ServerError): boolean {
  return (
    said.code === 'context_length_exceeded' ||
    said.type === 'exceed_context_size_error' ||
    /context (length|size|window)|maximum context/i.test(said.message)
  );
}

/** Reads `{error: {...}}`, `{error: "..."}`, `{message, ...}`, `{detail: "..."}`; plain text gives no message. */
function readServerError(body: JsonValue): ServerError {
  const top = isJsonObject(body) ? body : {};
  const error = isJsonObject(top['error']) ? top['error'] : top;
  const message = [error['message'], top['error'], top['detail']].find((value) => typeof value === 'string');
  return {
    message: typeof message === 'string' ? message : '',
    code: asText(error['code']),
    type: asText(error['type']),
    param: asText(error['param']) || undefined,
  };
}

function tryParse(text: string): JsonValue {
  try {
    return parseJson(text, requestLimits.jsonDepth);
  } catch {
    return null;
  }
}

function asText(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value.slice(0, engineLimits.attachErrorChars) : '';
}

/** What tells of the network behind the server: URLs, and addresses as connection errors have them. */
const addresses =
  /\b(?:https?|wss?):\/\/[^\s"'<>]+|(?:\b\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f]*:[0-9a-f:]+\]|\blocalhost)(?::\d+)?/gi;

/** The first line of the server's text, bounded, with the key and addresses cut out. */
function describe(text: string, context: FailureContext): string {
  const { apiKey } = context;
  const safe = apiKey === undefined ? text : text.replaceAll(apiKey, '[hidden]');
  const [line = ''] = safe.trimStart().split(/[\r\n]/, 1);
  const shown = line.slice(0, engineLimits.attachErrorChars).replaceAll(addresses, '[address]');
  return `The model server says: ${shown}`;
}

/** Seconds from a `retry-after` in seconds; a date, which needs equal clocks, is passed over. */
function readRetryAfter(header: string | undefined): number | undefined {
  const seconds = Number(header);
  return header !== undefined && header !== '' && Number.isFinite(seconds) && seconds >= 0
    ? Math.ceil(seconds)
    : undefined;
}
