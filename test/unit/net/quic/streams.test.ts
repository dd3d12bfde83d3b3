// What goes into one end of a stream comes out of the other, in every shape; and how many streams there may be.
import type { Stream } from '@libp2p/interface';
import { describe, expect, it } from 'vitest';
import { quicLimits } from '../../../../src/util/limits/net.ts';
import { seededRandom } from '../../../../src/util/random.ts';
import { connectQuicHosts, type QuicKind } from '../../../support/quic-host.ts';
import { closing, readToEnd, send, sendAll } from '../../../support/stream-ends.ts';

const MiB = 1024 * 1024;
const random = seededRandom(7);

describe('a round trip', () => {
  it('brings many small messages in order', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    const end = readToEnd(remote);
    const messages = Array.from({ length: 5_000 }, (_, index) => Buffer.from(`message ${index};`));
    for (const message of messages) {
      await send(local, message);
    }
    await local.close();
    const { bytes, ended } = await end;
    expect(ended).toBe(true);
    expect(Buffer.compare(bytes, Buffer.concat(messages))).toBe(0);
  });

  it('brings single bytes', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    const end = readToEnd(remote);
    const sent = random.bytes(4_096);
    await sendAll(local, sent, 1);
    await local.close();
    expect(Buffer.compare((await end).bytes, sent)).toBe(0);
  });

  it('brings 10 MiB each way at once', async () => {
    const pair = await (await connectQuicHosts()).openPair();
    const sent = [random.bytes(10 * MiB), random.bytes(10 * MiB)] as const;
    const ends = pair.map(readToEnd);
    const closed = pair.map(closing);
    await Promise.all(
      pair.map(async (stream, side) => {
        await sendAll(stream, sent[side === 0 ? 0 : 1]);
        await stream.close();
      }),
    );
    const [atLocal, atRemote] = await Promise.all(ends);
    expect(Buffer.compare(atRemote?.bytes ?? new Uint8Array(), sent[0])).toBe(0);
    expect(Buffer.compare(atLocal?.bytes ?? new Uint8Array(), sent[1])).toBe(0);
    expect((await Promise.all(closed)).map(({ error }) => error)).toEqual([undefined, undefined]);
    expect(pair.map(({ status }) => status)).toEqual(['closed', 'closed']);
  });

  it('brings one large message that was handed over at once', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    const end = readToEnd(remote);
    const sent = random.bytes(10 * MiB);
    expect(local.send(sent)).toBe(false);
    await local.close();
    expect(Buffer.compare((await end).bytes, sent)).toBe(0);
  });

  it('goes on one way after the other way has ended', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    const request = readToEnd(remote);
    const answer = readToEnd(local);
    await send(local, Buffer.from('question'));
    await local.close();
    expect(await request).toMatchObject({ bytes: Buffer.from('question'), ended: true });
    await sendAll(remote, Buffer.alloc(MiB, 'answer'));
    await remote.close();
    expect(await answer).toMatchObject({ bytes: Buffer.alloc(MiB, 'answer'), ended: true });
  });

  it('brings the end of a stream on which nothing was written', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    const end = readToEnd(remote);
    await local.close();
    expect(await end).toMatchObject({ bytes: Buffer.alloc(0), ended: true });
  });

  it('brings the end to a paused reader only after what came before it', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    remote.pause();
    const end = readToEnd(remote);
    await send(local, Buffer.from('last words'));
    await local.close();
    remote.resume();
    expect(await end).toMatchObject({ bytes: Buffer.from('last words'), ended: true });
  });

  it('brings what came before anybody listened', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    const sent = random.bytes(MiB);
    await sendAll(local, sent);
    await local.close();
    expect(Buffer.compare((await readToEnd(remote)).bytes, sent)).toBe(0);
  });
});

describe('a reader', () => {
  /** The largest piece of 4 MiB as the reader gets them. */
  async function largestPieceBytes(kind: QuicKind): Promise<number> {
    const [local, remote] = await (await connectQuicHosts(kind)).openPair();
    let largest = 0;
    remote.addEventListener('message', ({ data }) => {
      largest = Math.max(largest, data.byteLength);
    });
    const end = readToEnd(remote);
    await sendAll(local, random.bytes(4 * MiB));
    await local.close();
    await end;
    return largest;
  }

  it('gets large pieces of what comes fast', async () => {
    const largest = await largestPieceBytes('ours');
    expect(largest).toBeGreaterThan(16 * 1024);
    expect(largest).toBeLessThanOrEqual(quicLimits.readBytes);
  });

  it('(gets 4 KiB at most with the transport that we replace)', async () => {
    expect(await largestPieceBytes('stock')).toBe(4_096);
  });
});

describe('a writer', () => {
  it('is told to pause when more waits than may, and is called when it may go on', async () => {
    const [local, remote] = await (await connectQuicHosts()).openPair();
    remote.pause();
    const piece = random.bytes(16 * 1024);
    let sentBytes = 0;
    do {
      sentBytes += piece.byteLength;
    } while (local.send(piece));
    expect(sentBytes).toBeLessThanOrEqual(quicLimits.unsentBytes + quicLimits.writeBytes + piece.byteLength);
    await new Promise((resolve) => local.addEventListener('drain', resolve, { once: true }));
  });
});

describe('a connection that is closed in order', () => {
  /** Whether what was written just before the connection was closed arrives whole. */
  async function lastWords(kind: QuicKind) {
    const { openPair, connection } = await connectQuicHosts(kind);
    const [local, remote] = await openPair();
    const end = readToEnd(remote);
    await sendAll(local, random.bytes(8 * MiB));
    await local.close();
    await connection.close();
    const { bytes, ended } = await end;
    return { sizeBytes: bytes.byteLength, ended };
  }

  it('sends what was written before it goes', async () => {
    expect(await lastWords('ours')).toEqual({ sizeBytes: 8 * MiB, ended: true });
  });

  it('(loses it with the transport that we replace)', async () => {
    expect((await lastWords('stock')).sizeBytes).toBeLessThan(8 * MiB);
  });
});

describe('the streams of a connection', () => {
  it('are handled once each, a hundred side by side', async () => {
    const { dialler, listener } = await connectQuicHosts();
    const handled: Stream[] = [];
    await listener.handle(
      '/hundred/1',
      (stream) => {
        handled.push(stream);
        void readToEnd(stream).then(() => stream.close());
      },
      { maxInboundStreams: 200 },
    );
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const stream = await dialler.dialProtocol(listener.getMultiaddrs(), '/hundred/1', {
          maxOutboundStreams: 200,
        });
        const end = readToEnd(stream);
        await stream.close();
        await end;
      }),
    );
    expect(handled).toHaveLength(100);
    expect(new Set(handled).size).toBe(100);
  });

  it('are as many as the other side allows; the next waits, or gives up', async () => {
    const { openPair } = await connectQuicHosts('ours', { maxInboundStreams: 4 });
    const pairs = [];
    while (pairs.length < 4) {
      pairs.push(await openPair());
    }
    await expect(openPair({ signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ name: 'AbortError' });
    const waiting = openPair();
    pairs[0]?.[0].abort(new Error('make room'));
    const [local, remote] = await waiting;
    const end = readToEnd(remote);
    await local.close();
    expect(await end).toMatchObject({ ended: true });
  });

  it('leave nothing behind when both sides have ended', async () => {
    const { connection, openPair } = await connectQuicHosts();
    for (let round = 0; round < 20; round++) {
      const pair = await openPair();
      const closed = pair.map(closing);
      await Promise.all(pair.map((stream) => stream.close()));
      await Promise.all(closed);
    }
    expect(connection.streams.filter(({ protocol }) => protocol === '/test/1')).toEqual([]);
  });
});
