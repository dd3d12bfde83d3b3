// The messages between the node and the process that holds an embedded model. The node trusts nothing
// that comes back: it reads every message with `fromWorker`, a crashed or corrupted process may say anything.
import { z } from 'zod';
import type { ChatMessage, OutputFormat, TextOrTokens } from '../../inference/request.ts';
import { isErrorCode } from '../../util/errors.ts';
import { hardwareLimits } from '../../util/limits/engine.ts';
import { eventLimits, requestLimits } from '../../util/limits/inference.ts';

/** What the node says. `job` numbers a request within the life of one process. */
export type ToWorker =
  | LoadCommand
  | ({ readonly type: 'generate'; readonly job: number } & GenerateCommand)
  | {
      readonly type: 'embed';
      readonly job: number;
      readonly inputs: readonly TextOrTokens[];
      readonly dimensions?: number;
    }
  | {
      readonly type: 'rerank';
      readonly job: number;
      readonly query: string;
      readonly documents: readonly string[];
    }
  | { readonly type: 'tokenize'; readonly job: number; readonly text: string }
  | { readonly type: 'ping'; readonly job: number }
  /** The job is no longer wanted; its `failed` message still comes. */
  | { readonly type: 'cancel'; readonly job: number }
  /** The reader is slow: generate no further until `resume`. */
  | { readonly type: 'pause'; readonly job: number }
  | { readonly type: 'resume'; readonly job: number }
  /** Lists the devices the runtime can compute on, without loading a model. */
  | { readonly type: 'devices'; readonly job: number };

export interface LoadCommand {
  readonly type: 'load';
  readonly path: string;
  readonly contextTokens?: number;
  readonly parallel: number;
  readonly maxMemoryBytes?: number;
  readonly threads: number;
}

export interface GenerateCommand {
  readonly input: { readonly messages: readonly ChatMessage[] } | { readonly prompt: TextOrTokens };
  readonly sampling: WorkerSampling;
  readonly maxTokens?: number;
  readonly stop: readonly string[];
  readonly format: OutputFormat;
}

/** Sampling with every default decided, so that the process draws nothing of its own. */
export interface WorkerSampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly seed: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly repeatPenalty: number;
  readonly logitBias: ReadonlyArray<readonly [tokenId: number, bias: number]>;
}

const count = z.number().int().nonnegative().max(eventLimits.usageTokens);
const tokenIds = z.array(z.number().int().nonnegative()).max(eventLimits.deltaTokens);
const job = z.number().int().nonnegative();
/** The runtime joins the names of all its devices. */
const deviceNamesLength = hardwareLimits.devices * (hardwareLimits.nameLength + 3);
const errorCode = z.string().refine(isErrorCode);

/** What the process says, checked. */
export const fromWorker = z.discriminatedUnion('type', [
  z.object({ type: z.literal('load-progress'), fraction: z.number().min(0).max(1) }),
  z.object({
    type: z.literal('loaded'),
    kinds: z.array(z.enum(['chat', 'completion', 'embedding', 'rerank'])),
    contextTokens: count,
    slots: z.number().int().positive().max(1024),
    continues: z.boolean(),
  }),
  z.object({ type: z.literal('load-failed'), code: errorCode, message: z.string() }),
  z.object({ type: z.literal('started'), job, promptTokens: count, cachedTokens: count }),
  z.object({ type: z.literal('prefill'), job, fraction: z.number().min(0).max(1) }),
  z.object({ type: z.literal('text'), job, text: z.string().max(eventLimits.deltaChars), tokenIds }),
  z.object({
    type: z.literal('vector'),
    job,
    index: count,
    values: z.instanceof(Float32Array).refine((values) => values.length <= eventLimits.vectorLength),
  }),
  z.object({ type: z.literal('score'), job, index: count, score: z.number() }),
  z.object({
    type: z.literal('tokens'),
    job,
    tokenIds: z.array(z.number().int().nonnegative()).max(requestLimits.maxTokens),
  }),
  /** A cancel was heard; the job ends as soon as what is being computed is done. */
  z.object({ type: z.literal('cancelling'), job }),
  z.object({
    type: z.literal('devices'),
    job,
    devices: z.array(
      z.object({
        name: z.string().max(deviceNamesLength),
        totalBytes: z.number().nonnegative(),
        freeBytes: z.number().nonnegative(),
      }),
    ),
  }),
  z.object({
    type: z.literal('done'),
    job,
    reason: z.enum(['stop', 'length']),
    promptTokens: count,
    cachedTokens: count,
    completionTokens: count,
  }),
  z.object({
    type: z.literal('failed'),
    job,
    code: errorCode,
    message: z.string(),
    param: z.string().optional(),
  }),
]);

export type FromWorker = z.infer<typeof fromWorker>;

/** A message about one job, as opposed to one about the load. */
export type JobMessage = Extract<FromWorker, { job: number }>;
