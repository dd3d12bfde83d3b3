// How a served stream ends with its handler, and how many a peer may have.
import { describe, expect, it } from 'vitest';
import type { PeerStream } from '../../../src/net/network.ts';
import { ServedProtocols } from '../../../src/net/served-protocols.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { silentLogger } from '../../../src/util/logging.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { type MemoryStream, memoryStreams } from '../../support/memory-stream.ts';
import { rejectionOf } from '../../support/thrown.ts';

function setUp(handler: (stream: PeerStream) => Promise<void>, streamsPerPeer = 2) {
  const clock = new ManualClock();
  const serve = new ServedProtocols(clock, silentLogger).add(protocols.infer, handler, streamsPerPeer);
  /** The other end of a stream that is served, and whether it was. */
  const open = (opener = 'opener'): [MemoryStream, boolean] => {
    const [far, near] = memoryStreams(protocols.infer, opener, 'server');
    return [far, serve(near)];
  };
  return { clock, open };
}

describe('a served stream', () => {
  it('ends with its handler, and is over when the other side has ended as well', async () => {
    const { clock, open } = setUp(async (stream) => stream.write(Uint8Array.of(1)));
    const [far] = open();
    expect(await far.read()).toEqual(Uint8Array.of(1));
    expect(await far.read()).toBeUndefined();
    await far.end();
    await far.closed;
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
  });

  it('drops what still comes after the handler is done', async () => {
    const { open } = setUp(async () => {});
    const [far] = open();
    for (let pieces = 0; pieces < 8; pieces++) {
      await far.write(new Uint8Array(netLimits.unreadBytes));
    }
    await far.end();
    expect(await far.read()).toBeUndefined();
    await far.closed;
  });

  it('is given up if the other side does not end it in time', async () => {
    const { clock, open } = setUp(async () => {});
    const [far] = open();
    expect(await far.read()).toBeUndefined();
    await clock.advance(netLimits.lingerMs);
    expect(await rejectionOf(far.write(Uint8Array.of(1)))).toMatchObject({ code: 'stream_broken' });
    await far.closed;
  });

  it('is aborted if its handler fails', async () => {
    const { open } = setUp(async () => {
      throw new Error('handler failed');
    });
    const [far] = open();
    expect(await rejectionOf(far.read())).toMatchObject({ code: 'stream_broken' });
  });

  it('counts for its peer until it is closed, and for no other', async () => {
    const { clock, open } = setUp((stream) => stream.read().then(() => {}));
    const [first] = open();
    open();
    const [third, served] = open();
    expect(served).toBe(false);
    expect(await rejectionOf(third.read())).toMatchObject({ code: 'stream_broken' });
    expect(open('another')[1]).toBe(true);
    await first.end();
    await clock.settle();
    expect(open()[1]).toBe(true);
    expect(open()[1]).toBe(false);
  });
});
