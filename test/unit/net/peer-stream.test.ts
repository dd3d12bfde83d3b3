// The one reader and writer over libp2p streams, over a real connection with the windows of the host.
import type { Stream } from '@libp2p/interface';
import { afterEach, describe, expect, it } from 'vitest';
import { MuxedStream } from '../../../src/net/peer-stream.ts';
import { sleep, systemClock } from '../../../src/util/clock.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { servedStream, stockPair, testProtocol } from '../../support/stock-libp2p.ts';
import { rejectionOf } from '../../support/thrown.ts';

interface Ends {
  readonly near: MuxedStream<string>;
  readonly far: MuxedStream<string>;
  readonly rawNear: Stream;
  readonly rawFar: Stream;
  /** Loses the connection without a word. */
  lose(): void;
}

describe('a stream of the host', () => {
  const closing: Array<() => unknown> = [];
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
  });

  const streams = async (): Promise<Ends> => {
    const { here, there, connection } = await stockPair('host');
    closing.push(
      () => here.stop(),
      () => there.stop(),
    );
    const serving = servedStream(there);
    const rawNear = await connection.newStream(testProtocol);
    const rawFar = await serving;
    return {
      near: new MuxedStream(rawNear, 'far', testProtocol),
      far: new MuxedStream(rawFar, 'near', testProtocol),
      rawNear,
      rawFar,
      lose: () => connection.abort(new Error('pulled the plug')),
    };
  };

  it('gives what arrived before the connection was lost, and then says that it is lost', async () => {
    const { near, far, rawFar, lose } = await streams();
    await near.write(Uint8Array.of(1, 2, 3));
    await until(() => rawFar.readBufferLength === 0 && rawFar.timeline.open > 0);
    await sleep(systemClock, 20);
    lose();
    await far.closed;
    expect(await far.read()).toEqual(Uint8Array.of(1, 2, 3));
    expect(await rejectionOf(far.read())).toMatchObject({ code: 'stream_broken' });
    expect(await rejectionOf(far.write(Uint8Array.of(1)))).toMatchObject({ code: 'stream_broken' });
    expect(await rejectionOf(far.end())).toMatchObject({ code: 'stream_broken' });
  });

  it('takes a reset for an error on both sides', async () => {
    const { near, far, rawNear } = await streams();
    const reading = rejectionOf(far.read());
    rawNear.abort(new Error('no end was said'));
    expect(await reading).toMatchObject({ code: 'stream_broken' });
    expect(await rejectionOf(near.read())).toMatchObject({ code: 'stream_broken' });
  });

  it('drops what was not read when it is aborted here', async () => {
    const { near, far, rawFar } = await streams();
    await near.write(new Uint8Array(100));
    await until(() => rawFar.readBufferLength === 0);
    await sleep(systemClock, 20);
    far.abort(new Error('not wanted'));
    expect(await rejectionOf(far.read())).toMatchObject({ code: 'stream_broken' });
    await Promise.all([near.closed, far.closed]);
  });

  it('reads to the end what was sent before it, with the reader late and slow', async () => {
    const { near, far } = await streams();
    const bytes = 3 * netLimits.unreadBytes;
    const writing = near.write(new Uint8Array(bytes)).then(() => near.end());
    await far.end();
    await sleep(systemClock, 50);
    let read = 0;
    for (let piece = await far.read(); piece !== undefined; piece = await far.read()) {
      read += piece.length;
    }
    await writing;
    expect(read).toBe(bytes);
    await Promise.all([near.closed, far.closed]);
  });

  it('holds back a writer of many tiny pieces too', async () => {
    const { near, rawFar } = await streams();
    let written = 0;
    const writing = (async () => {
      for (; written < 40_000; written++) {
        await near.write(Uint8Array.of(written));
        if (written % 64 === 0) {
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    })();
    await until(() => rawFar.readStatus === 'paused');
    // Each costs its bookkeeping beside its one byte; pieces of one packet arrive as one.
    expect(written).toBeLessThan(netLimits.unreadBytes);
    near.abort(new Error('enough'));
    await rejectionOf(writing.then(() => near.write(Uint8Array.of(1))));
  });

  it('queues no more than its bound behind a reader that stands still', async () => {
    const { near, rawNear } = await streams();
    const piece = new Uint8Array(64 * 1024);
    let done = false;
    const writing = rejectionOf(
      (async () => {
        for (let sent = 0; sent < 64 * 2 ** 20; sent += piece.length) {
          await near.write(piece);
          expect(rawNear.writeBufferLength).toBeLessThan(netLimits.unsentBytes);
        }
      })(),
    ).finally(() => {
      done = true;
    });
    await until(() => rawNear.writeBufferLength >= netLimits.unsentBytes);
    expect(rawNear.writeBufferLength).toBeLessThanOrEqual(netLimits.unsentBytes + piece.length);
    expect(done).toBe(false);
    near.abort(new Error('enough'));
    expect(await writing).toMatchObject({ code: 'stream_broken' });
  });

  it('stops a write by its signal', async () => {
    const { near } = await streams();
    const stop = new AbortController();
    const writing = near.write(new Uint8Array(8 * 2 ** 20), stop.signal);
    stop.abort(new Error('changed my mind'));
    await expect(writing).rejects.toThrow('changed my mind');
    await expect(near.read(AbortSignal.abort(new Error('at once')))).rejects.toThrow('at once');
    await expect(near.write(Uint8Array.of(1), AbortSignal.abort(new Error('at once')))).rejects.toThrow(
      'at once',
    );
  });

  it('has the same few listeners after a thousand reads and writes', async () => {
    const { near, far, rawNear, rawFar } = await streams();
    const count = (): number[] =>
      [rawNear, rawFar].flatMap((stream) =>
        ['message', 'drain', 'idle', 'close', 'remoteCloseWrite'].map((type) => stream.listenerCount(type)),
      );
    const before = count();
    for (let round = 0; round < 1_000; round++) {
      await near.write(Uint8Array.of(round));
      await far.read();
    }
    expect(count()).toEqual(before);
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500 && !condition(); tries++) {
    await sleep(systemClock, 10);
  }
  expect(condition()).toBe(true);
}
