// Yamux gives a peer back what it has read with every single frame: one more frame, TLS record and system call for
// each. Here it waits until half of a window is used up, as the muxers of other languages do: the other side always
// has half a window to go on with, and a node at rest, which says little, gives nothing back at all.
import type { Stream, StreamMuxer } from '@libp2p/interface';

/** Of a yamux stream, what this relies on: @libp2p/yamux, src/stream.ts. */
interface WindowedStream extends Stream {
  /** Bytes of a whole window, and what is left of it for the other side to send. */
  readonly recvWindow: number;
  readonly recvWindowCapacity: number;
  /** Frames of a stream that is not established yet carry its flags, so these must go. */
  readonly state: number;
  sendWindowUpdate(): void;
}

/** Yamux makes its streams in these two. */
interface StreamMaker extends StreamMuxer {
  onCreateStream(options: object): Stream;
  onRemoteStream(stream: Stream): void;
}

/** `StreamState.Established` of yamux, which does not export it. */
const established = 3;

/** Has a muxer's streams wait with their window updates. One that is not yamux stays as it is. */
export function sparingUpdates(muxer: StreamMuxer): StreamMuxer {
  if (isStreamMaker(muxer)) {
    const create = muxer.onCreateStream.bind(muxer);
    const remote = muxer.onRemoteStream.bind(muxer);
    muxer.onCreateStream = (options) => sparing(create(options));
    muxer.onRemoteStream = (stream) => remote(sparing(stream));
  }
  return muxer;
}

function sparing(stream: Stream): Stream {
  if (isWindowed(stream)) {
    const send = stream.sendWindowUpdate.bind(stream);
    stream.sendWindowUpdate = () => {
      if (stream.state !== established || stream.recvWindowCapacity <= stream.recvWindow / 2) {
        send();
      }
    };
  }
  return stream;
}

function isStreamMaker(muxer: StreamMuxer): muxer is StreamMaker {
  return 'onCreateStream' in muxer && 'onRemoteStream' in muxer;
}

function isWindowed(stream: Stream): stream is WindowedStream {
  return 'sendWindowUpdate' in stream && 'recvWindowCapacity' in stream && 'recvWindow' in stream;
}
