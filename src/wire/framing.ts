// Messages on a stream of bytes, for every protocol between nodes: each is preceded by its length as a
// varint, and no message is longer than its protocol's cap. Knows nothing of what messages mean.
import protobuf, { type Writer } from 'protobufjs/minimal.js';
import { MeshnodeError } from '../util/errors.ts';
import { ByteGatherer } from './byte-gatherer.ts';

/** The generated code of one message type. */
export interface MessageCodec<Message, Decoded> {
  encode(message: Message): Writer;
  decode(bytes: Uint8Array): Decoded;
}

/** `message` with its length before it, or undefined if it alone is longer than `mostBytes`. */
export function encodeDelimited<Message>(
  codec: MessageCodec<Message, unknown>,
  message: Message,
  mostBytes: number,
): Uint8Array | undefined {
  const writer = codec.encode(message);
  return writer.len > mostBytes ? undefined : writer.ldelim().finish();
}

/** An encoded message with its length before it. The caller keeps to the cap. */
export function delimit(message: Uint8Array): Uint8Array {
  return protobuf.Writer.create().bytes(message).finish();
}

/** The message that `bytes` hold. Throws `frame_invalid` if they are none; unknown fields are ignored. */
export function decodeMessage<Decoded>(codec: MessageCodec<never, Decoded>, bytes: Uint8Array): Decoded {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new MeshnodeError('frame_invalid', 'A frame holds no protobuf message.', { cause });
  }
}

/** Cuts a stream of bytes, in chunks of any size, into messages. */
export class MessageReader {
  #mostBytes: number;
  #partial: ByteGatherer;
  /** Length of the message that is being read, or undefined within the varint that says it. */
  #length: number | undefined;
  #varint = 0;
  #varintBytes = 0;

  /** A message longer than `mostBytes` is refused before a byte of it is kept. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
    this.#partial = new ByteGatherer(mostBytes);
  }

  /** Raises the cap from the next message on: a peer that is trusted more may say more. */
  allow(mostBytes: number): void {
    if (mostBytes > this.#mostBytes && this.#partial.length === 0) {
      this.#mostBytes = mostBytes;
      this.#partial = new ByteGatherer(mostBytes);
    }
  }

  /**
   * Gives every message that `chunk` completes to `deliver`, in order; one may share memory with the chunk.
   * Throws `frame_invalid` at a bad length, and what `deliver` throws: the stream cannot be read on then.
   */
  feed(chunk: Uint8Array, deliver: (message: Uint8Array) => void): void {
    let position = 0;
    while (position < chunk.length) {
      if (this.#length === undefined) {
        this.#length = this.#readVarint(chunk[position] ?? 0);
        position++;
      }
      if (this.#length !== undefined) {
        position = this.#readMessage(this.#length, chunk, position, deliver);
      }
    }
  }

  /** The stream has ended. Throws `frame_invalid` if it did so within a message. */
  end(): void {
    if (this.#length !== undefined || this.#varintBytes > 0) {
      throw new MeshnodeError('frame_invalid', 'The stream ended in the middle of a frame.');
    }
  }

  /** Takes the next byte of a length; the length, once it is complete. */
  #readVarint(byte: number): number | undefined {
    this.#varint += (byte & 0x7f) * 2 ** (7 * this.#varintBytes);
    this.#varintBytes++;
    if (this.#varint > this.#mostBytes) {
      throw new MeshnodeError('frame_invalid', `A frame is longer than ${this.#mostBytes} bytes.`);
    }
    const last = byte < 0x80;
    const padded = last && byte === 0 && this.#varintBytes > 1;
    // Two to the 28th is above any cap: a fifth byte can only be padding.
    if (padded || (!last && this.#varintBytes === 4)) {
      throw new MeshnodeError('frame_invalid', 'The length of a frame is not written in its shortest form.');
    }
    if (!last) {
      return undefined;
    }
    const length = this.#varint;
    this.#varint = 0;
    this.#varintBytes = 0;
    return length;
  }

  /** Takes what of the message is in `chunk` from `position` on; the position after it. */
  #readMessage(
    length: number,
    chunk: Uint8Array,
    position: number,
    deliver: (message: Uint8Array) => void,
  ): number {
    const piece = chunk.subarray(position, position + length - this.#partial.length);
    const complete = this.#partial.length + piece.length === length;
    if (complete && this.#partial.length === 0) {
      this.#length = undefined;
      deliver(piece);
    } else {
      this.#partial.add(piece);
      if (complete) {
        this.#length = undefined;
        deliver(this.#partial.take());
      }
    }
    return position + piece.length;
  }
}
