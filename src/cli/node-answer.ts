// One request to an API of the running node, and what can go wrong with it: nobody listens, the answer is
// none of ours, or it is an error in OpenAI's form. Every failure says what to do.
import { type Dispatcher, request } from 'undici';
import { isErrorCode, MeshnodeError } from '../util/errors.ts';
import { isJsonObject, type JsonObject, parseJson } from '../util/json.ts';
import { requestLimits } from '../util/limits/inference.ts';

export interface NodeRequest {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  /** The token of the data folder, which both APIs take. */
  readonly token: string;
  readonly body?: JsonObject;
}

/**
 * Sends a request and resolves with an answer of status 2xx. Rejects with `node_not_running`, the error
 * that the node answers, `engine_protocol` if it is none of ours, or the signal's reason.
 */
export async function askNode(
  { method, url, token, body }: NodeRequest,
  signal: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const answer = await request(url, {
    method,
    signal,
    // The first token of a long prompt may take minutes; the node has timeouts of its own.
    headersTimeout: 0,
    bodyTimeout: 0,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body === undefined ? null : JSON.stringify(body),
  }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new MeshnodeError('node_not_running', `The node at ${new URL(url).origin} does not answer.`, {
      hint: 'Start it again with `meshnode`; if it runs, its log says more.',
      cause,
    });
  });
  if (answer.statusCode >= 300) {
    throw answeredError(await readObject(answer, url, signal));
  }
  return answer;
}

/** The JSON object that an answer holds. Rejects with `engine_lost` or `engine_protocol`. */
export async function readObject(
  { body, statusCode }: Dispatcher.ResponseData,
  url: string,
  signal: AbortSignal,
): Promise<JsonObject> {
  const text = await body.text().catch((cause: unknown) => {
    signal.throwIfAborted();
    throw new MeshnodeError('engine_lost', 'The answer of the node broke off.', { cause });
  });
  return parseAnswer(text, `The answer of ${new URL(url).origin} (status ${statusCode})`);
}

/** Text of the node as an object; `what` is the subject of the sentence that says it is none. */
export function parseAnswer(text: string, what: string): JsonObject {
  let value: unknown;
  try {
    value = parseJson(text, requestLimits.jsonDepth);
  } catch {
    // Said below, with the address.
  }
  if (isJsonObject(value)) {
    return value;
  }
  throw new MeshnodeError('engine_protocol', `${what} is no JSON object.`, {
    hint: 'Another program may listen there: `meshnode status` says where the node is.',
  });
}

/** The error that an answer of one of our APIs holds. */
export function answeredError(body: JsonObject): MeshnodeError {
  const error = isJsonObject(body['error']) ? body['error'] : {};
  const { code, message } = error;
  return new MeshnodeError(
    typeof code === 'string' && isErrorCode(code) ? code : 'engine_error',
    typeof message === 'string' ? message : 'The node refused without a reason.',
  );
}
