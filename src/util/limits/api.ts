// Limits: The HTTP API and its answers.
import { KiB, MiB } from './units.ts';

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
  /**
   * How long the status line of a stream waits for the first piece of the answer before it goes out as 200. A replica
   * that hangs is given up within 4.2 s, so the headers name the one that answers.
   */
  holdHeadersMs: 5_000,
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
