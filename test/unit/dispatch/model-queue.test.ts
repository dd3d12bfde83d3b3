// The queue before one model: turns as promises, what is told of its load, and when refused callers may come back.
import { describe, expect, it } from 'vitest';
import { ModelQueue, type Place } from '../../../src/dispatch/model-queue.ts';
import { apiLimits } from '../../../src/util/limits/api.ts';
import { peerLimits, queueLimits } from '../../../src/util/limits/dispatch.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { rejectionOf } from '../../support/thrown.ts';

type Entry = Parameters<ModelQueue['enter']>[0];

class QueueUnderTest {
  readonly clock = new ManualClock();
  readonly queue: ModelQueue;
  /** Names of those that were let in, in order. */
  readonly turns: string[] = [];

  constructor(slots: number) {
    this.queue = new ModelQueue('demo', slots, () => this.clock.monotonicMs());
  }

  enter(name: string, fields: Partial<Entry> = {}): Place {
    const place = this.queue.enter({ priority: 'interactive', slots: 1, ...fields });
    place.turn.then(
      () => this.turns.push(name),
      () => {},
    );
    return place;
  }

  enterMany(count: number, fields: Partial<Entry> = {}): Place[] {
    return Array.from({ length: count }, (_, index) => this.enter(`many ${index}`, fields));
  }
}

describe('a place in the queue', () => {
  it('has its turn at once while there is a slot, and else when one is given back', async () => {
    const test = new QueueUnderTest(1);
    const { clock, queue, turns } = test;
    const first = test.enter('first');
    const second = test.enter('second');
    await clock.settle();
    expect([first.waits, second.waits, turns]).toEqual([false, true, ['first']]);
    first.leave();
    first.leave();
    await clock.settle();
    expect(turns).toEqual(['first', 'second']);
    expect(queue.figures()).toMatchObject({ running: 1, waiting: 0 });
  });

  it('goes to the owner before a peer, and to peers in turn', async () => {
    const test = new QueueUnderTest(1);
    const { clock, turns } = test;
    const places = new Map([['running', test.enter('running')]]);
    for (const [name, caller] of [['a1', 'a'], ['a2', 'a'], ['b1', 'b'], ['local']] as const) {
      places.set(name, test.enter(name, { caller }));
    }
    for (const name of ['running', 'local', 'a1', 'b1']) {
      await clock.settle();
      expect(turns.at(-1)).toBe(name);
      places.get(name)?.leave();
    }
    await clock.settle();
    expect(turns).toEqual(['running', 'local', 'a1', 'b1', 'a2']);
  });

  it('is not had by who left before', async () => {
    const test = new QueueUnderTest(1);
    const { queue } = test;
    const running = test.enter('running');
    const waiting = test.enter('waiting', { caller: 'a' });
    waiting.leave();
    expect((await rejectionOf(waiting.turn)).code).toBe('cancelled');
    running.leave();
    expect(queue.figures()).toMatchObject({ running: 0, waiting: 0 });
  });
});

describe('the figures of a queue', () => {
  it('count requests that run, the slots they hold, and who waits', () => {
    const test = new QueueUnderTest(4);
    const { queue } = test;
    expect(queue.figures()).toEqual({ slots: 4, running: 0, busySlots: 0, waiting: 0 });
    const wide = test.enter('wide', { slots: 2, caller: 'a' });
    test.enter('narrow');
    expect(queue.figures()).toEqual({ slots: 4, running: 2, busySlots: 3, waiting: 0 });
    test.enter('batch', { slots: 3, priority: 'batch', caller: 'b' });
    test.enter('passes it', { caller: 'c' });
    expect(queue.figures()).toEqual({ slots: 4, running: 3, busySlots: 4, waiting: 1 });
    wide.leave();
    expect(queue.figures()).toMatchObject({ running: 2, busySlots: 2, waiting: 1 });
    queue.setSlots(8);
    expect(queue.figures()).toEqual({ slots: 8, running: 3, busySlots: 5, waiting: 0 });
  });
});

describe('a slot that is kept for the owner', () => {
  const running = (queue: ModelQueue): number => queue.figures().busySlots;

  it('is lent to peers while the owner has asked nothing, and kept from his first request on', async () => {
    const test = new QueueUnderTest(4);
    const lent = test.enterMany(5, { caller: 'a' });
    expect(running(test.queue)).toBe(4);
    const owner = test.enter('owner');
    expect(owner.waits).toBe(true);
    lent[0]?.leave();
    await test.clock.settle();
    expect(test.turns.at(-1)).toBe('owner');
    owner.leave();
    expect(running(test.queue)).toBe(3);
  });

  it('is lent again once he has been away for long', async () => {
    const test = new QueueUnderTest(4);
    test.enter('owner').leave();
    test.enterMany(4, { caller: 'a' });
    expect(running(test.queue)).toBe(3);
    await test.clock.advance(peerLimits.ownerAwayMs + 1);
    test.enter('late', { caller: 'b' });
    expect(running(test.queue)).toBe(4);
  });
});

describe('a refusal', () => {
  it.each([
    ['of the owner', {}, queueLimits.waiting, '256 requests are waiting for demo already.'],
    [
      'of one peer',
      { caller: 'a' },
      peerLimits.queuedPerPeer,
      `${peerLimits.queuedPerPeer} requests of the same node are waiting for demo already.`,
    ],
  ])('says how many wait: %s', async (_, fields, places, message) => {
    const test = new QueueUnderTest(1);
    test.enter('running');
    const waiting = test.enterMany(places, fields);
    expect(waiting.every((place) => place.waits)).toBe(true);
    const late = test.enter('late', fields);
    expect(late.waits).toBe(false);
    expect(await rejectionOf(late.turn)).toMatchObject({
      code: 'queue_full',
      message,
      details: { retryAfterSeconds: 5 },
    });
    expect(test.queue.figures()).toMatchObject({ running: 1, waiting: places });
  });

  it('reaches the peer with the most places when another one needs one', async () => {
    const test = new QueueUnderTest(1);
    test.enter('running');
    const full = peerLimits.queued / peerLimits.queuedPerPeer;
    const greedy = Array.from({ length: full }, (_, peer) =>
      test.enterMany(peerLimits.queuedPerPeer, { caller: `greedy ${peer}` }),
    );
    const modest = test.enter('modest', { caller: 'modest' });
    expect(modest.waits).toBe(true);
    const last = greedy[0]?.at(-1);
    expect(await rejectionOf(last?.turn ?? Promise.resolve())).toMatchObject({
      code: 'queue_full',
      message: `${peerLimits.queued} requests of other nodes are waiting for demo already.`,
    });
    // Whoever was refused has left; to say so once more changes nothing.
    last?.leave();
    expect(test.queue.figures()).toMatchObject({ running: 1, waiting: peerLimits.queued });
  });

  it('names a later time the longer answers take, within bounds', async () => {
    const test = new QueueUnderTest(2);
    const retryAfter = async (): Promise<number | undefined> => {
      const waiting = test.enterMany(queueLimits.waiting + 2);
      const refused = await rejectionOf(test.enter('late').turn);
      for (const place of waiting) {
        place.leave();
      }
      return refused.details.retryAfterSeconds;
    };
    const answer = async (ms: number): Promise<void> => {
      const place = test.enter('answer');
      await test.clock.advance(ms);
      place.leave();
    };
    const first = (await retryAfter()) ?? 0;
    await answer(100_000);
    const later = (await retryAfter()) ?? 0;
    expect(later).toBeGreaterThan(first);
    for (let count = 0; count < 50; count++) {
      await answer(1_000_000);
    }
    expect(await retryAfter()).toBe(apiLimits.retryAfterSeconds);
    for (let count = 0; count < 100; count++) {
      await answer(1);
    }
    expect(await retryAfter()).toBe(1);
  });
});
