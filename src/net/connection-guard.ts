// What one connection may cost: few streams and bytes while its peer is no member, and a bounded number of streams
// that lead nowhere. A peer that goes on is disconnected; nobody else notices.
import type { Connection, Stream, StreamMuxer } from '@libp2p/interface';
import type { Clock } from '../util/clock.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits.ts';

/** Counts offences; one a second is forgotten. Pure. */
export class AbuseMeter {
  #count = 0;
  #countedMs: number;

  constructor(nowMs: number) {
    this.#countedMs = nowMs;
  }

  /** Counts one more. True: that was one too many. */
  add(nowMs: number): boolean {
    this.#count = Math.max(0, this.#count - (nowMs - this.#countedMs) / 1000) + 1;
    this.#countedMs = nowMs;
    return this.#count > netLimits.abuses;
  }
}

export class ConnectionGuard {
  readonly #connection: Connection;
  readonly #isAdmitted: () => boolean;
  readonly #clock: Clock;
  readonly #abuses: AbuseMeter;
  /** Inbound streams that have not reached a handler, and what lifts the bound on their bytes. */
  readonly #negotiating = new Map<Stream, () => void>();

  /** Watches a connection from its first stream on: to be made within its 'connection:open' event. */
  constructor(connection: Connection, isAdmitted: () => boolean, clock: Clock) {
    this.#connection = connection;
    this.#isAdmitted = isAdmitted;
    this.#clock = clock;
    this.#abuses = new AbuseMeter(clock.monotonicMs());
    muxerOf(connection).addEventListener('stream', (event) => this.#onStream(event.detail));
    this.#closeIfNeverAdmitted();
  }

  /** A stream has named its protocol and passed the gate: it is no offence any more if it ends. */
  reached(stream: Stream): void {
    this.#negotiating.get(stream)?.();
    this.#negotiating.delete(stream);
    stream.maxReadBufferLength = this.#isAdmitted() ? netLimits.readBufferBytes : netLimits.unadmittedBytes;
  }

  /** The peer did what no honest one does. */
  offended(): void {
    if (this.#connection.status === 'open' && this.#abuses.add(this.#clock.monotonicMs())) {
      this.#connection.abort(
        new MeshnodeError('protocol_refused', 'The peer opens streams that lead nowhere.'),
      );
    }
  }

  #onStream(stream: Stream): void {
    const admitted = this.#isAdmitted();
    if (!admitted && this.#inboundStreams() > netLimits.unadmittedStreams) {
      stream.abort(new MeshnodeError('protocol_refused', 'A peer that is no member has too many streams.'));
      this.offended();
      return;
    }
    const mostBytes = admitted
      ? netLimits.unreadBytes
      : netLimits.unadmittedBytes / netLimits.unadmittedStreams;
    stream.maxReadBufferLength = mostBytes;
    this.#negotiating.set(stream, boundReceived(stream, mostBytes));
    stream.addEventListener('close', () => {
      if (this.#negotiating.delete(stream)) {
        this.offended();
      }
    });
  }

  #closeIfNeverAdmitted(): void {
    const decide = (): void => {
      if (!this.#isAdmitted()) {
        this.#connection.abort(new MeshnodeError('protocol_refused', 'The peer has not become a member.'));
      }
    };
    const timer = this.#clock.after(netLimits.unadmittedMs, decide, { keepAlive: false });
    this.#connection.addEventListener('close', () => timer.cancel());
  }

  #inboundStreams(): number {
    return this.#connection.streams.filter((stream) => stream.direction === 'inbound').length;
  }
}

/**
 * Aborts a stream that receives more than `mostBytes`; the returned function ends that. Bytes are counted where they
 * arrive: a listener would take those that come between two of libp2p's own. libp2p alone reads on for as long as
 * the length of a protocol's name does not end.
 */
function boundReceived(stream: Stream, mostBytes: number): () => void {
  const receiving = stream as Stream & { onData(data: { readonly byteLength: number }): void };
  const { onData } = receiving;
  let bytes = 0;
  receiving.onData = (data) => {
    bytes += data.byteLength;
    if (bytes > mostBytes) {
      stream.abort(new MeshnodeError('protocol_refused', 'The peer sends much and names no protocol.'));
    } else {
      onData.call(receiving, data);
    }
  };
  return () => {
    receiving.onData = onData;
  };
}

/** libp2p tells of a stream only once it is negotiated; its muxer, which it does not show, tells of every one. */
function muxerOf(connection: Connection): StreamMuxer {
  const { muxer } = connection as Connection & { readonly muxer?: StreamMuxer };
  assertInvariant(muxer !== undefined, 'a connection has a muxer');
  return muxer;
}
