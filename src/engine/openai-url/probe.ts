// Asks an attached server what it serves, and reads its list of models: bounded, names checked. Knows
// nothing of what becomes of them.
import { MeshnodeError } from '../../util/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { requestLimits } from '../../util/limits/inference.ts';
import type { ServerClient } from '../openai/client.ts';
import { protocolError } from '../openai/errors.ts';

/** A model as the server lists it. */
export interface ListedModel {
  readonly name: string;
  /** Tokens per sequence, where the server tells: OpenAI's own list does not. */
  readonly contextTokens?: number;
}

/** Every model that the server lists now. Throws `attach_failed` with the reason. */
export async function probeModels(client: ServerClient, signal: AbortSignal): Promise<ListedModel[]> {
  try {
    const body = await client.json({
      method: 'GET',
      path: '/models',
      signal,
      silenceMs: engineLimits.attachTimeoutMs,
    });
    return readModelList(body);
  } catch (cause) {
    if (signal.aborted) {
      throw signal.reason;
    }
    const reason = cause instanceof MeshnodeError ? cause.message : 'It does not answer.';
    throw new MeshnodeError('attach_failed', `The models of ${client.url} could not be listed. ${reason}`, {
      cause,
    });
  }
}

/** Reads `{data: [{id, ...}]}`. Names that no request could carry are left out; throws if there is no list. */
export function readModelList(body: JsonValue): ListedModel[] {
  const data = isJsonObject(body) ? body['data'] : undefined;
  if (isJsonObject(body) && data === null) {
    return []; // How Ollama lists no models.
  }
  if (!Array.isArray(data)) {
    throw protocolError('did not answer /models with a list of models');
  }
  const models = new Map<string, ListedModel>();
  for (const item of data) {
    if (isJsonObject(item) && isModelName(item['id']) && models.size < engineLimits.attachModels) {
      models.set(item['id'], { name: item['id'], ...readContext(item) });
    }
  }
  return [...models.values()];
}

function isModelName(json: JsonValue | undefined): json is string {
  return (
    typeof json === 'string' &&
    json.length > 0 &&
    json.length <= requestLimits.modelNameLength &&
    json.isWellFormed() &&
    !/\p{Cc}/u.test(json)
  );
}

/** vLLM says `max_model_len`, llama-server `meta.n_ctx`, several hubs `context_length`. */
function readContext(item: JsonObject): { contextTokens?: number } {
  const meta = isJsonObject(item['meta']) ? item['meta'] : {};
  const tokens = item['max_model_len'] ?? meta['n_ctx'] ?? item['context_length'];
  return typeof tokens === 'number' && Number.isSafeInteger(tokens) && tokens > 0
    ? { contextTokens: tokens }
    : {};
}
