// However a stream breaks, both sides see an error: for reads, and for writes. An end is what the peer said.
import { describe, expect, it } from 'vitest';
import { quicLimits } from '../../../../src/util/limits/net.ts';
import { connectQuicHosts, type QuicKind } from '../../../support/quic-host.ts';
import { closing, readToEnd, send } from '../../../support/stream-ends.ts';
import { startUdpRelay, type UdpRelay } from '../../../support/udp-relay.ts';

const piece = new Uint8Array(64 * 1024);

/** A stream whose sender, the listening host, has sent a piece and then aborts. */
async function readOfAbortedStream(kind: QuicKind) {
  const { openPair } = await connectQuicHosts(kind);
  const [reader, sender] = await openPair();
  const outcome = readToEnd(reader);
  const closed = closing(reader);
  await send(sender, piece);
  await new Promise((resolve) => reader.addEventListener('message', resolve, { once: true }));
  sender.abort(new Error('enough'));
  return { ...(await outcome), reader, closed };
}

describe('an abort', () => {
  it('by the sender is an error at the reader, who can no longer write either', async () => {
    const { ended, error, reader, closed } = await readOfAbortedStream('ours');
    expect(ended).toBe(false);
    expect(error?.name).toBe('StreamResetError');
    expect(await closed).toMatchObject({ local: false });
    expect(reader.status).toBe('reset');
    expect(() => reader.send(piece)).toThrow();
  });

  it('(by the sender is a clean end with the transport that we replace)', async () => {
    const { ended, error } = await readOfAbortedStream('stock');
    expect({ ended, error }).toEqual({ ended: true, error: undefined });
  });

  it('by the reader is an error at the sender in the middle of its writes', async () => {
    const { openPair } = await connectQuicHosts();
    const [sender, reader] = await openPair();
    const closed = closing(sender);
    reader.addEventListener('message', () => reader.abort(new Error('enough')), { once: true });
    const sending = (async () => {
      while (true) {
        await send(sender, piece);
      }
    })();
    await expect(sending).rejects.toThrow();
    expect((await closed).error?.name).toBe('StreamResetError');
    expect(sender.status).toBe('reset');
  });

  it('by a reader that had paused reaches a sender that waits for room', async () => {
    const { openPair } = await connectQuicHosts();
    const [sender, reader] = await openPair();
    reader.addEventListener('message', () => reader.pause(), { once: true });
    const closed = closing(sender);
    const sending = (async () => {
      while (true) {
        await send(sender, piece);
      }
    })();
    sending.catch(() => {});
    await new Promise((resolve) => reader.addEventListener('message', resolve, { once: true }));
    reader.abort(new Error('enough'));
    await expect(sending).rejects.toThrow();
    expect((await closed).error).toBeDefined();
  });

  it('by a sender that waits for room is an error at the reader once it reads on', async () => {
    const { openPair } = await connectQuicHosts();
    const [sender, reader] = await openPair();
    reader.pause();
    const outcome = readToEnd(reader);
    for (let sentBytes = 0; sentBytes < 2 * quicLimits.streamWindowBytes; sentBytes += piece.byteLength) {
      sender.send(piece);
    }
    sender.abort(new Error('enough'));
    reader.resume();
    const { ended, error, bytes } = await outcome;
    expect(ended).toBe(false);
    expect(error?.name).toBe('StreamResetError');
    expect(bytes.byteLength).toBeLessThan(2 * quicLimits.streamWindowBytes);
  });

  it('of an idle stream is an error on the other side, whichever side it comes from', async () => {
    const { openPair } = await connectQuicHosts();
    for (const side of ['dialler', 'listener']) {
      const [local, remote] = await openPair();
      const [aborting, hearing] = side === 'dialler' ? [local, remote] : [remote, local];
      const closed = closing(hearing);
      aborting.abort(new Error('enough'));
      expect((await closed).error?.name).toBe('StreamResetError');
    }
  });

  it('of a stream that its side had already ended reaches the other when that writes on', async () => {
    const { openPair } = await connectQuicHosts();
    const [local, remote] = await openPair();
    const end = readToEnd(remote);
    await local.close();
    expect(await end).toMatchObject({ ended: true });
    const closed = closing(remote);
    local.abort(new Error('enough'));
    const sending = (async () => {
      while (true) {
        await send(remote, piece);
      }
    })();
    await expect(sending).rejects.toThrow();
    expect((await closed).error?.name).toBe('StreamResetError');
  });

  it('leaves other streams of the connection alone', async () => {
    const { openPair } = await connectQuicHosts();
    const [[first], [second, secondRemote]] = [await openPair(), await openPair()];
    first.abort(new Error('enough'));
    const end = readToEnd(secondRemote);
    await send(second, piece);
    await second.close();
    expect(await end).toMatchObject({ ended: true, bytes: { byteLength: piece.byteLength } });
  });
});

describe('a lost connection', () => {
  it('is an error on every stream of both sides when one side aborts it', async () => {
    const { openPair, connection } = await connectQuicHosts();
    const [local, remote] = await openPair();
    const outcomes = Promise.all([readToEnd(local), readToEnd(remote)]);
    await send(local, piece);
    connection.abort(new Error('gone'));
    for (const { ended, error } of await outcomes) {
      expect(ended).toBe(false);
      expect(error).toBeDefined();
    }
  });

  it('is an error on a stream whose reader had paused', async () => {
    const { openPair, connection } = await connectQuicHosts();
    const [local, remote] = await openPair();
    remote.pause();
    const closed = closing(remote);
    await send(local, piece);
    connection.abort(new Error('gone'));
    expect((await closed).error?.name).toBe('StreamResetError');
  });

  it('is noticed within five seconds when the other side falls silent', async () => {
    let relay: UdpRelay | undefined;
    const { openPair, connection } = await connectQuicHosts('ours', {
      dialAt: async (port) => {
        relay = await startUdpRelay(port);
        return relay.port;
      },
    });
    const [local, remote] = await openPair();
    const [ends, connectionClosed] = [
      Promise.all([readToEnd(local), readToEnd(remote)]),
      new Promise<Event>((resolve) => connection.addEventListener('close', resolve)),
    ];
    const silentFrom = performance.now();
    if (relay !== undefined) {
      relay.pass = () => false;
    }
    for (const { ended, error } of await ends) {
      expect(ended).toBe(false);
      expect(error?.name).toBe('StreamResetError');
    }
    expect(performance.now() - silentFrom).toBeLessThan(5_000);
    expect(await connectionClosed).toMatchObject({ error: { code: 'stream_broken' } });
  });
});
