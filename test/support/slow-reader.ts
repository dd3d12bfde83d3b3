// One sender, one reader that stops for a while and then goes on: what arrives, and how much memory it takes.
import type { Stream } from '@libp2p/interface';
import { sleep, systemClock } from '../../src/util/clock.ts';
import type { ConnectedHosts } from './quic-host.ts';
import { closing, send } from './stream-ends.ts';

export interface SlowReaderPlan {
  readonly sizeBytes: number;
  readonly pauseMs: number;
}

const MiB = 1024 * 1024;

export const shortPause: SlowReaderPlan = { sizeBytes: 64 * MiB, pauseMs: 1_500 };
/** For trials by hand: the same, longer. */
export const longPause: SlowReaderPlan = { sizeBytes: 256 * MiB, pauseMs: 10_000 };

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
export async function runSlowReader(
  { openPair }: ConnectedHosts,
  plan: SlowReaderPlan,
): Promise<SlowReaderOutcome> {
  const [sender, reader] = await openPair();
  const piece = Uint8Array.from({ length: 64 * 1024 }, (_, index) => index % 251);
  const outcome = { sentWhilePausedBytes: 0, grownBytes: 0, receivedBytes: 0, intact: true };
  const sent = { bytes: 0 };

  const pauseOnce = async (): Promise<void> => {
    const before = process.memoryUsage.rss();
    reader.pause();
    await sleep(systemClock, plan.pauseMs);
    outcome.grownBytes = process.memoryUsage.rss() - before;
    outcome.sentWhilePausedBytes = sent.bytes;
    if (reader.status === 'open') {
      reader.resume();
    }
  };
  let paused: Promise<void> | undefined;
  reader.addEventListener('message', ({ data }) => {
    paused ??= pauseOnce();
    for (const bytes of data instanceof Uint8Array ? [data] : data) {
      outcome.intact &&= isPiece(piece, outcome.receivedBytes, bytes);
      outcome.receivedBytes += bytes.byteLength;
    }
  });
  reader.addEventListener('remoteCloseWrite', () => void reader.close());

  const closed = closing(reader);
  await sendPieces(sender, piece, plan.sizeBytes, sent).catch(() => {});
  const { error } = await closed;
  await paused;
  return { ...outcome, error };
}

async function sendPieces(
  sender: Stream,
  piece: Uint8Array,
  sizeBytes: number,
  sent: { bytes: number },
): Promise<void> {
  for (; sent.bytes < sizeBytes; sent.bytes += piece.byteLength) {
    await send(sender, piece);
  }
  await sender.close();
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
