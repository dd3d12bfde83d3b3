// Opens one outbound stream on one connection, in bounded time, and says in our own words why it could not be.
import type { Connection, Stream } from '@libp2p/interface';
import { raceSignal } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { netLimits } from '../util/limits/net.ts';

/** Rejects with `protocol_refused` or `stream_broken`, or the signal's reason. */
export async function openStream(
  connection: Connection,
  protocol: string,
  clock: Clock,
  signal?: AbortSignal,
): Promise<Stream> {
  signal?.throwIfAborted();
  const late = new AbortController();
  const timer = clock.after(netLimits.openMs, () => late.abort(broken(protocol, 'in time')));
  const ended = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
  const opening = connection.newStream([protocol], { signal: ended, maxOutboundStreams: netLimits.streams });
  try {
    const stream = await raceSignal(opening, ended);
    if (stream.status !== 'open') {
      throw new MeshnodeError('protocol_refused', `The peer does not let this node open ${protocol}.`);
    }
    return stream;
  } catch (cause) {
    opening.then(
      (stream) => stream.abort(broken(protocol, 'in time')),
      () => {},
    );
    ended.throwIfAborted();
    if (cause instanceof Error && cause.name === 'ConnectionClosedError') {
      // Its muxer has closed and left it: a peer can say goodbye and stay connected.
      connection.abort(cause);
    }
    throw asStreamError(cause, protocol);
  } finally {
    timer.cancel();
  }
}

/** What libp2p says of a stream that could not be opened, as `protocol_refused` or `stream_broken`. */
export function asStreamError(cause: unknown, protocol: string): MeshnodeError {
  if (cause instanceof MeshnodeError) {
    return cause;
  }
  if (cause instanceof Error && cause.name === 'UnsupportedProtocolError') {
    return new MeshnodeError('protocol_refused', `The peer does not serve ${protocol}.`, { cause });
  }
  return broken(protocol, 'at all', cause);
}

function broken(protocol: string, how: string, cause?: unknown): MeshnodeError {
  return new MeshnodeError('stream_broken', `No stream of ${protocol} was opened ${how}.`, { cause });
}
