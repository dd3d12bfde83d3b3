// Every bound of the node, with unit and reason. A queue, map, body, retry or wait without an entry
// here is a mistake. Modules import the names; nothing else defines a limit.

const KiB = 1024;
const MiB = 1024 * KiB;

/** The HTTP API on port 9337 and the management API beside it. */
export const apiLimits = {
  /** Largest request body, bytes. Images travel inside JSON as base64. */
  bodyBytes: 64 * MiB,
  /** Largest header block, bytes. Node's own default is 16 KiB; long bearer tokens fit. */
  headerBytes: 32 * KiB,
  /** Time for a client to send its headers. */
  headersTimeoutMs: 20_000,
  /** Time for a client to send a whole request: 64 MiB at 1 MB/s, and some. */
  requestTimeoutMs: 120_000,
  /** How long an idle kept-alive connection stays open. Longer than the 4 s of common clients' pools. */
  keepAliveMs: 65_000,
  /** Open connections. Above it new ones are closed at once. */
  connections: 1024,
  /** Bytes of all bodies being received at once: eight of the largest. */
  bodiesBytes: 512 * MiB,
  /** How long the rest of a refused body is read and dropped, so that the answer is not lost. */
  lingerMs: 2_000,
  /** A client that takes no byte of its stream for this long is cut: it holds a slot. */
  stalledReaderMs: 60_000,
  /** Characters of one name inside a path, percent-encoded: a model name of three bytes a character. */
  pathParamLength: 4_608,
  /** A waiting stream hears from us at least this often: proxies cut silent connections at 30 to 60 s. */
  pingMs: 10_000,
  /** How long the status line of a stream waits for the first event before it goes out as 200. */
  holdHeadersMs: 2_000,
  /** A stream is held for a loading model only if it is expected within this time. */
  holdForLoadMs: 10_000,
  /** Longest wait for a loading model that a caller may ask for with `x-meshnode-wait`. */
  waitForLoadMs: 10 * 60_000,
  /** Names of dropped fields shown in `x-meshnode-ignored`. */
  ignoredNames: 16,
  /** Models with their own label in the metrics; the rest share one. */
  metricModels: 64,
  /** Keys whose use is remembered: twice as many as there can be, for the revoked ones among them. */
  meteredKeys: 512,
  /** Largest `retry-after`, seconds. OpenAI's clients ignore more than 60. */
  retryAfterSeconds: 60,
  /** Longest request id accepted from a client, characters. */
  requestIdLength: 128,
  /** Largest body of a management request, bytes. */
  managementBodyBytes: 1 * MiB,
  /** Bytes of events that a management client may lag behind before it is cut. */
  managementBacklogBytes: 1 * MiB,
} as const;

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

/** GGUF files. Real files have up to about 2 000 tensors and 60 metadata keys. */
export const ggufLimits = {
  /** Metadata key-value pairs. */
  metadataPairs: 65_536,
  /** Tensors of one file. */
  tensors: 262_144,
  /** Bytes of one key. The format says 2^16 - 1. */
  keyBytes: 65_535,
  /** Bytes of one metadata string: chat templates reach 100 KiB. */
  stringBytes: 16 * MiB,
  /** Elements of one metadata array: vocabularies reach 300 000. */
  arrayElements: 16_777_216,
  /** Levels of nested arrays. */
  arrayDepth: 4,
  /** Bytes of metadata kept in memory; long arrays stay in the file and do not count. */
  metadataBytes: 64 * MiB,
  /** Bytes of one tensor name. ggml allows 63; some builds of it more. */
  tensorNameBytes: 127,
  /** Dimensions of one tensor: ggml's own bound. */
  dimensions: 4,
  /** Bytes of header, metadata and tensor table together. */
  headerBytes: 512 * MiB,
  /** Bytes read from the file at once while parsing. */
  readBytes: 1 * MiB,
  /** Files of one split model. */
  splitFiles: 1024,
  /** Layers of one model: llama.cpp's own bound. */
  layers: 512,
} as const;

/** Downloads from a model hub. */
export const downloadLimits = {
  /** Tries in a row that bring nothing new before giving up; each goes on where the last stopped. */
  tries: 6,
  /** First wait between tries; doubles. */
  backoffMs: 500,
  /** Longest wait between tries. */
  backoffMaxMs: 15_000,
  /** Longest wait that a busy hub may ask for with `retry-after`. */
  retryAfterMaxMs: 60_000,
  /** A connection that brings no byte for this long is cut and tried again. */
  stallMs: 30_000,
  /** Files of one repository that are looked at. */
  repositoryFiles: 10_000,
  /** Bytes of one answer of the hub's API: 1 000 files with their details are about 500 KiB. */
  answerBytes: 16 * MiB,
  /** How often progress is reported. */
  progressMs: 250,
  /** Speed is measured over this long. */
  rateWindowMs: 15_000,
  /** A remaining time is told only after this long: the first seconds say little. */
  etaAfterMs: 5_000,
  /** How often a process looks after a file that another process is downloading. */
  claimPollMs: 500,
  /** A partial file that has not grown for this long has lost its owner: longer than all tries of a cut connection. */
  claimStaleMs: 10 * 60_000,
  /** Models whose last use is remembered. */
  rememberedModels: 1024,
  /** Disk left free after a download, bytes: the machine still has to work. */
  freeBytes: 512 * MiB,
} as const;

/** Engines and the processes they run in. */
export const engineLimits = {
  /** Sequences that one embedded model decodes at once. */
  parallel: 4,
  /** Context, tokens, when nothing else is asked and memory allows. */
  defaultContext: 4096,
  /** Prompt computed before the first look at the signal, tokens. */
  prefillFirstTokens: 64,
  /** Time one piece of a prompt should take: half of what a cancel may. */
  prefillMs: 250,
  /** Largest piece of a prompt, tokens: what llama.cpp computes in one batch. */
  prefillMostTokens: 512,
  /** Time between the last byte of a model and its first answer: context, warming, reading the template. */
  warmUpMs: 3 * 60_000,
  /** Schemas within a JSON schema: each becomes rules of a grammar. */
  schemaNodes: 2_000,
  /** Alternatives of one `enum`. */
  schemaAlternatives: 2_000,
  /** Brackets within brackets of a grammar: llama.cpp's parser recurses, and its stack is not ours. */
  grammarDepth: 64,
  /** Compiled grammars kept by one embedded model. */
  grammars: 16,
  /** Smallest context worth loading, tokens. */
  minContext: 256,
  /** Time for a model to load before it counts as hung: 100 GB from a slow disk. */
  loadTimeoutMs: 20 * 60_000,
  /** Time for a fresh engine process to say anything at all. */
  startTimeoutMs: 30_000,
  /** A generation without a sign of life for this long is failed. A long prompt on a CPU takes minutes. */
  stallMs: 5 * 60_000,
  /** How often an idle process is asked whether it still answers. */
  healthMs: 10_000,
  /** Silence after which it counts as hung. Long, because a busy machine is no reason to start again. */
  healthTimeoutMs: 30_000,
  /** Time between a cancel and the engine's last event, before the process counts as hung. */
  cancelMs: 5_000,
  /** Time a process gets to end by itself before it is killed. */
  stopMs: 3_000,
  /** First wait before a restart; doubles with each crash. */
  restartMs: 500,
  /** Longest wait before a restart. */
  restartMaxMs: 60_000,
  /** Uptime after which earlier crashes are forgotten. */
  restartForgetMs: 60_000,
  /** Crashes in a row before the model counts as failed and stays down. */
  restarts: 8,
  /** Bytes of an engine's own log kept for its error messages. */
  logTailBytes: 16 * KiB,
  /** Longest piece of one log line handed on; longer lines arrive in several. */
  logLineChars: 8 * KiB,
  /** Time for the last output of a process that has ended: a stray descendant may hold its pipes open. */
  logDrainMs: 500,
  /** How often the sweep looks whether what it killed is gone. */
  sweepPollMs: 20,
  /** Processes remembered for the sweep at the next start. */
  recordedProcesses: 256,
  /** Bytes of the file that remembers them. */
  recordedProcessesBytes: 256 * KiB,
  /** Bytes of one line or event from an engine. */
  lineBytes: 16 * MiB,
  /** How often an attached server's model list is asked for. */
  attachPollMs: 5_000,
  /** Time for an attached server to answer its model list. */
  attachTimeoutMs: 5_000,
  /** Models taken from one attached server. */
  attachModels: 512,
  /** Longest wait between two looks at an attached server that does not answer. */
  attachPollMaxMs: 60_000,
  /** Open connections to one attached server; above it requests wait. */
  attachConnections: 256,
  /** Answers an attached server is assumed to give at once, for load figures only: no server tells. */
  attachSlots: 4,
  /** Characters of an attached server's error text that are passed on. */
  attachErrorChars: 500,
  /** Bytes of an error answer that are read. */
  attachErrorBytes: 64 * KiB,
  /** Time for a stream's last bytes to arrive before its connection is given up instead of used again. */
  attachDrainMs: 1_000,
  /** Inputs sent to an attached server in one embedding call: 32 vectors of 16 384 numbers fit in lineBytes. */
  attachEmbeddingBatch: 32,
} as const;

/** Finding out what this machine has. */
export const hardwareLimits = {
  /** Time for one command. nvidia-smi takes seconds to wake a sleeping driver. */
  commandTimeoutMs: 10_000,
  /** Bytes of one command's output. */
  commandOutputBytes: 256 * KiB,
  /** Bytes read of one system file. */
  fileBytes: 64 * KiB,
  /** Devices believed in: the largest servers have 16, and a GPU can be cut in 7. */
  devices: 128,
  /** Entries looked at in one system folder. */
  folderEntries: 1024,
  /** Levels of nested control groups. */
  cgroupDepth: 32,
  /** Most memory believed of one device, bytes. */
  deviceBytes: 2 ** 50,
  /** Characters of a device's name. */
  nameLength: 128,
} as const;

/** Requests waiting for a free slot of a model. */
export const queueLimits = {
  /** Waiting per model. Above it the answer is 429. */
  waiting: 256,
  /** Longest wait of one request. */
  waitMs: 10 * 60_000,
  /** Interactive requests that may pass a waiting batch request before it gets its turn. */
  interactiveStreak: 8,
  /** Requests passed on at once to an engine that tells no slots: it has a queue of its own, and says when it is full. */
  unknownSlots: 256,
} as const;

/** Starting, stopping and what a node remembers. */
export const nodeLimits = {
  /** Time that running answers get to finish after the first Ctrl-C. */
  drainMs: 5_000,
  /** API keys of one node: each is compared with every request's. */
  apiKeys: 256,
  /** Bytes of the file that holds them. */
  keyFileBytes: 256 * KiB,
  /** The file is looked at for a request if the last look is longer ago than this. */
  keyFileLookMs: 250,
  /** Time that two commands which change it wait for each other. */
  keyFileLockMs: 5_000,
  /** How often the one that waits tries again. */
  keyFileLockPollMs: 20,
  /** Most of anything that a key's limits may grant: beyond it lies no bound. */
  keyLimit: 1_000_000_000,
  /** Events kept for a management client that connects later. */
  events: 512,
  /** Least time between two events that only tell of a model's progress. */
  progressEventMs: 250,
  /** Entries of the file that remembers digests. */
  digestCacheEntries: 10_000,
  /** Memory left to the machine beside models, as a share of what a device has. */
  memoryHeadroom: 0.1,
} as const;
