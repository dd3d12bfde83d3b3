// What one connection may cost: few streams and bytes while its peer is no member, and a bounded number of streams
// that lead nowhere. A peer that goes on is disconnected; nobody else notices.
import type { Connection, Stream, StreamMuxer } from '@libp2p/interface';
import type { Clock } from '../util/clock.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';

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

/** An inbound stream that has not reached a handler. */
interface Negotiation {
  bytes: number;
  readonly stopCounting: () => void;
}

export class ConnectionGuard {
  readonly #connection: Connection;
  readonly #isAdmitted: () => boolean;
  readonly #clock: Clock;
  readonly #abuses: AbuseMeter;
  readonly #negotiations = new Map<Stream, Negotiation>();
  /** Received on all of them. */
  #negotiatingBytes = 0;

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
    this.#settle(stream);
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
    this.#negotiate(stream, admitted ? netLimits.readBufferBytes : netLimits.unadmittedBytes);
    stream.addEventListener('close', () => {
      if (this.#settle(stream)) {
        this.offended();
      }
    });
  }

  /** Gives the stream up if that many bytes come on streams that reach no handler. */
  #negotiate(stream: Stream, mostBytes: number): void {
    stream.maxReadBufferLength = mostBytes;
    const stopCounting = countReceived(stream, (bytes) => {
      negotiation.bytes += bytes;
      this.#negotiatingBytes += bytes;
      return this.#negotiatingBytes <= mostBytes;
    });
    const negotiation: Negotiation = { bytes: 0, stopCounting };
    this.#negotiations.set(stream, negotiation);
  }

  /** Whether the stream had not reached a handler before. */
  #settle(stream: Stream): boolean {
    const negotiation = this.#negotiations.get(stream);
    negotiation?.stopCounting();
    this.#negotiatingBytes -= negotiation?.bytes ?? 0;
    return this.#negotiations.delete(stream);
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
 * Aborts a stream as soon as `allows` says no to the bytes of a piece; the returned function ends that. Bytes are
 * counted where they arrive: a listener would take those that come between two of libp2p's own. Left alone, libp2p
 * reads on for as long as the length of a protocol's name does not end.
 */
function countReceived(stream: Stream, allows: (bytes: number) => boolean): () => void {
  const receiving = stream as Stream & { onData(data: { readonly byteLength: number }): void };
  const { onData } = receiving;
  receiving.onData = (data) => {
    if (allows(data.byteLength)) {
      onData.call(receiving, data);
    } else {
      stream.abort(new MeshnodeError('protocol_refused', 'The peer sends much and names no protocol.'));
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
