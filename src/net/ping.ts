// libp2p's ping: 32 random bytes that come back. The answering side is ours too, because the stock one buffers
// without bound for a peer that sends and never reads.
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import type { Random } from '../util/random.ts';

export const pingProtocol = '/ipfs/ping/1.0.0';

const payloadBytes = 32;

/** What a ping needs of a stream. */
export interface PingStream {
  read(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void>;
  end(signal?: AbortSignal): Promise<void>;
  abort(cause: Error): void;
}

/** Answers pings until the other side ends. */
export async function echo(stream: PingStream): Promise<void> {
  for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
    await stream.write(bytes);
  }
}

export interface PingComponents {
  readonly clock: Clock;
  readonly random: Random;
}

/** Round trips over one stream, opened for the first and anew after one that failed: opening costs more than a ping. */
export class RepeatedPing {
  readonly #open: (signal: AbortSignal) => Promise<PingStream>;
  readonly #components: PingComponents;
  #stream: PingStream | undefined;

  constructor(open: (signal: AbortSignal) => Promise<PingStream>, components: PingComponents) {
    this.#open = open;
    this.#components = components;
  }

  /** The next one, milliseconds; not before the last has settled. Rejects as roundTripMs, or as the stream is refused. */
  async next(signal: AbortSignal): Promise<number> {
    const stream = this.#stream ?? (await this.#open(signal));
    this.#stream = undefined;
    const tookMs = await roundTripMs(stream, this.#components, signal);
    this.#stream = stream;
    return tookMs;
  }
}

/**
 * One round trip, milliseconds. Rejects with `stream_broken` if none, or anything else, comes back; the stream is
 * aborted then.
 */
export async function roundTripMs(
  stream: PingStream,
  { clock, random }: PingComponents,
  signal?: AbortSignal,
): Promise<number> {
  const late = new AbortController();
  const timer = clock.after(netLimits.pingMs, () =>
    late.abort(new MeshnodeError('stream_broken', `No ping came back within ${netLimits.pingMs} ms.`)),
  );
  const ended = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
  const payload = random.bytes(payloadBytes);
  const startMs = clock.monotonicMs();
  try {
    await stream.write(payload, ended);
    await expectBack(stream, payload, ended);
    return clock.monotonicMs() - startMs;
  } catch (cause) {
    stream.abort(cause instanceof Error ? cause : new MeshnodeError('internal', String(cause)));
    throw cause;
  } finally {
    timer.cancel();
  }
}

async function expectBack(stream: PingStream, payload: Uint8Array, signal: AbortSignal): Promise<void> {
  for (let answered = 0; answered < payload.length; ) {
    const bytes = await stream.read(signal);
    if (bytes === undefined || !startsWith(payload.subarray(answered), bytes)) {
      throw new MeshnodeError('stream_broken', 'Something else came back than was sent.');
    }
    answered += bytes.length;
  }
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return start.length <= bytes.length && start.every((byte, index) => byte === bytes[index]);
}
