// Limits: Engines and the devices they run on.
import { KiB, MiB } from './units.ts';

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
  /** Schemas that llama.cpp makes rules of, each use of an allOf anew and the tools of a request together: 20 µs each. */
  schemaRules: 10_000,
  /** Schemas within schemas, by references too: llama.cpp recurses, and macOS gives its threads 512 KiB of stack. */
  schemaLevels: 100,
  /** Characters of a property's name: above 10 000 llama.cpp's regular expressions overflow the stack. */
  schemaNameChars: 256,
  /** Properties of one schema that may be left out: llama.cpp writes rules for them in their number cubed, 0.1 s for 400. */
  schemaOptional: 400,
  /** Largest length of a string and of a list: above 2 000 rules for one repetition llama.cpp takes it for unlimited or fails. */
  schemaLength: 2_000,
  schemaItems: 600,
  /** Brackets within brackets of a grammar: llama.cpp's parser recurses, and its stack is not ours. */
  grammarDepth: 64,
  /** Rules and brackets of a grammar, elements of it with its repetitions written out: a million take llama.cpp 25 MB and 30 ms, for each answer at once. */
  grammarRules: 2_000,
  grammarElements: 1_000_000,
  /** Rounds until what is reckoned of a grammar's or schema's rules settles: more than rules lead into each other. */
  grammarPasses: 64,
  /** Steps of llama.cpp's search for rules that begin with themselves, which walks all ways: 10 ns each. */
  grammarLeftVisits: 2_000_000,
  /** Readings of one text that llama.cpp may have to follow at once: it compares each with each, 80 ms a token for 2 000, and looks at all tokens for each. */
  grammarReadings: 128,
  /** Compiled grammars kept by one embedded model. */
  grammars: 16,
  /** Largest context that is chosen without being asked for, tokens: beyond it attention costs more than most want. */
  mostContext: 32_768,
  /** Tokens of a prompt that llama-server computes at once, with a GPU and without. */
  gpuBatchTokens: 512,
  cpuBatchTokens: 128,
  /** Threads for llama-server's HTTP beside one for each slot: questions about its health, and requests that wait. */
  serverThreads: 8,
  /** Share of the usable memory, and most bytes, that llama-server may keep prompts in which no slot holds any more. */
  promptCacheShare: 0.1,
  promptCacheBytes: 1024 * MiB,
  /** How often a llama-server that loads is asked whether it is ready, and how far its memory has grown. */
  readyPollMs: 50,
  loadLookMs: 500,
  /** Time between a broken connection and the end of its process being seen; longer than logDrainMs. */
  noticeMs: 1_500,
  /** Answers whose speed alone is remembered, tokens that one needs to tell it, and the least weights that tell of memory. */
  soloAnswers: 9,
  soloTokens: 16,
  soloBytes: 64 * MiB,
  /** Length of the key that only we know, characters. */
  serverKeyChars: 40,
  /** Longest path of a unix socket that every system takes, bytes. */
  socketPathBytes: 100,
  /** Sequences that break a repetition, of a request's `dry_sequence_breakers`: each is looked for in the whole vocabulary. */
  dryBreakers: 16,
  /** Steps by which a request may have tokens drawn: llama.cpp has about a dozen. */
  samplers: 16,
  /** States that llama-server keeps of a slot to go back to; each is a copy of what a sliding window or a recurrent layer holds. */
  contextCheckpoints: 4,
  /** Left free on each GPU that is filled with as many layers as fit: buffers of the driver, and what others open. */
  freePerGpuBytes: 1024 * MiB,
  /** Time for a template to make a prompt: one that takes longer never ends. */
  templateMs: 20_000,
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
