// libp2p's ping: 32 random bytes that come back. The answering side is ours too, because the stock one buffers
// without bound for a peer that sends and never reads.
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { Random } from '../util/random.ts';

export const pingProtocol = '/ipfs/ping/1.0.0';

const payloadBytes = 32;

/** What a ping needs of a stream. */
export interface PingStream {
  read(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  end(signal?: AbortSignal): Promise<void>;
}

/** Answers pings until the other side ends. */
export async function echo(stream: PingStream): Promise<void> {
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
    await stream.write(bytes);
  }
}

/** One round trip on a fresh stream, milliseconds. Rejects with `stream_broken` if anything else comes back. */
export async function roundTripMs(
  stream: PingStream,
  clock: Clock,
  random: Random,
  signal: AbortSignal,
): Promise<number> {
  const payload = random.bytes(payloadBytes);
  const startMs = clock.monotonicMs();
  await stream.write(payload, signal);
  let answered = 0;
  while (answered < payloadBytes) {
    const bytes = await stream.read(signal);
    if (bytes === undefined || !startsWith(payload.subarray(answered), bytes)) {
      throw new MeshnodeError('stream_broken', 'Something else came back than was sent.');
    }
    answered += bytes.length;
  }
  const tookMs = clock.monotonicMs() - startMs;
  await stream.end(signal);
  return tookMs;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return start.length <= bytes.length && start.every((byte, index) => byte === bytes[index]);
}
