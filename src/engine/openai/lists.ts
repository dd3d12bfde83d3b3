// The answers of an OpenAI-speaking server that are lists: vectors and scores. Pure; every item that
// was asked for is there, or the answer is refused.
import type { ScoreEvent, VectorEvent } from '../../inference/events.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../util/json.ts';
import { eventLimits } from '../../util/limits/inference.ts';
import { tokenCount } from './answer-reader.ts';
import { protocolError } from './errors.ts';

/** The vectors of `count` inputs, the first of which is input number `offset` of the request. */
export function readVectors(body: JsonValue, count: number, offset: number): VectorEvent[] {
  const vectors = readItems(body, 'data', count).map((item) => readVector(item['embedding']));
  if (vectors.some((values) => values.length !== vectors[0]?.length)) {
    throw protocolError('gave embeddings of different lengths');
  }
  return vectors.map((values, index) => ({ type: 'vector', index: offset + index, values }));
}

/** The leading `dimensions` of a vector, at unit length. Throws `invalid_request` if it has fewer. */
export function cutVector(values: Float32Array, dimensions: number): Float32Array {
  if (dimensions > values.length) {
    const message = `${dimensions} dimensions were asked for; this model has ${values.length}.`;
    throw new MeshnodeError('invalid_request', message, { param: 'dimensions' });
  }
  const cut = values.slice(0, dimensions);
  const length = Math.hypot(...cut);
  return cut.map((value) => (length === 0 ? 0 : value / length));
}

/** The scores of `count` documents, in their order. Jina and Cohere say `relevance_score`, TEI says `score`. */
export function readScores(body: JsonValue, count: number): ScoreEvent[] {
  const items = readItems(body, 'results', count);
  return items.map((item, index) => {
    const score = item['relevance_score'] ?? item['score'];
    if (!isFiniteNumber(score)) {
      throw protocolError('gave a document no score');
    }
    return { type: 'score', index, score };
  });
}

/** Prompt tokens of a list answer, if it tells: some servers count them as `total_tokens` only. */
export function readPromptTokens(body: JsonValue): number | undefined {
  const usage = isJsonObject(body) ? body['usage'] : undefined;
  return isJsonObject(usage) ? tokenCount(usage['prompt_tokens'] ?? usage['total_tokens']) : undefined;
}

/** The list under `field`, ordered by its items' `index`. Throws unless it names each of 0 to `count` - 1 once. */
function readItems(body: JsonValue, field: string, count: number): JsonObject[] {
  const list = isJsonObject(body) ? body[field] : undefined;
  if (!Array.isArray(list) || list.length !== count) {
    throw protocolError(`did not give one of \`${field}\` for each of ${count} inputs`);
  }
  const byIndex = new Map<JsonValue, JsonObject>();
  for (const [position, item] of list.entries()) {
    if (isJsonObject(item)) {
      byIndex.set(item['index'] ?? position, item);
    }
  }
  return Array.from({ length: count }, (_, index) => {
    const item = byIndex.get(index);
    if (item === undefined) {
      throw protocolError(`left number ${index} out of \`${field}\``);
    }
    return item;
  });
}

function readVector(json: JsonValue | undefined): Float32Array {
  if (
    !Array.isArray(json) ||
    json.length === 0 ||
    json.length > eventLimits.vectorLength ||
    !json.every(isFiniteNumber)
  ) {
    throw protocolError('gave an embedding that is no list of numbers');
  }
  return Float32Array.from(json);
}

/** JSON has no infinity, but 1e999 is one. */
function isFiniteNumber(json: JsonValue | undefined): json is number {
  return typeof json === 'number' && Number.isFinite(json);
}
