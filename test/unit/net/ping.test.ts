// Pings on a stream that the test answers.
import { describe, expect, it } from 'vitest';
import type { PeerStream } from '../../../src/net/network.ts';
import { echo, RepeatedPing, roundTripMs } from '../../../src/net/ping.ts';
import { protocols } from '../../../src/trust/gate.ts';
import { netLimits } from '../../../src/util/limits/net.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { memoryStreams } from '../../support/memory-stream.ts';
import { rejectionOf } from '../../support/thrown.ts';

function setUp() {
  const clock = new ManualClock();
  const [near, far] = memoryStreams(protocols.measure, 'near', 'far');
  return { clock, near, far, components: { clock, random: seededRandom(1) } };
}

describe('a ping', () => {
  it('is the time until its bytes are back', async () => {
    const { clock, near, far, components } = setUp();
    const ping = roundTripMs(near, components);
    await clock.advance(42);
    const answering = echo(far);
    expect(await ping).toBe(42);
    await near.end();
    await answering;
    expect(clock.pendingTimers).toBe(0);
  });

  it('takes an answer in pieces, and no other answer', async () => {
    const { near, far, components } = setUp();
    const ping = roundTripMs(near, components);
    const payload = (await far.read()) ?? new Uint8Array();
    await far.write(payload.subarray(0, 5));
    await far.write(payload.subarray(5));
    expect(await ping).toBe(0);

    const other = setUp();
    const wrong = rejectionOf(roundTripMs(other.near, other.components));
    await other.far.write(new Uint8Array(32));
    expect(await wrong).toMatchObject({ code: 'stream_broken' });
    expect(await rejectionOf(other.far.read())).toMatchObject({ code: 'stream_broken' });
  });

  it('is repeated on one stream, and on another when that has broken', async () => {
    const { clock, components } = setUp();
    const far: PeerStream[] = [];
    const ping = new RepeatedPing(async () => {
      const [near, other] = memoryStreams(protocols.measure, 'near', 'far');
      far.push(other);
      void echo(other).catch(() => {});
      return near;
    }, components);
    const { signal } = new AbortController();
    expect([await ping.next(signal), await ping.next(signal)]).toEqual([0, 0]);
    expect(far).toHaveLength(1);
    far[0]?.abort(new Error('gone'));
    expect(await rejectionOf(ping.next(signal))).toMatchObject({ code: 'stream_broken' });
    expect(await ping.next(signal)).toBe(0);
    expect(far).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
  });

  it('fails when nothing comes back, and leaves no timer', async () => {
    const { clock, near, far, components } = setUp();
    const ping = rejectionOf(roundTripMs(near, components));
    await clock.advance(netLimits.pingMs);
    expect(await ping).toMatchObject({ code: 'stream_broken' });
    expect(await rejectionOf(far.read())).toMatchObject({ code: 'stream_broken' });
    expect(clock.pendingTimers).toBe(0);
  });
});
