// Reading and writing libp2p streams in tests by their events, so that a test sees how a stream ended.
import type { Stream, StreamCloseEvent } from '@libp2p/interface';

export interface StreamEnd {
  /** Everything that came. */
  readonly bytes: Uint8Array;
  /** Whether the other side said that no more comes. */
  readonly ended: boolean;
  /** What the stream was closed with, if it was closed before that. */
  readonly error: Error | undefined;
}

/** Reads until the other side has ended, or the stream is closed. */
export function readToEnd(stream: Stream): Promise<StreamEnd> {
  return new Promise((resolve) => {
    const pieces: Uint8Array[] = [];
    const finish = (ended: boolean, error?: Error): void =>
      resolve({ bytes: Buffer.concat(pieces), ended, error });
    stream.addEventListener('message', ({ data }) => pieces.push(data.subarray()));
    stream.addEventListener('remoteCloseWrite', () => finish(true));
    stream.addEventListener('close', ({ error }) => finish(false, error));
  });
}

/** Resolves when the stream is closed, with how. */
export function closing(stream: Stream): Promise<StreamCloseEvent> {
  return new Promise((resolve) => {
    stream.addEventListener('close', resolve, { once: true });
  });
}

/** Sends, and waits until more may be sent. Rejects if the stream is closed meanwhile. */
export async function send(stream: Stream, bytes: Uint8Array): Promise<void> {
  if (!stream.send(bytes)) {
    await new Promise<void>((resolve, reject) => {
      const onDrain = (): void => {
        stream.removeEventListener('close', onClose);
        resolve();
      };
      const onClose = ({ error }: StreamCloseEvent): void => {
        stream.removeEventListener('drain', onDrain);
        reject(error ?? new Error('closed'));
      };
      stream.addEventListener('drain', onDrain, { once: true });
      stream.addEventListener('close', onClose, { once: true });
    });
  }
}

/** Sends all of `bytes` in pieces. */
export async function sendAll(stream: Stream, bytes: Uint8Array, pieceBytes = 64 * 1024): Promise<void> {
  for (let offset = 0; offset < bytes.byteLength; offset += pieceBytes) {
    await send(stream, bytes.subarray(offset, offset + pieceBytes));
  }
}
