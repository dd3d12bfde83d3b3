// Limits: Connections, paths and streams to other nodes.
import { KiB, MiB } from './units.ts';

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
