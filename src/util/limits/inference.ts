// Limits: Requests and events, whoever sends them, and the frames they travel in.
import { KiB, MiB } from './units.ts';

/** Fields of one inference request, whatever surface it came by. */
export const requestLimits = {
  /** Messages of a chat. */
  messages: 4096,
  /** Content parts of one message. */
  partsPerMessage: 256,
  /** Tools offered. */
  tools: 512,
  /** Choices per request (`n`): each takes a slot. */
  choices: 16,
  /** Prompts of one completion request; they are answered one after the other. */
  prompts: 256,
  /** Stop sequences. OpenAI allows 4; agents send more. */
  stops: 64,
  /** Characters of one stop sequence. */
  stopLength: 1024,
  /** Inputs of one embedding request, as OpenAI's. */
  embeddingInputs: 2048,
  /** Documents of one rerank request. */
  rerankDocuments: 2048,
  /** Alternatives per token in logprobs, as OpenAI's. */
  topLogprobs: 20,
  /** Entries of logit_bias. */
  logitBias: 1024,
  /** Tokens a request may ask to generate. */
  maxTokens: 1_048_576,
  /** Characters of a model name. */
  modelNameLength: 512,
  /** Characters of a session key. */
  sessionKeyLength: 512,
  /** Bytes of a JSON schema or grammar. */
  schemaBytes: 256 * KiB,
  /** Characters of one text, prompt or base64 field: as much as a body can hold. */
  textLength: 64 * MiB,
  /** Token ids of one prompt: as many as a request may ask to generate. */
  promptTokens: 1_048_576,
  /** Characters of the name of a tool, a schema, a message's author, and of a language tag. */
  nameLength: 256,
  /** Characters of a tool call's id: some models put a signature in it. */
  toolCallIdLength: 4096,
  /** Tool calls of one message. */
  toolCallsPerMessage: 512,
  /** Characters of a media type, as RFC 6838 has it: two names of 127 and a slash. */
  mediaTypeLength: 255,
  /** Largest temperature. OpenAI ends at 2, llama.cpp nowhere; above 10 every distribution is flat. */
  temperature: 10,
  /** Largest top_k: above any vocabulary. */
  topK: 1_048_576,
  /** Largest frequency or presence penalty either way, as OpenAI's. */
  penalty: 2,
  /** Largest repeat penalty, a divisor of logits: 1 is none, common ones are below 1.5. */
  repeatPenalty: 10,
  /** Largest bias of one token either way, as OpenAI's: 100 forces, -100 forbids. */
  logitBiasSize: 100,
  /** Longest time a caller may allow for an answer: a day, for batches. */
  timeoutMs: 24 * 60 * 60_000,
  /** Nodes that may pass a request on. */
  hops: 2,
  /** Levels of nesting in a JSON body, far below where a recursive reader overflows. */
  jsonDepth: 128,
} as const;

/** Events of one answer. */
export const eventLimits = {
  /** Characters of text in one delta. An engine that sends more at once is broken. */
  deltaChars: 1 * MiB,
  /** Characters of one whole answer; each alternative of its logprobs counts as `alternativeChars`. */
  answerChars: 64 * MiB,
  /** What one alternative of logprobs takes in memory, in characters. */
  alternativeChars: 64,
  /** Token ids in one delta. */
  deltaTokens: 65_536,
  /** Characters of a replica's name. */
  replicaLength: 1024,
  /** Dimensions of one embedding. */
  vectorLength: 65_536,
  /** Events buffered between an engine and a slow reader before the engine is paused. */
  buffered: 256,
  /** Progress events of one request; more are dropped. */
  progress: 10_000,
  /** Largest token count believed in a usage event. */
  usageTokens: 2 ** 31,
} as const;

/** Frames of `/meshnode/infer/1`. */
export const frameLimits = {
  /** Request body in one body frame, bytes. A larger body is sent in several. */
  bodyPieceBytes: 256 * KiB,
  /** Largest frame of any kind, bytes: a full body piece or the longest vector, and what is around it. */
  frameBytes: 257 * KiB,
  /** Largest body in all, bytes: as the API's. */
  bodyBytes: 64 * MiB,
  /** Bytes of the random key that takes up a lost answer: exactly so many. */
  resumeKeyBytes: 16,
} as const;
