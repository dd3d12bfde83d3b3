// Limits: A node as a whole, and what it measures of itself.
import { KiB, MiB } from './units.ts';

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
  /** By how much of itself a measured bandwidth must have grown to be told and kept. */
  bandwidthStep: 0.05,
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
