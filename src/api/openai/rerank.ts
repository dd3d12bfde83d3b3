// Reads a /v1/rerank body (the shape that Jina and Cohere share) and writes its answer, best first.
import { z } from 'zod';
import { integerIn, listOf, textOf } from '../../inference/bounded-schemas.ts';
import type { UsageEvent } from '../../inference/events.ts';
import type { RerankRequest } from '../../inference/request.ts';
import type { JsonValue } from '../../util/json.ts';
import { requestLimits as limits } from '../../util/limits/inference.ts';
import type { AnswerEvent, AnswerHead, CallContext, SurfaceCall, WholeWriter } from '../surface.ts';
import { envelopeShape, readEnvelope } from './envelope.ts';
import { sortOtherFields } from './fields.ts';
import { parseBody, requestObject, textOr } from './parse.ts';

const text = textOf(limits.textLength);

const rerankShape = {
  ...envelopeShape,
  query: text,
  documents: listOf(
    textOr(
      text,
      z.object({ text }).transform((document) => document.text),
    ),
    limits.rerankDocuments,
    1,
  ),
  top_n: integerIn(1, limits.rerankDocuments).optional(),
  return_documents: z.boolean().optional(),
};
const rerankBody = z.object(rerankShape);
const knownFields: ReadonlySet<string> = new Set(Object.keys(rerankShape));

type RerankBody = z.infer<typeof rerankBody>;

export function readRerank(json: JsonValue, context: CallContext): SurfaceCall {
  const object = requestObject(json);
  const { extra, ignored } = sortOtherFields(object, knownFields);
  const body = parseBody(rerankBody, object);
  const { query, documents } = body;
  const request: RerankRequest = { ...readEnvelope(body, context, extra), kind: 'rerank', query, documents };
  return { requests: [request], ignored, whole: () => new RerankWriter(body) };
}

class RerankWriter implements WholeWriter {
  readonly #body: RerankBody;
  readonly #results: Array<{ index: number; relevance_score: number }> = [];
  #usage: UsageEvent | undefined;

  constructor(body: RerankBody) {
    this.#body = body;
  }

  event(event: AnswerEvent): void {
    if (event.type === 'usage') {
      this.#usage = event;
    } else if (event.type === 'score') {
      this.#results.push({ index: event.index, relevance_score: event.score });
    }
  }

  end(head: AnswerHead): object {
    const { documents, top_n, return_documents } = this.#body;
    const prompt_tokens = this.#usage?.prompt ?? 0;
    const results = this.#results
      .sort((one, other) => other.relevance_score - one.relevance_score || one.index - other.index)
      .slice(0, top_n);
    return {
      id: `rerank-${head.id}`,
      object: 'list',
      model: head.model,
      usage: { prompt_tokens, total_tokens: prompt_tokens },
      results: return_documents
        ? results.map((result) => ({ ...result, document: { text: documents[result.index] } }))
        : results,
    };
  }
}
