// Reads a /v1/embeddings body and writes its answer. OpenAI's own client asks for base64 unless told otherwise.
import type OpenAI from 'openai';
import { z } from 'zod';
import { integerIn } from '../../inference/bounded-schemas.ts';
import type { UsageEvent } from '../../inference/events.ts';
import type { EmbeddingRequest } from '../../inference/request.ts';
import type { JsonValue } from '../../util/json.ts';
import { eventLimits, requestLimits as limits } from '../../util/limits/inference.ts';
import type { AnswerEvent, AnswerHead, CallContext, SurfaceCall, WholeWriter } from '../surface.ts';
import { envelopeShape, readEnvelope } from './envelope.ts';
import { sortOtherFields } from './fields.ts';
import { defined, parseBody, requestObject } from './parse.ts';
import { textsOrTokens } from './texts-or-tokens.ts';

const embeddingShape = {
  ...envelopeShape,
  input: textsOrTokens(limits.embeddingInputs),
  dimensions: integerIn(1, eventLimits.vectorLength).optional(),
  encoding_format: z.enum(['float', 'base64']).optional(),
};
const embeddingBody = z.object(embeddingShape);
const knownFields: ReadonlySet<string> = new Set(Object.keys(embeddingShape));

export function readEmbedding(json: JsonValue, context: CallContext): SurfaceCall {
  const object = requestObject(json);
  const { extra, ignored } = sortOtherFields(object, knownFields);
  const body = parseBody(embeddingBody, object);
  const request = defined<EmbeddingRequest>({
    ...readEnvelope(body, context, extra),
    kind: 'embedding',
    inputs: body.input,
    dimensions: body.dimensions,
  });
  const base64 = body.encoding_format === 'base64';
  return { requests: [request], ignored, whole: () => new EmbeddingWriter(base64) };
}

class EmbeddingWriter implements WholeWriter {
  readonly #base64: boolean;
  readonly #vectors: Array<string | number[]> = [];
  #usage: UsageEvent | undefined;

  constructor(base64: boolean) {
    this.#base64 = base64;
  }

  event(event: AnswerEvent): void {
    if (event.type === 'usage') {
      this.#usage = event;
    } else if (event.type === 'vector') {
      this.#vectors[event.index] = this.#base64 ? base64Of(event.values) : [...event.values];
    }
  }

  end(head: AnswerHead) {
    const prompt_tokens = this.#usage?.prompt ?? 0;
    return {
      object: 'list',
      data: this.#vectors.map((embedding, index) => ({
        object: 'embedding' as const,
        index,
        // The official type knows only the numbers; the client decodes the text to them.
        embedding: embedding as number[],
      })),
      model: head.model,
      usage: { prompt_tokens, total_tokens: prompt_tokens },
    } satisfies OpenAI.CreateEmbeddingResponse;
  }
}

/** 32-bit floats, little endian: as every machine that Node.js runs on today holds them. */
function base64Of(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
}
