// Two ends of a stream in memory, with bounded buffers: what a PeerStream promises, without a transport.
import type { PeerStream } from '../../src/net/network.ts';
import type { ProtocolId } from '../../src/trust/gate.ts';
import type { PeerId } from '../../src/trust/keys.ts';
import { raceSignal } from '../../src/util/async.ts';
import { MeshnodeError } from '../../src/util/errors.ts';
import { netLimits } from '../../src/util/limits/net.ts';

/** The two ends: what `opener` names is what the serving end sees, and the other way round. */
export function memoryStreams(
  protocol: ProtocolId,
  opener: PeerId,
  server: PeerId,
): [MemoryStream, MemoryStream] {
  const there = new Pipe();
  const back = new Pipe();
  return [new MemoryStream(protocol, server, back, there), new MemoryStream(protocol, opener, there, back)];
}

export class MemoryStream implements PeerStream {
  readonly peer: PeerId;
  readonly protocol: ProtocolId;
  readonly link = '';
  readonly closed: Promise<void>;
  readonly #incoming: Pipe;
  readonly #outgoing: Pipe;

  constructor(protocol: ProtocolId, peer: PeerId, incoming: Pipe, outgoing: Pipe) {
    this.protocol = protocol;
    this.peer = peer;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.closed = Promise.all([incoming.over, outgoing.over]).then(() => {});
  }

  read(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#incoming.read(signal);
  }

  write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#outgoing.write(bytes, signal);
  }

  async end(): Promise<void> {
    this.#outgoing.end();
  }

  abort(cause: Error): void {
    const failure = new MeshnodeError('stream_broken', 'The stream was aborted.', { cause });
    this.#incoming.fail(failure);
    this.#outgoing.fail(failure);
  }
}

/** One direction. */
class Pipe {
  readonly #over = Promise.withResolvers<void>();
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #failure: MeshnodeError | undefined;
  #change = Promise.withResolvers<void>();

  /** Resolves when no more bytes can enter. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  async read(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted();
    while (true) {
      if (this.#failure !== undefined) {
        throw this.#failure;
      }
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#bytes -= piece.length;
        this.#changed();
        return piece;
      }
      if (this.#ended) {
        return undefined;
      }
      await raceSignal(this.#change.promise, signal);
    }
  }

  async write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.#throwIfFailed();
    if (bytes.length > 0) {
      this.#pieces.push(Uint8Array.from(bytes));
      this.#bytes += bytes.length;
      this.#changed();
    }
    while (this.#bytes >= netLimits.unreadBytes) {
      await raceSignal(this.#change.promise, signal);
      this.#throwIfFailed();
    }
  }

  end(): void {
    this.#throwIfFailed();
    this.#ended = true;
    this.#over.resolve();
    this.#changed();
  }

  /** What an end was said of cannot fail any more. */
  fail(failure: MeshnodeError): void {
    if (this.#failure === undefined && !(this.#ended && this.#pieces.length === 0)) {
      this.#failure = failure;
      this.#pieces = [];
    }
    this.#over.resolve();
    this.#changed();
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) {
      throw this.#failure;
    }
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers<void>();
  }
}
