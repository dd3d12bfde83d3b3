// One stream of a QUIC connection. It takes bytes from QUIC only while they are wanted, so that QUIC's flow
// control holds the sender; a reset or a lost connection is an error here, never an end.
import type { Logger, MessageStreamDirection } from '@libp2p/interface';
import { AbstractStream, type SendResult } from '@libp2p/utils';
import type { Uint8ArrayList } from 'uint8arraylist';
import { quicLimits } from '../../util/limits/net.ts';
import type { NativeStream } from './native.ts';

export interface QuicStreamInit {
  readonly native: NativeStream;
  readonly direction: MessageStreamDirection;
  readonly log: Logger;
}

export class QuicStream extends AbstractStream {
  readonly #native: NativeStream;
  readonly #reading: Promise<void>;
  #connectionLost = false;
  #wake: (() => void) | undefined;

  constructor({ native, direction, log }: QuicStreamInit) {
    super({ id: native.id(), direction, log, maxMessageSize: quicLimits.writeBytes });
    this.#native = native;
    this.#reading = this.#readAll();
  }

  /** Whether more may be sent at once; if not, wait for 'drain'. */
  override send(data: Uint8Array | Uint8ArrayList): boolean {
    super.send(data);
    return this.writeBufferLength < quicLimits.unsentBytes;
  }

  /** Hands over one piece. The next is asked for on 'drain': at most one native write is under way. */
  sendData(data: Uint8ArrayList): SendResult {
    this.#native.write(data.subarray()).then(
      () => this.safeDispatchEvent('drain'),
      () => this.#lost(),
    );
    return { sentBytes: data.byteLength, canSendMore: false };
  }

  /** Called after the last piece was handed over. Says the end also when there was none. */
  async sendCloseWrite(): Promise<void> {
    this.#wake?.();
    await this.#native.finishWrite();
  }

  /** Bytes are taken and dropped from now on, not refused: the peer's end still has to be heard. */
  async sendCloseRead(): Promise<void> {
    this.#wake?.();
  }

  /**
   * The peer reads a reset. One that has read our end already learns of it only when it writes on: whoever may want
   * to give a stream up keeps his own direction open until then.
   */
  sendReset(): void {
    this.#wake?.();
    discard(this.#native);
  }

  /** Nothing is sent: what is not taken from QUIC holds the peer back by itself. */
  sendPause(): void {}

  sendResume(): void {
    this.#wake?.();
  }

  /** The connection is gone. Resolves after what had arrived was delivered and the stream has ended one way or other. */
  async connectionLost(): Promise<void> {
    this.#connectionLost = true;
    this.#wake?.();
    await this.#reading;
    this.#lost();
  }

  protected override dispatchReadBuffer(): void {
    super.dispatchReadBuffer();
    this.#wake?.();
  }

  async #readAll(): Promise<void> {
    try {
      while (await this.#isWanted()) {
        const bytes = await this.#native.read(quicLimits.readBytes);
        if (bytes === null) {
          await this.#isTaken();
          this.onRemoteCloseWrite();
          return;
        }
        this.onData(bytes);
      }
    } catch {
      this.#lost();
    }
  }

  /** Waits until the reader wants more. False: it never will. */
  async #isWanted(): Promise<boolean> {
    while (this.#isLive && (this.readStatus === 'paused' || this.readBufferLength > quicLimits.unreadBytes)) {
      if (this.#connectionLost) {
        return false;
      }
      await this.#change();
    }
    return this.#isLive;
  }

  /** Waits until what came before the end was taken: an end that overtakes bytes would lose them for a slow reader. */
  async #isTaken(): Promise<void> {
    while (this.#isLive && !this.#connectionLost && this.readBufferLength > 0 && this.#hasReader) {
      await this.#change();
    }
  }

  /** False once the stream is closed for writing and nobody paused or listens: then nobody will. */
  get #hasReader(): boolean {
    return (
      this.writeStatus === 'writable' || this.readStatus === 'paused' || this.listenerCount('message') > 0
    );
  }

  get #isLive(): boolean {
    return this.status === 'open' || this.status === 'closing';
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** The peer reset the stream, refused our bytes, or is gone. */
  #lost(): void {
    if (this.#isLive) {
      this.onRemoteReset();
      discard(this.#native);
    }
  }
}

/** Gives a native stream up in both directions; the peer sees a reset. */
export function discard(native: NativeStream): void {
  // Both wait for what is under way. They fail only when there is nothing left to give up.
  native.resetWrite().catch(() => {});
  native.stopRead().catch(() => {});
}
