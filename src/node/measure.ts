// `/meshnode/measure/1`, both ends: one side sends bytes that mean nothing and says its end, the other answers how
// many came. What `meshnode ping` calls throughput.
import type { Network, PathKind, PeerStream } from '../net/network.ts';
import { protocols } from '../trust/gate.ts';
import type { PeerId } from '../trust/keys.ts';
import { withTimeout } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { measureLimits } from '../util/limits/node.ts';

const answerBytes = 8;

/** Answers whoever may measure, within bounds of bytes and time. */
export function serveMeasure(network: Network, clock: Clock): void {
  const tooLong = (): MeshnodeError => new MeshnodeError('stream_broken', 'Measuring took too long.');
  network.handle(
    protocols.measure,
    (stream) => withTimeout(clock, measureLimits.servedMs, countAndAnswer(stream), tooLong),
    { streamsPerPeer: measureLimits.streamsPerPeer },
  );
}

/** Bytes a second to a peer over `path`. Rejects as `Network.open`, or `stream_broken`. */
export async function measureThroughput(
  network: Network,
  { peer, path, clock, signal }: { peer: PeerId; path: PathKind; clock: Clock; signal: AbortSignal },
): Promise<number> {
  const stream = await network.open(peer, protocols.measure, { path, signal });
  try {
    const piece = new Uint8Array(measureLimits.writeBytes);
    const startMs = clock.monotonicMs();
    let sentBytes = 0;
    while (sentBytes < measureLimits.bytes && clock.monotonicMs() - startMs < measureLimits.ms) {
      await stream.write(piece, signal);
      sentBytes += piece.length;
    }
    await stream.end(signal);
    const arrivedBytes = await readCount(stream, signal);
    if (arrivedBytes !== sentBytes) {
      throw new MeshnodeError('stream_broken', 'Not all that was sent has arrived.');
    }
    return (sentBytes * 1000) / Math.max(1, clock.monotonicMs() - startMs);
  } catch (cause) {
    stream.abort(cause instanceof Error ? cause : new MeshnodeError('internal', String(cause)));
    throw cause;
  }
}

async function countAndAnswer(stream: PeerStream): Promise<void> {
  let count = 0;
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
    count += bytes.length;
    if (count > measureLimits.servedBytes) {
      throw new MeshnodeError('stream_broken', 'More was sent than is measured.');
    }
  }
  const answer = Buffer.alloc(answerBytes);
  answer.writeBigUInt64BE(BigInt(count));
  await stream.write(answer);
}

/** The other side's answer; undefined if it is none. */
async function readCount(stream: PeerStream, signal: AbortSignal): Promise<number | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (let bytes = await stream.read(signal); bytes !== undefined; bytes = await stream.read(signal)) {
    length += bytes.length;
    if (length > answerBytes) {
      return undefined;
    }
    pieces.push(bytes);
  }
  return length === answerBytes ? Number(Buffer.concat(pieces).readBigUInt64BE()) : undefined;
}
