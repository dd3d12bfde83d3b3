// What an engine is to the rest of the node. Every engine passes the same compliance suite
// (test/support/engine-compliance.ts); nothing outside this folder knows which engine answers.
import type { InferenceEvent } from '../inference/events.ts';
import type { EngineFeature } from '../inference/features.ts';
import type { InferenceKind, InferenceRequest } from '../inference/request.ts';
import type { MeshnodeError } from '../util/errors.ts';

export type EngineName = 'embedded' | 'llama-server' | 'openai-url';

/** An engine that loads models from files. One instance serves any number of models. */
export interface Engine {
  readonly name: EngineName;
  /** Whether this engine can run here; if not, the sentence says what is missing. */
  available(): Promise<{ ok: true } | { ok: false; reason: string; hint: string }>;
  /**
   * Starts a process that serves the model, and resolves once it answers. Rejects with `model_too_large`,
   * `gguf_invalid`, `engine_missing`, `model_failed` or `cancelled`; nothing is left running then.
   */
  load(model: ModelFile, options: LoadOptions): Promise<LoadedModel>;
}

/** A model on this machine's disk. */
export interface ModelFile {
  /** Name that clients ask for. */
  readonly name: string;
  /** The GGUF, or the first file of a split one. */
  readonly path: string;
}

/** How a model is to be loaded. */
export interface LoadOptions {
  /** Tokens per sequence. Absent: what the model was made for, at most engineLimits.defaultContext, as memory allows. */
  readonly contextTokens?: number;
  /** Sequences decoded at once. Absent: engineLimits.parallel. */
  readonly parallel?: number;
  /** Most device memory to take, bytes. */
  readonly maxMemoryBytes?: number;
  /** Threads to compute with. Absent: the engine's choice. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

export interface LoadProgress {
  readonly stage: 'starting' | 'loading' | 'warming';
  /** 0 to 1, if known. */
  readonly fraction?: number;
}

/** A model that an engine serves. It lives through crashes of its process: the supervisor starts another. */
export interface LoadedModel {
  readonly name: string;
  readonly engine: EngineName;
  /** What this model can be asked for here. */
  readonly capabilities: Capabilities;
  /** State now; `onChange` tells of every later one. */
  readonly state: ModelState;
  onChange(listener: (state: ModelState) => void): () => void;
  /**
   * Answers a request. The stream obeys the rules of events.ts; failures are its `error` event, it never
   * throws. Leaving it early, or aborting the signal, cancels the work within engineLimits.cancelMs.
   */
  infer(request: InferenceRequest, signal: AbortSignal): AsyncIterable<InferenceEvent>;
  /** Token ids of a text as the model sees it, without special tokens. Rejects `model_unsupported` if the engine cannot tell. */
  tokenize(text: string): Promise<number[]>;
  /** Asks the process itself whether it is well. Rejects with the reason if not. */
  health(signal: AbortSignal): Promise<void>;
  /** Load at this moment. */
  figures(): LoadFigures;
  /** Ends the process and frees its memory. Running answers get `shutting_down`. Idempotent. */
  unload(): Promise<void>;
}

export type ModelState =
  | { readonly state: 'ready' }
  /** The process died; another is being started. Requests get `engine_unavailable` meanwhile. */
  | { readonly state: 'restarting'; readonly error: MeshnodeError }
  /** It died too often, or cannot be reached; it stays down. */
  | { readonly state: 'failed'; readonly error: MeshnodeError }
  | { readonly state: 'unloaded' };

export interface Capabilities {
  readonly kinds: ReadonlySet<InferenceKind>;
  /** Tokens per sequence, prompt and answer together; absent if unknown. */
  readonly contextTokens?: number;
  /** Requests answered at once; more wait. Absent if unknown. */
  readonly slots?: number;
  readonly features: ReadonlySet<EngineFeature>;
  /** Names in a request's `extra` that this engine heeds; others do nothing, and the caller is told. */
  readonly extraFields: ReadonlySet<string>;
}

export interface LoadFigures {
  readonly slots: number;
  readonly inFlight: number;
  readonly queued: number;
  /** Generated tokens per second over the last answers, all slots together; 0 before the first. */
  readonly tokensPerSecond: number;
  /** Prompt tokens found in the cache and all prompt tokens, since the load. */
  readonly cachedPromptTokens: number;
  readonly promptTokens: number;
  /**
   * Bytes of weights read a second by an answer that ran alone, the median of the last ones; absent before the first,
   * of models too small to tell, and of engines that do not measure it.
   */
  readonly weightBytesPerSecond?: number;
}
