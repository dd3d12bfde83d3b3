// Limits: Membership: who is in, who lives, what is told.
import { KiB, MiB } from './units.ts';

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
  /** How long it is remembered that a word of a neighbour was late. */
  latenessMs: 60_000,
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
