// The `peer` events: each change once, in order, with a figure if there is one.
import { describe, expect, it } from 'vitest';
import { PeerEvents } from '../../../src/node/peer-events.ts';
import type { PeerChange } from '../../../src/node/peer-watch.ts';

function setUp({ rttMs }: { rttMs?: number } = {}) {
  const told: object[] = [];
  const measured = Promise.withResolvers<number | undefined>();
  const events = new PeerEvents({
    rttMs: () => rttMs,
    measure: () => measured.promise,
    emit: (fact) => told.push(fact),
  });
  const tell = (state: PeerChange['state'], isUp = false): void =>
    events.tell({ peerId: 'p', name: 'bee', state, isUp });
  return { told, measured, tell };
}

const event = { event: 'peer', peerId: 'p', name: 'bee' };

describe('a change of a peer is told', () => {
  it('at once, with the figure that there is', () => {
    const { told, tell } = setUp({ rttMs: 1.23456 });
    tell('joined', true);
    tell('suspect');
    expect(told).toEqual([
      { ...event, state: 'joined', rttMs: 1.23 },
      { ...event, state: 'suspect', rttMs: 1.23 },
    ]);
  });

  it('once it is measured, if it can be', async () => {
    const { told, measured, tell } = setUp();
    tell('joined', true);
    expect(told).toEqual([]);
    measured.resolve(7);
    await measured.promise;
    expect(told).toEqual([{ ...event, state: 'joined', rttMs: 7 }]);
  });

  it('without a figure if something else becomes of it meanwhile, and not twice', async () => {
    const { told, measured, tell } = setUp();
    tell('joined', true);
    tell('suspect');
    tell('dead');
    measured.resolve(7);
    await measured.promise;
    expect(told).toEqual(['joined', 'suspect', 'dead'].map((state) => ({ ...event, state })));
  });
});
