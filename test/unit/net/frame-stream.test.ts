// Messages over a stream: whole, bounded, in time.
import { describe, expect, it } from 'vitest';
import { FrameStream } from '../../../src/net/frame-stream.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { encodeDelimited } from '../../../src/wire/framing.ts';
import { meshnode } from '../../../src/wire/generated/mesh.js';
import { ManualClock } from '../../support/manual-clock.ts';
import { memoryStreams } from '../../support/memory-stream.ts';
import { rejectionOf } from '../../support/thrown.ts';

const { Refused } = meshnode.mesh.v1;
const options = { messageBytes: 1_000, messageMs: 5_000 };

function setUp() {
  const clock = new ManualClock();
  const [near, far] = memoryStreams(protocols.join, 'near', 'far');
  const here = new FrameStream(near, options, clock);
  const there = new FrameStream(far, options, clock);
  return { clock, near, far, here, there };
}

describe('a stream of messages', () => {
  it('carries messages whole and in order, then the end', async () => {
    const { here, there, clock } = setUp();
    const texts = ['one', '', 'x'.repeat(900), 'four'];
    for (const message of texts) {
      await here.writeMessage(Refused, { message });
    }
    await here.end();
    for (const message of texts) {
      expect(await there.readMessage(Refused)).toMatchObject({ message });
    }
    expect(await there.readMessage(Refused)).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });

  it('puts together what arrives in pieces', async () => {
    const { near, there } = setUp();
    const bytes = encodeDelimited(Refused, { message: 'in pieces' }, 100) ?? new Uint8Array();
    const reading = there.readMessage(Refused);
    for (const byte of bytes) {
      await near.write(Uint8Array.of(byte));
    }
    expect(await reading).toMatchObject({ message: 'in pieces' });
  });

  it('refuses to write a message longer than its cap', async () => {
    const { here } = setUp();
    const error = await rejectionOf(here.writeMessage(Refused, { message: 'x'.repeat(1_001) }));
    expect(error).toMatchObject({ code: 'frame_invalid' });
  });

  it.each([
    ['a length above the cap', Uint8Array.of(0xe9, 0x07)],
    ['a length that never ends', new Uint8Array(10).fill(0xff)],
    ['bytes that are no protobuf', Uint8Array.of(2, 0x0a, 0x7f)],
  ])('takes %s for a broken protocol and gives the stream up', async (_, garbage) => {
    const { near, there } = setUp();
    await near.write(garbage);
    expect(await rejectionOf(there.readMessage(Refused))).toMatchObject({ code: 'frame_invalid' });
    expect(await rejectionOf(near.read())).toMatchObject({ code: 'stream_broken' });
  });

  it('takes an end within a message for a broken protocol', async () => {
    const { near, there } = setUp();
    await near.write(Uint8Array.of(9, 1));
    await near.end();
    expect(await rejectionOf(there.readMessage(Refused))).toMatchObject({ code: 'frame_invalid' });
  });

  it('waits so long for a message and no longer', async () => {
    const { clock, near, there } = setUp();
    const reading = rejectionOf(there.readMessage(Refused));
    await near.write(Uint8Array.of(200));
    await clock.advance(options.messageMs - 1);
    await near.write(Uint8Array.of(1));
    await clock.advance(1);
    expect(await reading).toMatchObject({
      code: 'stream_broken',
      message: 'No message came within 5000 ms.',
    });
    expect(await rejectionOf(near.read())).toMatchObject({ code: 'stream_broken' });
  });

  it('waits so long for a message to be taken', async () => {
    const { clock, near, here } = setUp();
    const filling = rejectionOf(near.write(new Uint8Array(2 ** 20)));
    const writing = rejectionOf(here.writeMessage(Refused, { message: 'too late' }));
    await clock.advance(options.messageMs);
    expect(await writing).toMatchObject({ code: 'stream_broken' });
    await filling;
  });

  it('waits for as long as a caller wants, until its signal', async () => {
    const { clock, here, there } = setUp();
    const stop = new AbortController();
    const reading = there.readMessage(Refused, { signal: stop.signal, timeoutMs: Number.POSITIVE_INFINITY });
    await clock.advance(10 * options.messageMs);
    await here.writeMessage(Refused, { message: 'at last' });
    expect(await reading).toMatchObject({ message: 'at last' });
    const next = rejectionOf(there.readMessage(Refused, { signal: stop.signal }));
    stop.abort(new MeshnodeError('cancelled', 'enough'));
    expect(await next).toMatchObject({ code: 'cancelled' });
    await here.writeMessage(Refused, { message: 'the stream goes on' });
    expect(await there.readMessage(Refused)).toMatchObject({ message: 'the stream goes on' });
    expect(clock.pendingTimers).toBe(0);
  });
});
