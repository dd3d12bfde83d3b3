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
  /** When to come back for a model whose nodes are not heard: by then they are back, or known to be gone. */
  silentRetrySeconds: 5,
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
  /** Of this node's own API waiting per model. Above it the answer is 429. */
  waiting: 256,
  /** Longest wait of one request. */
  waitMs: 10 * 60_000,
  /** Requests that may pass a waiting batch request before it gets its turn. */
  interactiveStreak: 8,
  /** Requests passed on at once to an engine that tells no slots: it has a queue of its own, and says when it is full. */
  unknownSlots: 256,
} as const;

/** Both ends of `/meshnode/infer/1`: one request and its events over one stream. */
export const inferLimits = {
  /** Answers that one peer has running, or kept after a lost connection; more requests of it are refused. */
  answersPerPeer: 128,
  /** Of these, answers that have lost their stream: a link that breaks seldom carries more. The oldest is given up. */
  detachedPerPeer: 8,
  /** Inbound streams of one peer: its answers, as many that take them up from a dead link, spares, and room to refuse. */
  streamsPerPeer: 320,
  /** Bytes of bodies, from the head of a request to the end of its answer: of one peer the largest one, of all four. */
  bodyBytesPerPeer: 64 * MiB,
  bodyBytesInAll: 256 * MiB,
  /** Time for a whole request once its head is there: as the API's. */
  requestMs: 120_000,
  /** In each such time so many bytes of a request have to come, or its end: ten times slower than any path in use. */
  requestLookMs: 10_000,
  requestLookBytes: 64 * KiB,
  /** When a peer that is refused for want of room is told to come back. Bodies and short answers take seconds. */
  retryAfterSeconds: 2,
  /** An answer whose stream is lost can be taken up for so long: a link is dialled anew in two seconds. */
  resumeMs: 5_000,
  /** Streams in a row that break without having brought anything of an answer; then it is lost. */
  resumes: 8,
  /** First pause between two tries to take an answer up; doubles. */
  resumePauseMs: 50,
  /** Longest pause: whoever is linked again goes on within it. */
  resumePauseMostMs: 500,
  /** A stream that breaks so soon and unanswered was dead before it was used. */
  stillbornMs: 1_000,
  /** Written frames of an answer that are kept, bytes: more than is under way to its caller. As many may wait for it. */
  keptBytes: 1 * MiB,
  /** Frames that may wait for a slow caller before the engine does, bytes: enough to fill one write. */
  aheadBytes: 64 * KiB,
  /** Frames that go out in one write, bytes. */
  writeBytes: 64 * KiB,
  /** Received bytes that are made frames of at once: of the smallest these are a thousand, of some hundred bytes each. */
  decodeBytes: 4 * KiB,
  /** A caller that has not taken one write by then, or its end, is given up: it holds a slot. As the API's. */
  writeMs: 60_000,
  /** Time for a cancel to leave, and for a cancelled answer to stop before its place is given away. */
  cancelMs: 500,
} as const;

/** What the other nodes of the mesh may take of this one. They never fill a place of its own API. */
export const peerLimits = {
  /** Requests of one peer waiting per model: its API may serve the agents of a whole household. */
  queuedPerPeer: 64,
  /** Requests of all peers waiting per model: four peers with all that one may have. */
  queued: 256,
  /** Slots of a model that peers do not get: the owner of the machine would wait for minutes while they generate. */
  ownerSlots: 1,
  /** An owner who has asked nothing of a model for so long needs none. */
  ownerAwayMs: 10 * 60_000,
  /** Slots of a model from which on these are kept: of fewer, even one is too large a share to leave idle. */
  ownerSlotsFrom: 4,
  /** Requests of one peer under way over all models, waiting ones included: what it may have waiting, and what runs. */
  inFlightPerPeer: 96,
  /** When a peer with so many is told to come back: a short answer takes as long, and one of its many has ended. */
  inFlightRetrySeconds: 5,
  /** Tokens of one peer a minute, prompts and answers: 10 000 a second is more than the agents of a household read. */
  tokensPerMinute: 600_000,
  /** Minutes for which one answer may shut a peer out, however many tokens it claims to have taken. */
  debtMinutes: 10,
  /** Peers whose use is remembered: as many as a mesh has records. */
  meteredPeers: 4_096,
} as const;

/** What other nodes answer. */
export const remoteLimits = {
  /** Time for a link to a member that has none: a dial, and admission. */
  reachMs: 3_000,
  /** How often the mesh is told that a node is asked again and again. */
  routedMs: 60_000,
  /** How often a node that loads a model is asked how far it is, for a caller that waits. */
  loadingLookMs: 500,
  /** After a node could not be reached, for so long a client asks it through another. */
  detourMs: 60_000,
  /** Characters of a peer's error message, and of what comes with it as JSON. */
  errorChars: 1_024,
  errorDataChars: 4_096,
  /** Longest wait that a peer may ask a client for, seconds. */
  retryAfterSeconds: 3_600,
} as const;

/** `/meshnode/route/1`: what a client asks instead of keeping a table. */
export const routeLimits = {
  /** One message, bytes: some hundred models. */
  messageBytes: 256 * KiB,
  /** Time for one message. */
  messageMs: 5_000,
  /** Questions of one peer at once: a client asks one at a time, and again after a lost answer. */
  streamsPerPeer: 4,
  /** Within this time all who ask get the same answer, however many they are: a quarter of a beat. */
  sameAnswerMs: 250,
  models: 512,
  /** Replicas told of one model. */
  replicas: 64,
  /** UTF-8 bytes of a model's name, an at sign and a digest included. */
  nameBytes: 640,
  /** An answer older than this is asked for anew before a request: as old as a load may be. */
  freshMs: 2_000,
  /** Without requests it is asked for so often, for whoever lists the models. */
  refreshMs: 10_000,
  /** Members asked until one answers. */
  tries: 3,
  /** Longest time for which a request waits for the answer. */
  waitMs: 1_000,
  /** A member that did not answer is asked last for so long. */
  avoidMs: 60_000,
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
  /** Bytes of the file that holds a membership: trustLimits.rememberedBytes as base64, and what is beside them. */
  meshFileBytes: 64 * MiB,
  /** Bytes of a file that holds a token or a passphrase. */
  secretFileBytes: 16 * KiB,
  /** Where a node listens for others, if it is free, and how many ports above it are tried. */
  listenPort: 9338,
  listenPorts: 64,
  /** Life and uses of the invite that a node shows when it starts. */
  startInviteMs: 24 * 60 * 60_000,
  startInviteUses: 10,
  /** Time that a program which has done its work may still take to end by itself. */
  exitMs: 3_000,
  /** How often a node looks whether its addresses have changed and its certificate needs attention. */
  meshLookMs: 60_000,
  /** Time that the network gets to close. */
  networkCloseMs: 2_000,
  /** Round trip to a peer that is only shown: a slower peer is shown without. */
  shownRttMs: 1_000,
  /** Peers whose last failed contact, or difference of clocks, is remembered: members of a large mesh, and strangers. */
  peerContacts: 1_024,
  /** Greetings within this time are of one link. */
  greetingsMs: 10_000,
  /** Models that are asked for and served by nobody, as far as they are shown. */
  wantedModels: 16,
  /** Time that a running node has to answer `meshnode doctor`. */
  doctorAskMs: 5_000,
  /** Characters of a peer's id that may stand for it, if they are unique. */
  shortIdLength: 6,
  /** Round trips of one `meshnode ping`. */
  pings: 100,
} as const;

/** `/meshnode/measure/1`: how fast bytes get to a peer. */
export const measureLimits = {
  /** Bytes sent for one figure: a quarter of a second on a gigabit link. */
  bytes: 32 * MiB,
  /** After this a slow path has shown what it is. */
  ms: 3_000,
  /** Bytes handed to the stream at once. */
  writeBytes: 64 * KiB,
  /** Bytes that are taken in for one figure, and the time for them. */
  servedBytes: 64 * MiB,
  servedMs: 15_000,
  /** Figures for one peer at once. */
  streamsPerPeer: 2,
} as const;

/** The state of the mesh that every member keeps, and how it is spread. */
export const meshLimits = {
  /** Records kept, one a node. Each needs a certificate of the mesh, so only members can fill it. */
  records: 4096,
  /** Difference between two machines' clocks that is put up with: what NTP loses in a bad week is far less. */
  clockToleranceMs: 5 * 60_000,
  /** How long a record holds without a newer one, in a small mesh. */
  recordLifeMs: 120_000,
  /** Three broadcasts of one node may be lost in a row; a comparison of digests brings each of them as well. */
  announcementsPerLife: 4,
  /** Time between two announcements of a node that has nothing new to say, in a small mesh. */
  announceMs: 20_000,
  /** The same of all nodes together, in a larger mesh: what a node hears does not grow with it. */
  announceShareMs: 1_250,
  /** Shortest time between two announcements: changes in between go into the next. */
  announceLeastMs: 1_000,
  /** Share by which waits differ from node to node, so that the mesh does not beat in step. */
  jitter: 0.2,
  /** Time between two digests to the same neighbours. */
  syncMs: 30_000,
  /** The same for a client, which hears no broadcasts. */
  clientSyncMs: 10_000,
  /** Neighbours that a member's first and last record are passed on to at once, by each that hears of it. */
  passOn: 8,
  /** Bytes of items in one answer. */
  answerBytes: 2 * MiB,
  /** Questions of one neighbour that are answered in `answerWindowMs`: an exchange takes three. */
  answers: 12,
  answerWindowMs: 10_000,
  /** Neighbours asked in one round; above it they are drawn. Enough to reach 1000 nodes in three rounds. */
  syncPeers: 8,
  /** Time for a fresh link to become a member's: hello and admission both ways. */
  admissionMs: 5_000,
  /** Time after which a greeting without an answer is said again. */
  repeatMs: 500,
  /** Time a refused peer gets to read why before its link is closed. */
  refusalMs: 1_000,
  /** Members linked to directly; above it everybody keeps those that rendezvous hashing gives him. */
  neighbours: 64,
  /** Members kept linked in a mesh larger than that. */
  chosenNeighbours: 12,
  /** Dials at once. */
  dials: 64,
  /** First wait before a peer is dialled again; doubles each time. */
  dialRetryMs: 1_000,
  dialRetryMaxMs: 60_000,
  /** Wait after a dial in which nothing was tried. */
  postponedDialMs: 5_000,
  /** Time between two dials of a peer that announces other addresses each time. */
  redialMs: 30_000,
  /** Addresses of one peer that are dialled. */
  dialledAddresses: 8,
  /** How long a node known by hearsay is left to dial this one, before this one dials it. */
  dialCourtesyMs: 2_000,
  /** Failed dials after which an address that no record vouches for is forgotten. */
  hearsayDials: 5,
  /** Addresses known by hearsay. */
  hearsayPeers: 256,
  /** Peers remembered over a restart. */
  rememberedPeers: 64,
  /** Least time between two admissions over one link, if its peer shows another certificate each time. */
  reopenMs: 10_000,
  /** Renewed certificates that a node keeps to fall back on, of as many signers. */
  formerCertificates: 4,
  /** Failed dials after which a member is rather not linked in a large mesh. */
  doubtfulDials: 3,
  /** Bytes of a verdict. */
  deathBytes: 128,
  /** Records taken of one node a minute: one a second is the most that an honest one announces. */
  recordsPerMinute: 60,
  /** The same for its last word, which must find room when the others have used theirs. */
  leavesPerMinute: 20,
  /** Verdicts taken from one author a minute: a switch that dies takes few at once, a liar would name all. */
  deathsPerMinute: 10,
  /** Announcements that a verdict may be ahead of the record known here. */
  deathLead: 1_000,
  /** Up to this many members everybody is everybody's neighbour. */
  fullMesh: 64,
  /** How often standing, ends of records and what is remembered are looked through. */
  sweepMs: 5_000,
  /** Records looked at in one such look, the next ones in turn: those of 1000 members are looked at every 40 seconds. */
  sweepEntries: 128,
  /** False items after which a member's link is closed. */
  strikes: 16,
  /** Dials of each node of an invite before it counts as unreachable. */
  joinDials: 2,
  /** Time for a join to succeed: all addresses of an invite are tried side by side. */
  joinMs: 20_000,
} as const;

/**
 * Who lives: a node is silent for another after three beats without a word, which asks others then, and has its own
 * opinion 4.2 s after the last word at the latest.
 */
export const beatLimits = {
  /** Time between two beats to one neighbour. */
  beatMs: 1_000,
  /** A neighbour whose turn it is to beat is beaten instead if it is late by half a beat. */
  overdueMs: 1_500,
  /** Until so many beats were answered both beat: the first answer of a node that just starts is a slow one. */
  firstAnswers: 8,
  /** How often it is beaten all the same: six round trips are known of each minute. */
  measureMs: 10_000,
  /** Silence after which a neighbour gets no requests any more: three beats, and what a busy machine loses. */
  silentMs: 3_200,
  /** Members that are asked whether they hear of a silent one. */
  helpers: 3,
  /** Time that they have: their round trip to it, and ours to them. */
  probeMs: 700,
  /** Neighbours hold back their verdicts by up to this: once two have spoken the others need not. */
  staggerMs: 300,
  /** A silent node is asked after again so often, be it that it answers others or that it is gone. */
  reprobeMs: 5_000,
  /**
   * A wait that ended so much later than it was meant to: this process did not run, and nobody else is to blame. It also
   * has so long to read what came meanwhile.
   */
  lateMs: 250,
  /** Who has heard nobody for so long, two beats, is cut off itself: verdicts come at least 2.9 s after a cut. */
  cutOffMs: 2_000,
  /** Bytes of a nonce: nobody guesses one of the few that are out within a second. */
  nonceBytes: 8,
  /** Beats to one neighbour whose answers are still waited for. */
  unanswered: 8,
  /** Beats of one neighbour that are answered a second; of more the answers would only cost. */
  answersPerSecond: 8,
  /** Probes of one member that are followed within `reprobeMs`; more are left unanswered. */
  probes: 16,
  /** Probes followed at once. */
  probesInAll: 256,
  /** In a mesh larger than meshLimits.fullMesh: neighbours beaten, by rendezvous hashing. */
  neighbours: 8,
  /** Beside these, nodes that this one sent requests to within this time. */
  routedMs: 5 * 60_000,
  /** Models whose load one beat tells; the busiest come first. */
  loads: 16,
  /** A load older than this says nothing about now. */
  loadMs: 2_000,
} as const;

/** Our QUIC transport. Windows are what a peer may send that nobody has read yet: they bound memory on both sides. */
export const quicLimits = {
  /** Bytes taken from a stream at once. 4 KiB reads reach a quarter of the throughput. */
  readBytes: 64 * KiB,
  /** Bytes that wait in a stream for a reader before no more are taken from QUIC. */
  unreadBytes: 64 * KiB,
  /** Bytes handed to QUIC at once. */
  writeBytes: 64 * KiB,
  /** Bytes that may wait in a stream to be handed to QUIC before a writer is told to pause. */
  unsentBytes: 256 * KiB,
  /** Window of one stream: 80 MB/s on a path of 25 ms. */
  streamWindowBytes: 2 * MiB,
  /** Window of all streams of a connection: three readers may stop and a fourth still flows. */
  connectionWindowBytes: 8 * MiB,
  /** Streams a peer may have open on one connection; more wait at the peer. */
  inboundStreams: 256,
  /**
   * Handshakes served at once: one that never goes on holds one place until `idleMs`. Whoever sends 75 first packets
   * a second, from whatever addresses, still takes all places: the library asks nobody before it begins one.
   */
  accepts: 256,
  /** A silent connection, or handshake, is given up after this. */
  idleMs: 3_500,
  /** How often an idle connection says that it lives. */
  keepAliveMs: 1_000,
  /** Send and receive buffers of the UDP socket. */
  socketBufferBytes: 512 * KiB,
  /** Time that what was written gets to leave before a connection is closed. */
  flushMs: 1_000,
  /** Nothing more left for so long, or for two round trips: all has been sent. A busy machine pauses for less. */
  flushQuietMs: 50,
} as const;

/** What one node may say of itself: its record, which every member keeps. */
export const recordLimits = {
  /** Encoded record, bytes: 1000 nodes cost 32 MiB at most, usually a hundredth of it. */
  payloadBytes: 32 * KiB,
  /** Time from issue to expiry: how long a node that crashed can be believed in if none of its neighbours says so. */
  lifeMs: 60 * 60_000,
  /** UTF-8 bytes of a node's name. */
  nameBytes: 128,
  /** UTF-8 bytes of a version, a feature, a kind, an architecture, a quantisation or a build. */
  wordBytes: 64,
  features: 64,
  /** Addresses of one node: a machine with many interfaces, over two transports each. */
  addresses: 32,
  /** Bytes of one address: the longest name that DNS allows, and what is around it. */
  addressBytes: 320,
  /** As hardwareLimits.devices. */
  devices: 128,
  deviceNameBytes: 256,
  /** Models of one node. All at once only with short names: they share the payload. */
  models: 512,
  /** Words that say what a model can be asked for. */
  abilities: 32,
  /** UTF-8 bytes of a model's name. */
  modelNameBytes: 512,
  /** Models whose demand is told. */
  demand: 256,
  /** Pairs of model and origin that are told. */
  served: 256,
  /** Nearest nodes whose distance is told. */
  neighbours: 32,
  labels: 32,
  labelNameBytes: 64,
  labelValueBytes: 256,
} as const;

/** Messages of `/meshnode/join/1` and `/meshnode/gossip/1`. */
export const meshMessageLimits = {
  /** One message, bytes. */
  messageBytes: 1 * MiB,
  /** Envelopes of one items message. */
  items: 256,
  /** Members told to a newcomer. */
  peers: 64,
  /** Entries of one message: 40 bytes each. */
  entries: 16_384,
  /** Keys wanted at once; the rest comes in the next exchange. */
  want: 4_096,
  /** UTF-8 bytes of the text of a refusal. */
  textBytes: 512,
} as const;

/** The message streams of join, gossip and heartbeat. */
export const pipeLimits = {
  /** Inbound streams of one protocol from one peer: of each of two links the one in use, and the next while that ends. */
  streamsPerPeer: 4,
  /** Bytes queued to one peer; a digest of everything is far below. */
  queuedBytes: 8 * MiB,
  /** Beats, and answers to them, that wait for the transport. */
  queuedBeats: 32,
  /** One message from a member, bytes. */
  messageBytes: 1 * MiB,
  /** One message from a peer that is not admitted: its certificate and what proves it. */
  strangerMessageBytes: 64 * KiB,
  /** Time for the transport to take one message. */
  messageMs: 15_000,
  /** Time that a peer's gossip waits for its admission. */
  whenUpMs: 5_000,
} as const;

/** Broadcasts by gossipsub. */
export const gossipsubLimits = {
  /**
   * Peers that each passes everything on to. Fewer than gossipsub's 6, 4 and 12: comparing digests makes up for what is
   * lost, and each one more costs every node a copy of every announcement.
   */
  degree: { wanted: 4, fewest: 3, most: 6 },
  /** Of these, peers that this node has dialled itself: nobody can surround it by dialling it. */
  dialledDegree: 1,
  /** Other peers that are told each second what is new; they ask for what they lack. */
  told: 3,
  /** Seconds for which something is told of. */
  toldHeartbeats: 3,
  /** Bytes of the name of an envelope among them. */
  messageIdBytes: 20,
  /** A peer is told not to send a copy only of what is longer: the telling costs as much as a copy of an announcement. */
  unwantedBytes: 8 * KiB,
  /** One RPC, bytes. A larger one costs its sender the stream. */
  rpcBytes: 256 * KiB,
  /** Envelopes of one RPC, and message ids asked for in one: the answer to them is one RPC. */
  rpcEnvelopes: 32,
  /** Message ids told of in one RPC: all that are new to a large mesh within three heartbeats. */
  rpcMessageIds: 4_096,
  /** Subscriptions of one RPC, and control messages of each kind: there is one topic. */
  rpcControls: 64,
  /** Bytes that wait for a slow peer before its stream is given up: an announcement of each node of a mesh of 1000. */
  unsentBytes: 2 * MiB,
  /** Inbound streams from one peer on one connection: the one in use, and the next while that ends. */
  streamsPerPeer: 2,
  /** Envelopes new to this node that one peer may pass on at once, and a second: all members may have news in one minute. */
  envelopesAtOnce: 4_096,
  envelopesPerSecond: 256,
  /** How often a stream that broke is opened anew. A refused one is an offence; one a second is forgotten. */
  tendMs: 2_000,
  /** Time that the last words get to leave. */
  stopMs: 500,
} as const;

/** Which of several links to a peer is used, and what is remembered of each. */
export const pathLimits = {
  /** Round trips: a beat a second for as long as they count. A lasting change shows in the median after a half-life. */
  rttWindow: { halfLifeMs: 10_000, memoryMs: 60_000, samples: 64 },
  /** Throughputs, which cost traffic to measure and are measured rarely. */
  throughputWindow: { halfLifeMs: 2 * 60_000, memoryMs: 15 * 60_000, samples: 16 },
  /** A rival must take less than this share of the time: noise of 10 % either way is 0.82 at its worst. */
  rivalShare: 0.8,
  /** It must save at least this much, ms: below it a person and a token stream notice nothing. */
  rivalGainMs: 1,
  /** It must be ahead for so many of its own measurements in a row, ... */
  rivalMeasurements: 3,
  /** ... and for this long: longer than a burst of other traffic on one path lasts. */
  rivalMs: 5_000,
  /** What a throughput is good for: the time of so many bytes, a long prompt, is added to the round trip. */
  exchangeBytes: 64 * KiB,
  /** Peers whose paths are remembered; the one measured longest ago is forgotten first. */
  peers: 1024,
} as const;

/** Streams kept negotiated for the next request: opening one costs a round trip. */
export const poolLimits = {
  /** Spare streams of one protocol to one peer. */
  spares: 16,
  /** Spare streams to one peer, all protocols together. */
  sparesPerPeer: 32,
  /** Spare streams in all. */
  sparesInAll: 512,
  /** Requests that wait for a stream of one protocol to one peer; more are refused. */
  waiting: 256,
  /** Longest time to open one: longer than any path takes, shorter than a caller's patience. */
  openMs: 10_000,
  /** Takes within this time count as at once: a refill may take a round trip around the world. */
  burstMs: 1_000,
  /** Without another burst, half as many spares are kept after this long. */
  halfLifeMs: 30_000,
  /** A spare older than this is thrown away unused. */
  spareMs: 60_000,
  /** The serving side gives up a stream whose first frame has not come by then: surely after the other side has. */
  firstFrameMs: 90_000,
  /** No spare is kept for a peer that was asked nothing for this long. */
  forgetMs: 10 * 60_000,
} as const;

/** What the mesh is asked for. Counts are of requests, each fading from 1. */
export const demandLimits = {
  /** A request counts half after this long: a rush is forgotten within the hour, a pause is not. */
  halfLifeMs: 10 * 60_000,
  /** A claim older than this counts nothing. */
  lifeMs: 24 * 60 * 60_000,
  /** Models, or pairs of origin and model, that one node counts; the least wanted are forgotten first. */
  counted: 256,
  /** Less than this is not told: one request after six half-lives. */
  leastRequests: 1 / 64,
  /** Models that a node claims demand for in its record. */
  models: 32,
  /** Pairs of origin and model that a node says it served. */
  pairs: 64,
  /** What replicas say they served for a node vouches for so many times as much: some requests are refused or still wait. */
  witnessFactor: 2,
  /** What counts of all claims of a node that no replica saw: enough to ask for a model nobody serves yet, far from busy. */
  unwitnessedRequests: 4,
  /** What counts of one node at most, all models together: ten requests a second without pause are 8 660. */
  requestsPerOrigin: 10_000,
} as const;

/** Connections and streams to other nodes, whatever carries them. */
export const netLimits = {
  /** Bytes received on a stream that wait for its reader before the other side is held back. */
  unreadBytes: 256 * KiB,
  /** What a piece of bytes costs beside its length, so that many tiny ones are bounded too. */
  pieceBytes: 64,
  /** Bytes given to a stream that wait for the transport before its writer has to. */
  unsentBytes: 256 * KiB,
  /** Largest window of a yamux stream: 80 MB/s on a path of 25 ms. Its default of 16 MiB resets a paused reader. */
  windowBytes: 2 * MiB,
  /** Bytes yamux keeps for a paused reader before it resets the stream: four windows, so never. */
  readBufferBytes: 8 * MiB,
  /** Bytes of a connection that wait for its socket: of 256 fresh streams, each its first write. */
  connectionUnsentBytes: 64 * MiB,
  /** Frames that wait for it, small ones of yamux among them, which a peer can provoke without end. */
  connectionUnsentFrames: 65_536,
  /** Streams of one connection, each way. */
  streams: 1024,
  /** Streams that a peer which is no member may have open on one connection. */
  unadmittedStreams: 16,
  /** Bytes it may send on streams that have named no protocol, all together; and unread, on one that has. */
  unadmittedBytes: 64 * KiB,
  /** A connection whose peer is no member by then is closed: joining takes six seconds at most. */
  unadmittedMs: 30_000,
  /** Inbound connections of peers that are no members; the oldest is closed for one more. */
  strangers: 128,
  /** Refused, unnegotiated or surplus streams of one connection that are forgiven; one a second is forgotten. */
  abuses: 64,
  /** Fresh inbound connections of one host a second. Twelve nodes of one house start at once. */
  inboundPerSecond: 64,
  /** Inbound connections that have not proved a key yet. Hosts in great number can still take all places. */
  pendingInbound: 128,
  /** Of one host: of twelve nodes of one house, a few come twice. */
  pendingInboundPerHost: 16,
  /** Time for them to do so. */
  upgradeMs: 5_000,
  /** Connections in all. */
  connections: 1024,
  /** Two links of one path that open within this time were dialled from both sides; a later one makes an older one doubtful. */
  twinLinksMs: 1_500,
  /** Time for a doubtful link to answer. */
  doubtMs: 1_000,
  /** Connections of one peer: two paths, each dialled from both sides. */
  linksPerPeer: 4,
  /** Time for an inbound stream to name its protocol. */
  negotiationMs: 3_000,
  /** Time for an outbound stream to be taken: a slow path's round trip and some. */
  openMs: 5_000,
  /** Time for the whole dial of a peer. */
  dialMs: 5_000,
  /** Time for one address: three SYNs on a path around the world. */
  dialAddressMs: 1_500,
  /** Addresses tried side by side. */
  dialsAtOnce: 8,
  /** Head start of an address before the next: what is near answers first and spares the rest. */
  dialHeadStartMs: 50,
  /** Addresses of one peer that are tried. */
  dialAddresses: 32,
  /** A failed address is left alone for this long; doubles each time. */
  backoffMs: 1_000,
  backoffMostMs: 60_000,
  /** Whoever waits for a failed address to be due waits so much more for others: side by side they fail in turn. */
  backoffSpreadMs: 500,
  /** Failed addresses remembered; the one that failed longest ago is forgotten first. */
  backoffAddresses: 4_096,
  /** Pings of one peer at once. */
  pingsPerPeer: 8,
  /** Time for a round trip before it counts as failed. */
  pingMs: 5_000,
  /** Pause between two pings of a link. */
  linkPingMs: 10_000,
  /** Pings of a link in a row that nothing comes back for: then it is given up, 30 s after it fell silent at most. */
  linkSilences: 2,
  /** Time for the last bytes of a handler to leave: its peer reads slowly, or not at all. */
  endMs: 60_000,
  /** Time that the other side then gets to end the stream as well. */
  lingerMs: 5_000,
  /** Addresses announced. */
  announced: 16,
  /** Ports tried until one is free for TCP and QUIC alike. */
  portTries: 16,
} as const;

const dayMs = 24 * 60 * 60_000;

/** Who belongs to the mesh: envelopes, certificates, invites and what is remembered of them. */
export const trustLimits = {
  /** Largest envelope of any kind, bytes: a record of a node with many models; others are far smaller. */
  envelopeBytes: 64 * KiB,
  /** Largest certificate, bytes. The longest, two invites deep, takes about 900. */
  certificateBytes: 2 * KiB,
  /** Largest envelope of a use or a revocation, bytes: two certificates, or one and a full keep list. */
  proofBytes: 12 * KiB,
  /** Differences between two clocks that are put up with. */
  clockToleranceMs: 5 * 60_000,
  /** Longest life of a certificate. */
  certificateLifeMs: 90 * dayMs,
  /** A certificate with less than this ahead is due for renewal: from day 30 of a full life. */
  renewalLeftMs: 60 * dayMs,
  /** A renewal that gives less than this is not worth a new record. */
  renewalGainMs: dayMs,
  /** A certificate with less than this ahead is warned about. */
  warningLeftMs: 14 * dayMs,
  /** Longest life of an invite: as a certificate's. */
  inviteLifeMs: 90 * dayMs,
  /** Most peers that one invite may admit. */
  inviteUses: 1_000,
  /** Largest token, bytes before base64: eight of the longest addresses, a grant and a certificate. */
  tokenBytes: 4 * KiB,
  /** Bootstrap addresses of one token. */
  tokenAddresses: 8,
  /** Characters of one address: a DNS name of 253 and what is around it. */
  addressLength: 384,
  /** Revocations that one revocation of their signer may keep in force. */
  keptRevocations: 256,
  /** Verified certificates remembered: one per member arrives with every record. */
  cachedCertificates: 4_096,
  /** Revocations held. */
  revocations: 4_096,
  /** Uses held of one invite beyond one by each rank for each seat, so that overspending settles alike everywhere. */
  spareUses: 64,
  /** Uses held in all, of about 2 KiB each. */
  uses: 16_384,
  /** Bytes of the uses and revocations that a node remembers when it ends: all uses there can be, as a rule. */
  rememberedBytes: 40 * MiB,
  /** Uses and revocations handed over in support of one certificate. */
  proofs: 64,
  /** Bytes of those: with the certificate less than pipeLimits.strangerMessageBytes. */
  proofsBytes: 48 * KiB,
  /** Characters of an exported mesh key: the armour of about 400 bytes. */
  meshKeyTextLength: 4 * KiB,
} as const;
