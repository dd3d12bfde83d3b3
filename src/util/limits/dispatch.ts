// Limits: Requests under way: queues, and what is asked of other nodes and by them.
import { KiB, MiB } from './units.ts';

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
  /**
   * A node that should be heard every second and was not for so long is left for another one, by a request that it has
   * given nothing for: one beat missed, and what a busy machine loses. Nobody is told, and nothing else follows from it.
   */
  doubtMs: 1_600,
  /** One whose words are late now and then is given that lateness so many times over, up to `beatLimits.silentMs`. */
  doubtLateness: 2,
  /** After a node could not be reached, for so long a client asks it through another. */
  detourMs: 60_000,
  /** Characters of a peer's error message, and of what comes with it as JSON. */
  errorChars: 1_024,
  errorDataChars: 4_096,
  /** Longest wait that a peer may ask a client for, seconds. */
  retryAfterSeconds: 3_600,
} as const;

/** The course of one request. */
export const passLimits = {
  /** Bytes of an answer that are kept while its client has none of it; a longer one is not begun anew any more. */
  keptBytes: 4 * MiB,
  /** What an event costs beside what it holds. */
  keptEventBytes: 256,
  /** How often an answer of which pieces had come is begun anew: what kills one engine midway may kill them all. */
  newBeginnings: 1,
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
