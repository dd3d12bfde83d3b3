// Token counts as OpenAI reports them.
import type OpenAI from 'openai';
import type { UsageEvent } from '../../inference/events.ts';

/**
 * How many of the generated tokens were reasoning is not known, so it is not said; speculation by the
 * caller (`prediction`) is not done, so nothing of it was accepted or rejected.
 */
export function usageObject({ prompt, cached, completion }: UsageEvent) {
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
  } satisfies OpenAI.CompletionUsage;
}
