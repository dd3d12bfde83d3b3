// A libp2p stream as the rest of the node sees one: bounded reading, honest back-pressure, and an end only if the
// other side said it. Never iterates a libp2p stream (it buffers without bound) nor awaits its `onDrain()` (which
// waits only once).
import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface';
import type { PeerId } from '../trust/keys.ts';
import { raceSignal } from '../util/async.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';
import { Wake } from '../util/wake.ts';
import type { PeerStream } from './network.ts';

export interface MuxedStreamOptions {
  /** Id of its link; empty where nobody asks. */
  readonly link?: string;
  /** Most bytes that wait to be read. */
  readonly unreadLimit?: number;
}

/** `Protocol` is wider than our own ids only within this folder: pings run on libp2p's. */
export class MuxedStream<Protocol extends string> implements Omit<PeerStream, 'protocol'> {
  readonly peer: PeerId;
  readonly protocol: Protocol;
  readonly link: string;
  readonly closed: Promise<void>;
  readonly #stream: Stream;
  readonly #unreadLimit: number;
  readonly #readable = new Wake();
  readonly #writable = new Wake();
  readonly #pieces: Uint8Array[] = [];
  #unreadBytes = 0;
  #remoteEnded: boolean;
  #ending: Promise<void> | undefined;
  #failure: MeshnodeError | undefined;
  #resuming = false;
  #aborted = false;

  constructor(
    stream: Stream,
    peer: PeerId,
    protocol: Protocol,
    { link = '', unreadLimit = netLimits.unreadBytes }: MuxedStreamOptions = {},
  ) {
    this.peer = peer;
    this.protocol = protocol;
    this.link = link;
    this.#stream = stream;
    this.#unreadLimit = unreadLimit;
    this.#remoteEnded = stream.remoteWriteStatus === 'closed' && stream.status === 'open';
    if (stream.status === 'open' || stream.status === 'closing') {
      this.closed = new Promise((resolve) => {
        stream.addEventListener('close', (event) => {
          this.#onClose(event);
          resolve();
        });
      });
    } else {
      this.closed = Promise.resolve();
      this.#fail('The stream was lost before it could be used.');
    }
    stream.addEventListener('remoteCloseWrite', () => this.#onRemoteEnd());
    stream.addEventListener('drain', () => this.#writable.now());
    stream.addEventListener('idle', () => this.#writable.now());
    // Last: what came during negotiation is delivered as soon as somebody listens.
    stream.addEventListener('message', (event) => this.#onMessage(event));
  }

  async read(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    while (true) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#unreadBytes -= costOf(piece);
        this.#resumeIfRoom();
        return piece;
      }
      if (this.#failure !== undefined && !this.#endCameFirst) {
        throw this.#failure;
      }
      if (this.#remoteEnded && this.#stream.readBufferLength === 0) {
        return undefined;
      }
      await raceSignal(this.#readable.next(), signal);
    }
  }

  async write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    assertInvariant(this.#ending === undefined, 'nothing is written after the end');
    this.#throwIfFailed();
    if (bytes.length > 0) {
      this.#send(bytes);
    }
    while (this.#stream.writeBufferLength >= netLimits.unsentBytes) {
      await raceSignal(this.#writable.next(), signal);
      this.#throwIfFailed();
    }
  }

  async end(signal?: AbortSignal): Promise<void> {
    this.#throwIfFailed();
    this.#ending ??= this.#stream.close().catch((cause: unknown) => {
      throw this.#fail('The stream was lost before its end was sent.', cause);
    });
    await raceSignal(this.#ending, signal);
  }

  abort(cause: Error): void {
    if (this.#stream.status === 'open' || this.#stream.status === 'closing') {
      this.#fail('The stream was given up here.', cause);
      this.#pieces.length = 0;
      this.#stream.abort(cause);
    }
  }

  #send(bytes: Uint8Array): void {
    try {
      this.#stream.send(bytes);
    } catch (cause) {
      throw this.#fail('The stream takes no more bytes.', cause);
    }
  }

  #onMessage(event: StreamMessageEvent): void {
    for (const piece of event.data instanceof Uint8Array ? [event.data] : event.data) {
      this.#pieces.push(plain(piece));
      this.#unreadBytes += costOf(piece);
    }
    if (!this.#resuming) {
      this.#pauseIfFull();
    }
    this.#readable.now();
  }

  #pauseIfFull(): void {
    if (this.#unreadBytes >= this.#unreadLimit && this.#stream.readStatus === 'readable') {
      this.#stream.pause();
    }
  }

  #resumeIfRoom(): void {
    if (this.#unreadBytes < this.#unreadLimit / 2) {
      this.#resume();
    }
  }

  /**
   * Takes what waited in libp2p and lets more come. If that fills the buffer again the pause must come after
   * `resume()` has returned: yamux forgets one that is asked for while it delivers, and is reset later for it.
   */
  #resume(): void {
    if (this.#stream.readStatus !== 'paused') {
      return;
    }
    this.#resuming = true;
    try {
      this.#stream.resume();
    } catch {
      // The connection is gone and could not be told. What had come over it was delivered before that.
    }
    this.#resuming = false;
    this.#pauseIfFull();
  }

  #onRemoteEnd(): void {
    this.#remoteEnded = true;
    this.#readable.now();
  }

  /** A close without an error is an end only where both sides said theirs. */
  #onClose(event: StreamCloseEvent): void {
    if (event.error !== undefined || !this.#remoteEnded || this.#ending === undefined) {
      this.#fail('The stream was aborted by the other side, or its connection was lost.', event.error);
    }
    this.#aborted = event.error !== undefined;
    this.#resume();
    this.#readable.now();
    this.#writable.now();
  }

  /** The other side said its end, and what was lost after it was the way back. */
  get #endCameFirst(): boolean {
    return this.#remoteEnded && !this.#aborted;
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
  }

  #fail(what: string, cause?: unknown): MeshnodeError {
    this.#failure ??= new MeshnodeError('stream_broken', what, { cause });
    this.#readable.now();
    this.#writable.now();
    return this.#failure;
  }
}

/** Node's sockets give Buffers, whose `slice` is another one than a Uint8Array's. */
function plain(piece: Uint8Array): Uint8Array {
  return Buffer.isBuffer(piece) ? new Uint8Array(piece.buffer, piece.byteOffset, piece.length) : piece;
}

function costOf(piece: Uint8Array): number {
  return piece.length + netLimits.pieceBytes;
}
