// Pieces that streamed and whole chat answers have in common.
import type OpenAI from 'openai';
import type { FinishReason, TokenLogprob } from '../../inference/events.ts';

/** How one client wants its chat answer. */
export interface ChatStyle {
  readonly choices: number;
  readonly includeUsage: boolean;
  /** The request used `functions`: calls come back as the deprecated `function_call`. */
  readonly legacyFunctions: boolean;
}

export function chatId(random: string): string {
  return `chatcmpl-${random}`;
}

export function chatFinishReason(reason: FinishReason, { legacyFunctions }: ChatStyle) {
  return legacyFunctions && reason === 'tool_calls' ? 'function_call' : reason;
}

export function chatLogprobs(tokens: readonly TokenLogprob[]) {
  return {
    content: tokens.map(({ token, logprob, bytes, top }) => ({
      token,
      logprob,
      bytes: [...bytes],
      top_logprobs: top.map((other) => ({
        token: other.token,
        logprob: other.logprob,
        bytes: [...other.bytes],
      })),
    })),
    refusal: null,
  } satisfies OpenAI.ChatCompletion.Choice.Logprobs;
}
