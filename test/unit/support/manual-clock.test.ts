import { expect, test } from 'vitest';
import { sleep } from '../../../src/util/clock.ts';
import { ManualClock } from '../../support/manual-clock.ts';

test('timers fire in the order of their time, each after what the one before set off', async () => {
  const clock = new ManualClock();
  const order: string[] = [];
  clock.after(20, () => order.push(`second at ${clock.monotonicMs()}`));
  void sleep(clock, 10).then(async () => {
    order.push(`first at ${clock.monotonicMs()}`);
    await sleep(clock, 5);
    order.push(`nested at ${clock.monotonicMs()}`);
  });
  clock.after(31, () => order.push('too late'));
  await clock.advance(30);
  expect(order).toEqual(['first at 10', 'nested at 15', 'second at 20']);
  expect([clock.monotonicMs(), clock.nextTimerMs, clock.pendingTimers]).toEqual([30, 1, 1]);
});

test('a cancelled timer never fires', async () => {
  const clock = new ManualClock();
  clock.after(1, () => expect.unreachable()).cancel();
  await clock.advance(10);
  expect(clock.nextTimerMs).toBeUndefined();
});
