// Fields that chat and text completions share: sampling, limits, stop sequences, streaming.
import { z } from 'zod';
import { integerIn, listOf, numberIn, textOf } from '../../inference/bounded-schemas.ts';
import type { Sampling } from '../../inference/request.ts';
import { isJsonObject } from '../../util/json.ts';
import { requestLimits as limits } from '../../util/limits/inference.ts';
import { envelopeShape } from './envelope.ts';
import { defined, invalid, textOr } from './parse.ts';

const stopSequence = textOf(limits.stopLength);

/** Fields of both bodies. Null has been taken for absent before. */
export const generationShape = {
  ...envelopeShape,
  stream: z.boolean().optional(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).optional(),
  max_tokens: integerIn(1, limits.maxTokens).optional(),
  n: integerIn(1, limits.choices).optional(),
  stop: textOr(stopSequence, listOf(stopSequence, limits.stops)).optional(),
  seed: z.int().optional(),
  temperature: numberIn(0, limits.temperature).optional(),
  top_p: numberIn(0, 1).optional(),
  top_k: integerIn(-1, limits.topK).optional(),
  min_p: numberIn(0, 1).optional(),
  frequency_penalty: numberIn(-limits.penalty, limits.penalty).optional(),
  presence_penalty: numberIn(-limits.penalty, limits.penalty).optional(),
  repeat_penalty: numberIn(0, limits.repeatPenalty).optional(),
  /** The name other servers give to `repeat_penalty`. */
  repetition_penalty: numberIn(0, limits.repeatPenalty).optional(),
  logit_bias: z
    .custom<Record<string, unknown>>(
      (value) => isJsonObject(value) && Object.keys(value).length <= limits.logitBias,
      { error: `an object of at most ${limits.logitBias} tokens is expected` },
    )
    .optional(),
  grammar: textOf(limits.schemaBytes, 1).optional(),
};

type GenerationBody = z.infer<z.ZodObject<typeof generationShape>>;

export function readSampling(body: GenerationBody): Sampling {
  return defined<Sampling>({
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k,
    minP: body.min_p,
    seed: body.seed,
    frequencyPenalty: body.frequency_penalty,
    presencePenalty: body.presence_penalty,
    repeatPenalty: body.repeat_penalty ?? body.repetition_penalty,
    logitBias: body.logit_bias === undefined ? undefined : readLogitBias(body.logit_bias),
  });
}

/** Empty stop sequences would end every answer at once; clients that send them mean none. */
export function readStops({ stop }: GenerationBody): string[] {
  return [stop ?? []].flat().filter((sequence) => sequence !== '');
}

/** Whether the last chunk of a stream tells the usage. */
export function wantsUsage(body: GenerationBody): boolean {
  return body.stream_options?.include_usage === true;
}

function readLogitBias(map: Record<string, unknown>): Array<[number, number]> {
  return Object.entries(map).map(([token, bias]) => {
    if (!/^\d{1,9}$/.test(token)) {
      throw invalid(['logit_bias'], 'the names in it are token ids');
    }
    const most = limits.logitBiasSize;
    if (typeof bias !== 'number' || !(bias >= -most && bias <= most)) {
      throw invalid(['logit_bias', token], `a number from ${-most} to ${most} is expected`);
    }
    return [Number(token), bias];
  });
}
