// The streams of one QUIC connection, as libp2p wants to see them. QUIC itself numbers, limits and carries them.
import {
  AbortError,
  type CreateStreamOptions,
  type MessageStream,
  type StreamMuxer,
} from '@libp2p/interface';
import { AbstractStreamMuxer } from '@libp2p/utils';
import { raceSignal } from '../../util/async.ts';
import { MeshnodeError } from '../../util/errors.ts';
import type { NativeConnection, NativeStream } from './native.ts';
import { discard, QuicStream } from './stream.ts';

export const quicMuxerProtocol = 'quic';

export class QuicMuxer extends AbstractStreamMuxer<QuicStream> implements StreamMuxer<QuicStream> {
  readonly #native: NativeConnection;

  /** `maxInboundStreams` is what QUIC lets the peer open; so many may come before libp2p listens. */
  constructor(connection: MessageStream, native: NativeConnection, maxInboundStreams: number) {
    super(connection, {
      protocol: quicMuxerProtocol,
      name: quicMuxerProtocol,
      maxEarlyStreams: maxInboundStreams,
    });
    this.#native = native;
    void this.#acceptAll();
  }

  async onCreateStream(options: CreateStreamOptions): Promise<QuicStream> {
    const opening = this.#native.outboundStream();
    try {
      const native = await raceSignal(opening, options.signal);
      return new QuicStream({ native, direction: 'outbound', log: this.log });
    } catch (cause) {
      opening.then(discard, () => {});
      throw options.signal?.aborted === true
        ? new AbortError()
        : new MeshnodeError('stream_broken', 'The connection was lost before a stream was open.', { cause });
    }
  }

  /** Never called: a QUIC connection has no bytes beside its streams. */
  onData(): void {}

  /** Ends all streams for writing, within `signal`; those that cannot are aborted. */
  override async close(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.status !== 'open') {
      return;
    }
    this.status = 'closing';
    const closing = [...this.streams].map((stream) =>
      stream.close(options).catch((cause: Error) => stream.abort(cause)),
    );
    await Promise.all(closing);
    this.status = 'closed';
  }

  /** The connection is gone. Resolves after every stream has delivered what had arrived, and ended. */
  async connectionLost(): Promise<void> {
    this.status = 'closing';
    await Promise.all([...this.streams].map((stream) => stream.connectionLost()));
    this.status = 'closed';
  }

  /** For a connection aborted on this side: no stream of it ends well. */
  override onTransportClosed(): void {
    void this.connectionLost();
  }

  async #acceptAll(): Promise<void> {
    try {
      while (true) {
        this.#accept(await this.#native.inboundStream());
      }
    } catch {
      // The connection is closed, which it tells itself.
    }
  }

  #accept(native: NativeStream): void {
    if (this.status === 'open') {
      this.onRemoteStream(new QuicStream({ native, direction: 'inbound', log: this.log }));
    } else {
      discard(native);
    }
  }
}
