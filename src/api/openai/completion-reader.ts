// Reads a /v1/completions body. Several prompts become several requests, answered one after the other so
// that one call takes one slot.
import { z } from 'zod';
import { integerIn } from '../../inference/bounded-schemas.ts';
import {
  type CompletionRequest,
  type OutputConstraints,
  plainOutput,
  type TextOrTokens,
} from '../../inference/request.ts';
import type { JsonValue } from '../../util/json.ts';
import { requestLimits as limits } from '../../util/limits/inference.ts';
import type { CallContext, SurfaceCall } from '../surface.ts';
import { CompletionStreamWriter, CompletionWholeWriter } from './completion-writers.ts';
import { readEnvelope } from './envelope.ts';
import { sortOtherFields } from './fields.ts';
import { generationShape, readSampling, readStops, wantsUsage } from './generation-fields.ts';
import { defined, parseBody, requestObject, unsupported } from './parse.ts';
import { textsOrTokens } from './texts-or-tokens.ts';

const completionShape = {
  ...generationShape,
  prompt: textsOrTokens(limits.prompts),
  best_of: integerIn(1, limits.choices).optional(),
  echo: z.boolean().optional(),
  logprobs: integerIn(0, limits.topLogprobs).optional(),
};
const completionBody = z.object(completionShape);
const knownFields: ReadonlySet<string> = new Set(Object.keys(completionShape));

type CompletionBody = z.infer<typeof completionBody>;

export function readCompletion(json: JsonValue, context: CallContext): SurfaceCall {
  const object = requestObject(json);
  const { extra, ignored } = sortOtherFields(object, knownFields);
  const body = parseBody(completionBody, object);
  if (body.best_of !== undefined && body.best_of !== (body.n ?? 1)) {
    throw unsupported(['best_of'], 'no more answers are made than are given: it must equal `n`');
  }
  const envelope = readEnvelope(body, context, extra);
  const sampling = readSampling(body);
  const output = readOutput(body);
  const ask = (prompt: TextOrTokens): CompletionRequest => ({
    ...envelope,
    kind: 'completion',
    prompt,
    sampling,
    output,
  });
  const [first, ...others] = body.prompt;
  const style = { choices: body.prompt.length * output.choices, includeUsage: wantsUsage(body) };
  return {
    requests: [ask(first), ...others.map(ask)],
    ignored,
    whole: () => new CompletionWholeWriter(style),
    ...(body.stream ? { stream: (head, send) => new CompletionStreamWriter(head, style, send) } : {}),
  };
}

function readOutput(body: CompletionBody): OutputConstraints {
  return defined<OutputConstraints>({
    ...plainOutput,
    maxTokens: body.max_tokens,
    stop: readStops(body),
    choices: body.n ?? 1,
    format: body.grammar === undefined ? { type: 'text' } : { type: 'grammar', grammar: body.grammar },
    topLogprobs: body.logprobs,
    echo: body.echo ?? false,
  });
}
