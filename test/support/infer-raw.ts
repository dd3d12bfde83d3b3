// One end of `/meshnode/infer/1` that says whatever a test likes, frame by frame or byte by byte, and streams that
// break after so many bytes.
import { InferFrames } from '../../src/dispatch/infer/infer-frames.ts';
import type { InferenceEvent } from '../../src/inference/events.ts';
import { encodeFrame, type InferFrame } from '../../src/inference/frames.ts';
import type { InferenceRequest } from '../../src/inference/request.ts';
import { requestToFrames } from '../../src/inference/request-frames.ts';
import type { PeerStream } from '../../src/net/network.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import { frameLimits } from '../../src/util/limits/inference.ts';
import { chatRequest } from './infer-pair.ts';

export class RawEnd {
  readonly stream: PeerStream;
  readonly #frames: InferFrames;

  constructor(stream: PeerStream) {
    this.stream = stream;
    this.#frames = new InferFrames(stream);
  }

  async send(...frames: InferFrame[]): Promise<void> {
    await this.stream.write(Buffer.concat(frames.map(encodeFrame)));
  }

  async sendEvents(...events: InferenceEvent[]): Promise<void> {
    await this.send(...events.map((event): InferFrame => ({ type: 'event', event })));
  }

  /** Asks, or takes an answer up if frames are held. */
  async ask(key: number, framesHeld = 0, request: InferenceRequest = chatRequest()): Promise<void> {
    await this.send(...requestToFrames(request, { resumeKey: keyOf(key), framesHeld }));
  }

  frame(): Promise<InferFrame | undefined> {
    return this.#frames.next();
  }

  /** The next frame, which is an event. */
  async event(): Promise<InferenceEvent> {
    const frame = await this.frame();
    if (frame?.type !== 'event') {
      throw new Error(`There is no event but ${frame?.type ?? 'an end'}.`);
    }
    return frame.event;
  }

  /** Every event up to the end of the other side. */
  async events(): Promise<InferenceEvent[]> {
    const events: InferenceEvent[] = [];
    for (let frame = await this.frame(); frame !== undefined; frame = await this.frame()) {
      if (frame.type === 'event') {
        events.push(frame.event);
      }
    }
    return events;
  }

  /** Reads the request that comes, up to its end. */
  async request(): Promise<InferFrame[]> {
    const frames: InferFrame[] = [];
    while (frames.at(-1)?.type !== 'end') {
      const frame = await this.frame();
      if (frame === undefined) {
        break;
      }
      frames.push(frame);
    }
    return frames;
  }
}

export function keyOf(number: number): Uint8Array {
  return new Uint8Array(frameLimits.resumeKeyBytes).fill(number);
}

/** `stream`, whose incoming bytes come in pieces of these sizes, and which breaks after so many of them. */
export function breaking(stream: PeerStream, mostBytes: number, sizes: readonly number[] = [64]): PeerStream {
  let left = mostBytes;
  let turn = 0;
  let waiting: Uint8Array = new Uint8Array();
  return {
    peer: stream.peer,
    protocol: stream.protocol,
    link: stream.link,
    closed: stream.closed,
    write: (bytes, signal) => stream.write(bytes, signal),
    end: (signal) => stream.end(signal),
    abort: (cause) => stream.abort(cause),
    read: async (signal) => {
      if (waiting.length === 0) {
        const piece = await stream.read(signal);
        if (piece === undefined) {
          return undefined;
        }
        waiting = piece;
      }
      if (left === 0) {
        const broken = new MeshnodeError('stream_broken', 'The test broke the stream.');
        stream.abort(broken);
        throw broken;
      }
      const some = waiting.subarray(0, Math.min(left, sizes[turn++ % sizes.length] ?? 1));
      waiting = waiting.subarray(some.length);
      left -= some.length;
      return some;
    },
  };
}
