// How often a muxer gives back what it has read: with every frame if it comes from stock libp2p, by half windows here.
import type { Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { afterEach, describe, expect, it } from 'vitest';
import { protocols } from '../../../src/trust/gate.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import { servedStream, stockNode, stockPair, testProtocol } from '../../support/stock-libp2p.ts';
import { send } from '../../support/stream-ends.ts';
import { testHost } from '../../support/test-host.ts';

const { infer } = protocols;
const small = new Uint8Array(8);
const messages = 100;
/** Yamux's first window: INITIAL_STREAM_WINDOW. */
const windowBytes = 256 * 1024;

/** What a stream of yamux takes its peer's updates by. */
interface Updated extends Stream {
  handleWindowUpdate(frame: { readonly header: { readonly length: number } }): void;
}

describe('what a stream has read', () => {
  const stops: Array<() => unknown> = [];
  afterEach(async () => {
    await Promise.all(stops.splice(0).map((stop) => stop()));
  });

  /** A stream of a stock node to a host of ours, and what the host has read of it. */
  const toHost = async (): Promise<{ readonly stream: Stream; readonly readBytes: () => number }> => {
    const host = await testHost();
    stops.push(() => host.close());
    let readBytes = 0;
    host.handle(
      infer,
      async (stream) => {
        for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
          readBytes += bytes.length;
        }
      },
      { streamsPerPeer: 1 },
    );
    const sender = await stockNode();
    stops.push(() => sender.stop());
    const connection = await sender.dial(multiaddr(host.addresses()[0]));
    return { stream: await connection.newStream(infer), readBytes: () => readBytes };
  };

  it('is given back with every message by stock libp2p', async () => {
    const { here, there, connection } = await stockPair();
    stops.push(
      () => here.stop(),
      () => there.stop(),
    );
    const served = servedStream(there);
    const stream = await connection.newStream(testProtocol);
    const updates = updatesOf(stream);
    let arrived = 0;
    (await served).addEventListener('message', ({ data }) => {
      arrived += data.byteLength;
    });
    await sendOneByOne(stream, () => arrived);
    expect(updates.length).toBeGreaterThanOrEqual(messages - 1);
  });

  it('is not given back by the host while it is little', async () => {
    const { stream, readBytes } = await toHost();
    const updates = updatesOf(stream);
    await sendOneByOne(stream, readBytes);
    expect(updates).toEqual([]);
  });

  it('is given back by the host in halves of a window, so that the sender is never held up', async () => {
    const { stream, readBytes } = await toHost();
    const updates = updatesOf(stream);
    const message = new Uint8Array(32 * 1024);
    const count = 128;
    for (let sent = 0; sent < count; sent++) {
      await send(stream, message);
    }
    await until(() => readBytes() === count * message.length);
    expect(updates.length).toBeGreaterThan(0);
    expect(Math.min(...updates)).toBeGreaterThanOrEqual(windowBytes / 2);
  });
});

/** Bytes of each update that comes from now on. */
function updatesOf(stream: Stream): number[] {
  const updated = stream as Updated;
  const handle = updated.handleWindowUpdate.bind(updated);
  const updates: number[] = [];
  updated.handleWindowUpdate = (frame) => {
    updates.push(frame.header.length);
    handle(frame);
  };
  return updates;
}

/** Each message is read before the next one goes, so that no two of them share a frame. */
async function sendOneByOne(stream: Stream, readBytes: () => number): Promise<void> {
  for (let sent = 1; sent <= messages; sent++) {
    await send(stream, small);
    await until(() => readBytes() === sent * small.length);
  }
}

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2_000 && !condition(); tries++) {
    await sleep(systemClock, 1);
  }
  expect(condition()).toBe(true);
}
