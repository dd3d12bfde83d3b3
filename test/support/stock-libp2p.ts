// libp2p as it comes, for the tests that show why the host does not use it so.
import type { Connection, Libp2p, Stream } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { netLimits } from '../../src/util/limits/net.ts';

export const testProtocol = '/meshnode/test/1';

/** Two nodes of stock libp2p, linked. */
export interface StockPair {
  readonly here: Libp2p;
  readonly there: Libp2p;
  readonly connection: Connection;
}

/** `windows`: 'stock' or those of the host. */
export async function stockPair(windows: 'stock' | 'host' = 'stock'): Promise<StockPair> {
  const [here, there] = await Promise.all([stockNode(windows), stockNode(windows)]);
  return { here, there, connection: await here.dial(there.getMultiaddrs()) };
}

export function stockNode(windows: 'stock' | 'host' = 'stock'): Promise<Libp2p> {
  const streamOptions = {
    maxStreamWindowSize: netLimits.windowBytes,
    maxReadBufferLength: netLimits.readBufferBytes,
  };
  return createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [windows === 'stock' ? yamux() : yamux({ streamOptions })],
  });
}

/** The serving end of the next stream to `node`, before anything is read of it. */
export function servedStream(node: Libp2p): Promise<Stream> {
  return new Promise((resolve) => {
    void node.handle(testProtocol, (stream) => resolve(stream));
  });
}

/** Resolves with the error of a stream's close, or undefined if it closed well. */
export function closeOf(stream: Stream): Promise<Error | undefined> {
  return new Promise((resolve) => {
    stream.addEventListener('close', (event) => resolve(event.error));
  });
}

/** Sends `bytes` in pieces, waiting for 'drain' whenever it is asked to; stops early if the stream closes. */
export async function sendAll(stream: Stream, bytes: number): Promise<void> {
  const piece = new Uint8Array(64 * 1024);
  for (let sent = 0; sent < bytes && stream.status === 'open'; sent += piece.length) {
    if (!stream.send(piece)) {
      await new Promise<void>((resolve) => {
        stream.addEventListener('drain', () => resolve(), { once: true });
        stream.addEventListener('close', () => resolve(), { once: true });
      });
    }
  }
}
