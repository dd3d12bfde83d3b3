// Messages over a stream to a peer: each of bounded size, each within bounded time. A stream that carries anything
// else is aborted.
import { raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import {
  decodeMessage,
  delimit,
  encodeDelimited,
  type MessageCodec,
  MessageReader,
} from '../wire/framing.ts';
import type { PeerStream } from './network.ts';

export interface FrameOptions {
  /** Largest message either way, bytes. */
  readonly messageBytes: number;
  /** Longest wait for one message to come, or to be taken by the transport. */
  readonly messageMs: number;
}

export interface MessageOptions {
  readonly signal?: AbortSignal;
  /** Replaces `messageMs` for this one; Infinity waits for as long as the signal lets it. */
  readonly timeoutMs?: number;
}

export class FrameStream {
  readonly stream: PeerStream;
  readonly #options: FrameOptions;
  readonly #clock: Clock;
  readonly #reader: MessageReader;
  readonly #messages: Uint8Array[] = [];

  constructor(stream: PeerStream, options: FrameOptions, clock: Clock) {
    this.stream = stream;
    this.#options = options;
    this.#clock = clock;
    this.#reader = new MessageReader(options.messageBytes);
  }

  /**
   * The next message, or undefined after the other side's end. Rejects with `frame_invalid` for what is no message,
   * with `stream_broken` if none comes in time; the stream is aborted then.
   */
  async readMessage<Decoded>(
    codec: MessageCodec<never, Decoded>,
    options: MessageOptions = {},
  ): Promise<Decoded | undefined> {
    const bytes = await this.readBytes(options);
    return bytes === undefined ? undefined : this.#abortIfThrown(() => decodeMessage(codec, bytes));
  }

  /** As `readMessage`, not decoded. */
  async readBytes(options: MessageOptions = {}): Promise<Uint8Array | undefined> {
    return (
      this.#messages.shift() ??
      (await this.#inTime('No message came', options, (signal) => this.#readNext(signal)))
    );
  }

  /** Rejects with `frame_invalid` if the message is too long, `stream_broken` if it is not taken in time. */
  async writeMessage<Message>(
    codec: MessageCodec<Message, unknown>,
    message: Message,
    options: MessageOptions = {},
  ): Promise<void> {
    const bytes = encodeDelimited(codec, message, this.#options.messageBytes);
    if (bytes === undefined) {
      throw this.#tooLong();
    }
    await this.#write(bytes, options);
  }

  /** As `writeMessage`, encoded already. */
  async writeBytes(message: Uint8Array, options: MessageOptions = {}): Promise<void> {
    if (message.length > this.#options.messageBytes) {
      throw this.#tooLong();
    }
    await this.#write(delimit(message), options);
  }

  /** Raises the cap on what is read, from the next message on. */
  allow(messageBytes: number): void {
    this.#reader.allow(messageBytes);
  }

  end(signal?: AbortSignal): Promise<void> {
    return this.stream.end(signal);
  }

  abort(cause: Error): void {
    this.stream.abort(cause);
  }

  #write(bytes: Uint8Array, options: MessageOptions): Promise<void> {
    return this.#inTime('No message was taken', options, (signal) => this.stream.write(bytes, signal));
  }

  #tooLong(): MeshnodeError {
    return new MeshnodeError(
      'frame_invalid',
      `A message is longer than ${this.#options.messageBytes} bytes.`,
    );
  }

  async #readNext(signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    while (true) {
      const chunk = await this.stream.read(signal);
      if (chunk === undefined) {
        this.#abortIfThrown(() => this.#reader.end());
        return undefined;
      }
      this.#abortIfThrown(() => this.#reader.feed(chunk, (message) => this.#messages.push(message)));
      const message = this.#messages.shift();
      if (message !== undefined) {
        return message;
      }
    }
  }

  async #inTime<T>(
    what: string,
    { signal, timeoutMs = this.#options.messageMs }: MessageOptions,
    work: (signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    if (timeoutMs === Number.POSITIVE_INFINITY) {
      return await work(signal);
    }
    const late = new AbortController();
    const timer = this.#clock.after(timeoutMs, () => {
      const error = new MeshnodeError('stream_broken', `${what} within ${timeoutMs} ms.`);
      late.abort(error);
      this.stream.abort(error);
    });
    try {
      const both = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
      return await raceSignal(work(both), late.signal);
    } finally {
      timer.cancel();
    }
  }

  #abortIfThrown<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      this.stream.abort(cause instanceof Error ? cause : new MeshnodeError('frame_invalid', String(cause)));
      throw cause;
    }
  }
}
