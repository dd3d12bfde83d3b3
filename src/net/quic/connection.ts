// One QUIC connection: who is at the other end, how it closes, and why it was lost. Bytes travel in the streams
// of its muxer only.
import type { Logger, MessageStreamDirection, PeerId, StreamMuxerFactory } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { type Clock, sleep } from '../../util/clock.ts';
import { assertInvariant, MeshnodeError } from '../../util/errors.ts';
import { quicLimits } from '../../util/limits/net.ts';
import { parseQuicAddress } from './addresses.ts';
import { QuicMuxer, quicMuxerProtocol } from './muxer.ts';
import type { NativeConnection } from './native.ts';

export interface QuicConnectionInit {
  readonly native: NativeConnection;
  readonly direction: MessageStreamDirection;
  readonly log: Logger;
  readonly clock: Clock;
  readonly maxInboundStreams: number;
}

/** What the native library says of a connection that the peer closed in the ordinary way. */
const closedByPeer = 'closed by peer: 0';

export class QuicConnection extends AbstractMultiaddrConnection {
  /** Whom the TLS handshake proved to be there. */
  readonly remotePeer: PeerId;
  readonly muxerFactory: StreamMuxerFactory;
  readonly #native: NativeConnection;
  readonly #clock: Clock;
  readonly #closed: Promise<void>;
  #muxer: QuicMuxer | undefined;

  constructor({ native, direction, log, clock, maxInboundStreams }: QuicConnectionInit) {
    const remoteAddr = multiaddr(native.remoteMultiaddr());
    super({ remoteAddr, direction, log });
    const peer = parseQuicAddress(remoteAddr)?.peer;
    assertInvariant(peer !== undefined, 'a QUIC handshake proves a peer id');
    this.remotePeer = peerIdFromString(peer);
    this.#native = native;
    this.#clock = clock;
    this.muxerFactory = {
      protocol: quicMuxerProtocol,
      createStreamMuxer: () => {
        this.#muxer = new QuicMuxer(this, native, maxInboundStreams);
        return this.#muxer;
      },
    };
    this.#closed = this.#untilClosed();
  }

  /** Closes in order, within `flushMs`, and resolves when the connection is gone, also if it was closing already. */
  async closeAndWait(): Promise<void> {
    await this.close();
    await this.#closed;
  }

  sendData(): SendResult {
    throw new MeshnodeError('internal', 'A QUIC connection carries streams, no bytes of its own.');
  }

  sendReset(): void {
    this.#native.abort();
  }

  sendPause(): void {}

  sendResume(): void {}

  async sendClose(options?: { readonly signal?: AbortSignal }): Promise<void> {
    await this.#flushed(options?.signal);
    this.#native.abort();
    await this.#closed;
  }

  /** Resolves when the connection is gone, the streams have ended and this says so too. */
  async #untilClosed(): Promise<void> {
    await this.#native.closed();
    await this.#muxer?.connectionLost();
    if (this.status !== 'open') {
      return;
    }
    const reason = await this.#native.outboundStream().then(
      () => 'unknown',
      (cause: Error) => cause.message,
    );
    this.onTransportClosed(
      reason === closedByPeer
        ? undefined
        : new MeshnodeError('stream_broken', `The QUIC connection was lost: ${reason}.`),
    );
  }

  /** Waits, within bounds, until all that was written has left: to close a connection drops what has not. */
  async #flushed(signal?: AbortSignal): Promise<void> {
    const deadlineMs = this.#clock.monotonicMs() + quicLimits.flushMs;
    let sentBefore: number;
    let sent = this.#native.stats().frameTxStream;
    do {
      sentBefore = sent;
      await sleep(this.#clock, Math.max(quicLimits.flushQuietMs, 2 * this.#native.rtt()), signal).catch(
        () => {},
      );
      sent = this.#native.stats().frameTxStream;
    } while (sent !== sentBefore && signal?.aborted !== true && this.#clock.monotonicMs() < deadlineMs);
  }
}
