// The one shape of a request, whatever surface it came by and whatever engine answers it. Only types:
// validate.ts makes them from untrusted values, the API readers make them from their surfaces.
import type { JsonObject, JsonValue } from '../util/json.ts';

/** What an engine may be asked for. */
export type InferenceKind = 'chat' | 'completion' | 'embedding' | 'rerank' | 'transcription';

export type InferenceRequest =
  | ChatRequest
  | CompletionRequest
  | EmbeddingRequest
  | RerankRequest
  | TranscriptionRequest;

/** The part every request has: who is asked, by when, on whose behalf. */
export interface RequestEnvelope {
  /** Unique per request, chosen by the node the client talks to; shown as `x-request-id`. */
  readonly requestId: string;
  readonly model: ModelTarget;
  /** Requests with equal keys should meet the same KV cache. */
  readonly sessionKey?: string;
  readonly priority: Priority;
  /** Time left for the whole answer, milliseconds, counted from when the request was read. */
  readonly timeoutMs?: number;
  /** Nodes that have passed the request on so far. */
  readonly hops: number;
  /** Fields of the engine's own, by the engine's names; passed on only if on its list of harmless ones. */
  readonly extra: JsonObject;
}

/** The model asked for. With a digest only exactly these weights may answer. */
export interface ModelTarget {
  readonly name: string;
  /** Lower-case hex SHA-256 of the GGUF file(s). */
  readonly digest?: string;
}

export type Priority = 'interactive' | 'batch';

export interface ChatRequest extends RequestEnvelope {
  readonly kind: 'chat';
  readonly messages: readonly ChatMessage[];
  readonly sampling: Sampling;
  readonly output: OutputConstraints;
}

export interface CompletionRequest extends RequestEnvelope {
  readonly kind: 'completion';
  readonly prompt: TextOrTokens;
  readonly sampling: Sampling;
  readonly output: OutputConstraints;
}

export interface EmbeddingRequest extends RequestEnvelope {
  readonly kind: 'embedding';
  readonly inputs: readonly TextOrTokens[];
  /** Keep only this many leading dimensions, renormalised. */
  readonly dimensions?: number;
}

export interface RerankRequest extends RequestEnvelope {
  readonly kind: 'rerank';
  readonly query: string;
  readonly documents: readonly string[];
}

export interface TranscriptionRequest extends RequestEnvelope {
  readonly kind: 'transcription';
  readonly audio: MediaData;
  readonly language?: string;
  readonly prompt?: string;
  readonly sampling: Sampling;
}

/** Text, or the token ids of exactly this model. */
export type TextOrTokens = string | readonly number[];

/** Bytes of an image or a recording, inline: a serving node never fetches a URL. */
export interface MediaData {
  /** E.g. `image/png`. */
  readonly mediaType: string;
  readonly base64: string;
}

export type ContentPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly image: MediaData }
  | { readonly type: 'audio'; readonly audio: MediaData };

export type ChatMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage;

export interface SystemMessage {
  readonly role: 'system';
  readonly content: readonly ContentPart[];
  readonly name?: string;
}

export interface UserMessage {
  readonly role: 'user';
  readonly content: readonly ContentPart[];
  readonly name?: string;
}

export interface AssistantMessage {
  readonly role: 'assistant';
  readonly content: readonly ContentPart[];
  readonly reasoning?: string;
  readonly toolCalls?: readonly ToolCall[];
  readonly name?: string;
}

export interface ToolMessage {
  readonly role: 'tool';
  readonly content: readonly ContentPart[];
  readonly toolCallId: string;
}

/** A call the model made. `arguments` is the JSON text as the model wrote it. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/** A function the model may call. */
export interface Tool {
  readonly name: string;
  readonly description?: string;
  /** JSON schema of the arguments. */
  readonly parameters?: JsonObject;
  readonly strict?: boolean;
}

export type ToolChoice =
  | { readonly type: 'auto' | 'none' | 'required' }
  | { readonly type: 'function'; readonly name: string };

/** How tokens are drawn. What is absent is the engine's default. */
export interface Sampling {
  /** 0 is greedy. */
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  /** Equal seeds give equal answers on equal replicas. */
  readonly seed?: number;
  readonly frequencyPenalty?: number;
  readonly presencePenalty?: number;
  readonly repeatPenalty?: number;
  /** Added to the logit of a token: pairs of (token id, bias in -100..100). */
  readonly logitBias?: ReadonlyArray<readonly [tokenId: number, bias: number]>;
}

/** What the answer must look like and when it ends. */
export interface OutputConstraints {
  /** Most tokens to generate, per choice. Absent: until the model ends or the context is full. */
  readonly maxTokens?: number;
  /** The answer ends before the first of these. */
  readonly stop: readonly string[];
  /** How many answers (`n`). */
  readonly choices: number;
  readonly format: OutputFormat;
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice;
  readonly parallelToolCalls: boolean;
  /** Report the chosen token's log probability and this many alternatives. Absent: none. */
  readonly topLogprobs?: number;
  /** Give the prompt back before the answer (completion only). */
  readonly echo: boolean;
}

export type OutputFormat =
  | { readonly type: 'text' }
  /** Any JSON object. */
  | { readonly type: 'json' }
  | { readonly type: 'schema'; readonly name: string; readonly schema: JsonValue; readonly strict: boolean }
  /** A GBNF grammar. */
  | { readonly type: 'grammar'; readonly grammar: string };

/** Output constraints of a request that asks for nothing special. */
export const plainOutput: OutputConstraints = {
  stop: [],
  choices: 1,
  format: { type: 'text' },
  tools: [],
  toolChoice: { type: 'auto' },
  parallelToolCalls: true,
  echo: false,
};
