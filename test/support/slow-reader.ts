// One sender, one reader that stops for a while and then goes on: what arrives, and how much memory it takes. Over
// whatever carries bytes: the streams of libp2p, and those of a Network.
import type { Stream } from '@libp2p/interface';
import type { PeerStream } from '../../src/net/network.ts';
import { sleep, systemClock } from '../../src/util/clock.ts';
import { closing, send } from './stream-ends.ts';

export interface SlowReaderPlan {
  readonly sizeBytes: number;
  readonly pauseMs: number;
}

const MiB = 1024 * 1024;

export const shortPause: SlowReaderPlan = { sizeBytes: 64 * MiB, pauseMs: 1_500 };
/** For trials by hand: the same, longer. */
export const longPause: SlowReaderPlan = { sizeBytes: 256 * MiB, pauseMs: 10_000 };

/** Most that the process, in which both ends are, may grow while the reader stands still: half of what is sent. */
export const mostGrownBytes = 32 * MiB;

/** The two ends of one stream. */
export interface SlowReaderEnds {
  /** Resolves once more may be sent. */
  send(piece: Uint8Array): Promise<void>;
  end(): Promise<void>;
  /**
   * Hands over what comes. Reads nothing until a promise that `take` returns has resolved. Resolves when the stream is
   * over, with what it was closed with.
   */
  receive(take: (bytes: Uint8Array) => Promise<void> | undefined): Promise<Error | undefined>;
}

export interface SlowReaderOutcome {
  /** Bytes the sender could get rid of by the end of the pause. */
  readonly sentWhilePausedBytes: number;
  /** How much the process grew during the pause. */
  readonly grownBytes: number;
  readonly receivedBytes: number;
  /** Whether every byte was the one sent in its place. */
  readonly intact: boolean;
  /** What the reader's stream was closed with. */
  readonly error: Error | undefined;
}

/** Sends `sizeBytes`; the reader pauses at the first of them for `pauseMs`. */
export async function runSlowReader(ends: SlowReaderEnds, plan: SlowReaderPlan): Promise<SlowReaderOutcome> {
  const piece = Uint8Array.from({ length: 64 * 1024 }, (_, index) => index % 251);
  const outcome = { sentWhilePausedBytes: 0, grownBytes: 0, receivedBytes: 0, intact: true };
  const sent = { bytes: 0 };

  const pause = async (): Promise<void> => {
    const before = process.memoryUsage.rss();
    await sleep(systemClock, plan.pauseMs);
    outcome.grownBytes = process.memoryUsage.rss() - before;
    outcome.sentWhilePausedBytes = sent.bytes;
  };
  const received = ends.receive((bytes) => {
    const isFirst = outcome.receivedBytes === 0;
    outcome.intact &&= isPiece(piece, outcome.receivedBytes, bytes);
    outcome.receivedBytes += bytes.byteLength;
    return isFirst ? pause() : undefined;
  });
  await sendPieces(ends, piece, plan.sizeBytes, sent).catch(() => {}); // The reader's end tells why.
  const error = await received;
  return { ...outcome, error };
}

/** Ends of a libp2p stream, read by its events. */
export function libp2pEnds([sender, reader]: readonly [Stream, Stream]): SlowReaderEnds {
  return {
    send: (piece) => send(sender, piece),
    end: () => sender.close(),
    receive: async (take) => {
      let paused: Promise<void> | undefined;
      reader.addEventListener('message', ({ data }) => {
        for (const bytes of data instanceof Uint8Array ? [data] : data) {
          const waiting = take(bytes);
          if (waiting !== undefined) {
            reader.pause();
            paused = waiting.then(() => {
              if (reader.status === 'open') {
                reader.resume();
              }
            });
          }
        }
      });
      reader.addEventListener('remoteCloseWrite', () => void reader.close());
      const { error } = await closing(reader);
      await paused;
      return error;
    },
  };
}

/** Ends of a stream between two peers, which is read by asking. */
export function peerStreamEnds(sender: PeerStream, reader: PeerStream): SlowReaderEnds {
  return {
    send: (piece) => sender.write(piece),
    end: () => sender.end(),
    receive: async (take) => {
      try {
        for (let bytes = await reader.read(); bytes !== undefined; bytes = await reader.read()) {
          await take(bytes);
        }
        return undefined;
      } catch (cause) {
        return cause instanceof Error ? cause : new Error(String(cause));
      }
    },
  };
}

async function sendPieces(
  ends: SlowReaderEnds,
  piece: Uint8Array,
  sizeBytes: number,
  sent: { bytes: number },
): Promise<void> {
  for (; sent.bytes < sizeBytes; sent.bytes += piece.byteLength) {
    await ends.send(piece);
  }
  await ends.end();
}

/** Whether `bytes` are what repeating `piece` gives from `offset` on. */
function isPiece(piece: Uint8Array, offset: number, bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.byteLength; ) {
    const start = (offset + at) % piece.byteLength;
    const length = Math.min(piece.byteLength - start, bytes.byteLength - at);
    if (Buffer.compare(bytes.subarray(at, at + length), piece.subarray(start, start + length)) !== 0) {
      return false;
    }
    at += length;
  }
  return true;
}
