// The frames of `/meshnode/infer/1` over one stream: read one at a time, written several at once. Both ends of the
// protocol use it; what may follow what is theirs.
import type { InferenceEvent } from '../../inference/events.ts';
import { encodeFrame, FrameReader, type InferFrame } from '../../inference/frames.ts';
import type { PeerStream } from '../../net/network.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';

const none = new Uint8Array();

export class InferFrames {
  readonly stream: PeerStream;
  readonly #reader = new FrameReader();
  readonly #frames: InferFrame[] = [];
  /** What has come and is not looked at yet: many small frames take far more memory than their bytes. */
  #unread: Uint8Array = none;
  #failure: unknown;
  #receivedBytes = 0;

  constructor(stream: PeerStream) {
    this.stream = stream;
  }

  /** Bytes that have come. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /**
   * The next frame, or undefined after the other side's end. The stream is read only if no frame is left over.
   * Rejects as its `read`, and with what decoding throws (`frame_invalid` above all): it cannot be read on then.
   */
  async next(signal?: AbortSignal): Promise<InferFrame | undefined> {
    while (true) {
      const frame = this.#frames.shift();
      if (frame !== undefined) {
        return frame;
      }
      if (this.#failure !== undefined) {
        throw this.#failure;
      }
      if (this.#unread.length > 0) {
        this.#decodeSome();
        continue;
      }
      const chunk = await this.stream.read(signal);
      if (chunk === undefined) {
        this.#reader.end();
        return undefined;
      }
      this.#receivedBytes += chunk.length;
      this.#unread = chunk;
    }
  }

  /** Throws `frame_invalid` if something has come after the frame that was taken last. */
  requireNoMore(): void {
    if (this.#frames.length > 0 || this.#unread.length > 0 || this.#failure !== undefined) {
      throw new MeshnodeError('frame_invalid', 'Frames came after the last one.');
    }
    this.#reader.end();
  }

  /** A frame that cannot be read counts only once those before it have been taken. */
  #decodeSome(): void {
    const some = this.#unread.subarray(0, inferLimits.decodeBytes);
    this.#unread = this.#unread.subarray(some.length);
    try {
      this.#reader.feed(some, (frame) => this.#frames.push(frame));
    } catch (cause) {
      this.#failure = cause;
    }
  }
}

/** Frames in pieces that are worth a write each: a small request goes out in one. */
export function* writesOf(frames: Iterable<InferFrame>): Generator<Uint8Array, void, undefined> {
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  for (const frame of frames) {
    const encoded = encodeFrame(frame);
    gathered.push(encoded);
    bytes += encoded.length;
    if (bytes >= inferLimits.writeBytes) {
      yield joined(gathered);
      gathered = [];
      bytes = 0;
    }
  }
  if (bytes > 0) {
    yield joined(gathered);
  }
}

/** The pieces as one; the only one is not copied. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [first = none, ...others] = pieces;
  return others.length === 0 ? first : Buffer.concat(pieces);
}

/** Whether an answer ends with this event. */
export function isLast(event: InferenceEvent): boolean {
  return event.type === 'end' || event.type === 'error';
}
