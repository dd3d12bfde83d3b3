// One streaming chat request to the node's API, for `meshnode run`: the pieces of text as they come.
import { createParser } from 'eventsource-parser';
import { MeshnodeError } from '../util/errors.ts';
import { isJsonObject } from '../util/json.ts';
import { answeredError, askNode, parseAnswer } from './node-answer.ts';

export interface ChatTurn {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

export interface ChatOptions {
  /** E.g. `http://127.0.0.1:9337/v1`. */
  readonly apiUrl: string;
  /** The token of the node's data folder. */
  readonly token: string;
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

/**
 * The answer piece by piece. Throws the API's error, `node_not_running`, `engine_lost` if the stream breaks
 * off, `engine_protocol` if it is none, or the signal's reason.
 */
export async function* streamChat(
  options: ChatOptions,
  signal: AbortSignal,
): AsyncGenerator<string, ChatEnd, undefined> {
  const { apiUrl, token, model, messages, temperature, maxTokens } = options;
  const body = {
    model,
    messages: messages.map((turn) => ({ ...turn })),
    stream: true,
    stream_options: { include_usage: true },
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
  };
  const answer = await askNode({ method: 'POST', url: `${apiUrl}/chat/completions`, token, body }, signal);
  let finishReason = '';
  let completionTokens = 0;
  for await (const frame of readFrames(answer.body, signal)) {
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
  throw new MeshnodeError('engine_lost', 'The answer broke off.');
}

/** The data of each server-sent event. Throws `engine_lost` if the connection breaks. */
async function* readFrames(
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<string, void, undefined> {
  const frames: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => frames.push(data) });
  const decoder = new TextDecoder();
  try {
    for await (const bytes of body) {
      parser.feed(decoder.decode(bytes, { stream: true }));
      yield* frames.splice(0);
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw new MeshnodeError('engine_lost', 'The answer broke off.', { cause });
  }
}

interface ChunkContent {
  readonly text: string;
  readonly finishReason?: string;
  readonly completionTokens?: number;
}

function readChunk(frame: string): ChunkContent {
  const chunk = parseAnswer(frame, 'An event of the answer');
  if (chunk['error'] !== undefined) {
    throw answeredError(chunk);
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
