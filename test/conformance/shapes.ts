// The shapes of OpenAI's answers, closed: a field that is missing, unknown or of another type is a fault.
// What its published types leave optional and its servers always send (`refusal: null`, `logprobs: null`)
// is required here. Fields of our own stand only where the name says so: `meshnode` of a model, `loading` of an error.
import type OpenAI from 'openai';
import { z } from 'zod';
import { isErrorCode } from '../../src/util/errors.ts';

const count = z.int().nonnegative();
/** Seconds since 1970: a value in milliseconds does not pass. */
const created = z.int().min(1_700_000_000).max(4_000_000_000);
const modelName = z.string().min(1);

const completionUsage: z.ZodType<OpenAI.CompletionUsage> = z
  .strictObject({
    prompt_tokens: count,
    completion_tokens: count,
    total_tokens: count,
    prompt_tokens_details: z.strictObject({ cached_tokens: count }),
    completion_tokens_details: z.strictObject({
      accepted_prediction_tokens: count,
      rejected_prediction_tokens: count,
      reasoning_tokens: count.exactOptional(),
    }),
  })
  .refine((usage) => usage.total_tokens === usage.prompt_tokens + usage.completion_tokens, 'a wrong total')
  .refine((usage) => usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens, 'too many cached');

const tokenLogprob = z.strictObject({
  token: z.string(),
  logprob: z.number().max(0),
  bytes: z.array(z.int().min(0).max(255)).nullable(),
});
const chatLogprobs = z.strictObject({
  content: z.array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob).max(20) })).nullable(),
  refusal: z.null(),
});
const chatFinishReason = z.enum(['stop', 'length', 'tool_calls', 'content_filter', 'function_call']);
const calledFunction = z.strictObject({ name: z.string().min(1), arguments: z.string() });
const chatId = z.string().regex(/^chatcmpl-\w+$/);

export const chatCompletion: z.ZodType<OpenAI.ChatCompletion> = z.strictObject({
  id: chatId,
  object: z.literal('chat.completion'),
  created,
  model: modelName,
  choices: z
    .array(
      z.strictObject({
        index: count,
        message: z.strictObject({
          role: z.literal('assistant'),
          content: z.string().nullable(),
          refusal: z.string().nullable(),
          tool_calls: z
            .array(
              z.strictObject({
                id: z.string().min(1),
                type: z.literal('function'),
                function: calledFunction,
              }),
            )
            .min(1)
            .exactOptional(),
        }),
        logprobs: chatLogprobs.nullable(),
        finish_reason: chatFinishReason,
      }),
    )
    .min(1),
  usage: completionUsage,
});

export const chatChunk: z.ZodType<OpenAI.ChatCompletionChunk> = z.strictObject({
  id: chatId,
  object: z.literal('chat.completion.chunk'),
  created,
  model: modelName,
  choices: z.array(
    z.strictObject({
      index: count,
      delta: z.strictObject({
        role: z.literal('assistant').exactOptional(),
        content: z.string().nullable().exactOptional(),
        tool_calls: z
          .array(
            z.strictObject({
              index: count,
              id: z.string().min(1).exactOptional(),
              type: z.literal('function').exactOptional(),
              function: z.strictObject({
                name: z.string().min(1).exactOptional(),
                arguments: z.string(),
              }),
            }),
          )
          .exactOptional(),
      }),
      logprobs: chatLogprobs.nullable(),
      finish_reason: chatFinishReason.nullable(),
    }),
  ),
  usage: completionUsage.nullable().exactOptional(),
});

const completionId = z.string().regex(/^cmpl-\w+$/);
const completionFinishReason = z.enum(['stop', 'length', 'content_filter']);
const completionLogprobs = z.strictObject({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().max(0)),
  top_logprobs: z.array(z.record(z.string(), z.number())),
  text_offset: z.array(count),
});
const completionChoice = z.strictObject({
  index: count,
  text: z.string(),
  logprobs: completionLogprobs.nullable(),
  finish_reason: completionFinishReason,
});

export const completion: z.ZodType<OpenAI.Completion> = z.strictObject({
  id: completionId,
  object: z.literal('text_completion'),
  created,
  model: modelName,
  choices: z.array(completionChoice).min(1),
  usage: completionUsage,
});

/** The published types have none of its own: the reason and the usage come late. */
export const completionChunk = z.strictObject({
  id: completionId,
  object: z.literal('text_completion'),
  created,
  model: modelName,
  choices: z.array(completionChoice.extend({ finish_reason: completionFinishReason.nullable() })),
  usage: completionUsage.nullable().exactOptional(),
});

const listUsage = z
  .strictObject({ prompt_tokens: count, total_tokens: count })
  .refine((usage) => usage.prompt_tokens === usage.total_tokens, 'a wrong total');

/** On the wire a vector is base64 unless numbers were asked for; the published type knows only numbers. */
export const embeddings = z.strictObject({
  object: z.literal('list'),
  data: z
    .array(
      z.strictObject({
        object: z.literal('embedding'),
        index: count,
        embedding: z.union([z.array(z.number()).min(1), z.base64().min(1)]),
      }),
    )
    .min(1)
    .refine((data) => data.every(({ index }, place) => index === place), 'vectors out of order'),
  model: modelName,
  usage: listUsage,
});

/** No API of OpenAI's: the shape that Jina and Cohere share. */
export const ranking = z.strictObject({
  id: z.string().min(1),
  object: z.literal('list'),
  model: modelName,
  results: z.array(
    z.strictObject({
      index: count,
      relevance_score: z.number(),
      document: z.strictObject({ text: z.string() }).exactOptional(),
    }),
  ),
  usage: listUsage,
});

export const model: z.ZodType<OpenAI.Model> = z.strictObject({
  id: modelName,
  object: z.literal('model'),
  created,
  owned_by: z.string().min(1),
  meshnode: z.strictObject({
    state: z.string(),
    fraction: z.number().min(0).max(1).exactOptional(),
    eta_seconds: z.number().nonnegative().exactOptional(),
    replicas: z.int().min(1),
    kinds: z.array(z.string()).exactOptional(),
    context: count.exactOptional(),
  }),
});

export const modelList = z.strictObject({ object: z.literal('list'), data: z.array(model) });

export const errorBody = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string().regex(/^[a-z_]+_error$/),
    param: z.string().nullable(),
    code: z.string().refine(isErrorCode, 'a code that is not in the table'),
    loading: z
      .strictObject({
        stage: z.string(),
        fraction: z.number().min(0).max(1).exactOptional(),
        eta_seconds: z.number().nonnegative().exactOptional(),
      })
      .exactOptional(),
  }),
});
