// One streaming chat request to the node's API, for `meshnode run`: the pieces of text as they come.
import { createParser } from 'eventsource-parser';
import { request } from 'undici';
import { MeshnodeError } from '../util/errors.ts';
import { isJsonObject, parseJson } from '../util/json.ts';
import { requestLimits } from '../util/limits.ts';
import { answeredError } from './node-client.ts';

export interface ChatTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface ChatOptions {
  /** E.g. `http://127.0.0.1:9337/v1`. */
  readonly apiUrl: string;
  readonly apiKey?: string;
  readonly model: string;
  readonly messages: readonly ChatTurn[];
  readonly temperature?: number;
  readonly maxTokens?: number;
}

/** What came of a turn beside its text. */
export interface ChatEnd {
  readonly finishReason: string;
  readonly completionTokens: number;
}

/** The answer piece by piece. Throws the API's error, or `engine_lost` if the stream breaks off. */
export async function* streamChat(
  options: ChatOptions,
  signal: AbortSignal,
): AsyncGenerator<string, ChatEnd, undefined> {
  const { apiUrl, apiKey, model, messages, temperature, maxTokens } = options;
  const answer = await request(`${apiUrl}/chat/completions`, {
    method: 'POST',
    signal,
    headersTimeout: 0,
    bodyTimeout: 0,
    headers: {
      'content-type': 'application/json',
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
      ...(temperature === undefined ? {} : { temperature }),
      ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
    }),
  });
  if (answer.statusCode !== 200) {
    const body: unknown = await answer.body.json();
    throw answeredError(isJsonObject(body) ? body : {});
  }
  const frames: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => frames.push(data) });
  const decoder = new TextDecoder();
  let finishReason = '';
  let completionTokens = 0;
  for await (const chunk of answer.body) {
    parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }));
    for (const frame of frames.splice(0)) {
      if (frame === '[DONE]') {
        return { finishReason, completionTokens };
      }
      const piece = readChunk(frame);
      finishReason = piece.finishReason ?? finishReason;
      completionTokens = piece.completionTokens ?? completionTokens;
      if (piece.text !== '') {
        yield piece.text;
      }
    }
  }
  throw new MeshnodeError('engine_lost', 'The answer broke off.');
}

interface ChunkContent {
  readonly text: string;
  readonly finishReason?: string;
  readonly completionTokens?: number;
}

function readChunk(frame: string): ChunkContent {
  const chunk = parseJson(frame, requestLimits.jsonDepth);
  if (!isJsonObject(chunk) || chunk['error'] !== undefined) {
    throw answeredError(isJsonObject(chunk) ? chunk : {});
  }
  const choice = Array.isArray(chunk['choices']) ? chunk['choices'][0] : undefined;
  const delta = isJsonObject(choice) && isJsonObject(choice['delta']) ? choice['delta'] : {};
  const reason = isJsonObject(choice) ? choice['finish_reason'] : undefined;
  const usage = isJsonObject(chunk['usage']) ? chunk['usage']['completion_tokens'] : undefined;
  return {
    text: typeof delta['content'] === 'string' ? delta['content'] : '',
    ...(typeof reason === 'string' ? { finishReason: reason } : {}),
    ...(typeof usage === 'number' ? { completionTokens: usage } : {}),
  };
}
