// The part every OpenAI body shares: the model asked for and the hints that say which requests belong
// together.
import { z } from 'zod';
import { lineOf } from '../../inference/bounded-schemas.ts';
import type { RequestEnvelope } from '../../inference/request.ts';
import type { JsonObject } from '../../util/json.ts';
import { requestLimits } from '../../util/limits/inference.ts';
import type { CallContext } from '../surface.ts';
import { defined } from './parse.ts';

export const envelopeShape = {
  model: lineOf(requestLimits.modelNameLength),
  user: z.string().optional(),
  prompt_cache_key: z.string().optional(),
  safety_identifier: z.string().optional(),
};

type EnvelopeBody = z.infer<z.ZodObject<typeof envelopeShape>>;

export function readEnvelope(body: EnvelopeBody, context: CallContext, extra: JsonObject): RequestEnvelope {
  return defined<RequestEnvelope>({
    requestId: context.requestId,
    model: { name: body.model },
    sessionKey: sessionKeyOf(body, context),
    priority: 'interactive',
    hops: 0,
    extra,
  });
}

/**
 * The first hint that is there. One that is too long is cut: it only steers where a request goes, so it
 * must neither fail it nor need to be unique.
 */
function sessionKeyOf(body: EnvelopeBody, { sessionId }: CallContext): string | undefined {
  const hints = [body.prompt_cache_key, body.user, body.safety_identifier, sessionId];
  return hints.find((hint) => hint !== undefined && hint !== '')?.slice(0, requestLimits.sessionKeyLength);
}
