import { expect, it } from 'vitest';
import { isWorthReplanning } from '../../../src/placement/replan.ts';

const current = { tokensPerSecond: 10, plannedMs: 1000 };

it('a plan is made anew for a fifth more speed, but not soon after the last', () => {
  expect(isWorthReplanning(current, { tokensPerSecond: 12 }, 46_000)).toBe(true);
  expect(isWorthReplanning(current, { tokensPerSecond: 11.9 }, 46_000)).toBe(false);
  expect(isWorthReplanning(current, { tokensPerSecond: 100 }, 45_999)).toBe(false);
});

it('a plan is not made anew for a speed that is not known', () => {
  expect(isWorthReplanning(current, { tokensPerSecond: undefined }, 90_000)).toBe(false);
  const unknown = { ...current, tokensPerSecond: undefined };
  expect(isWorthReplanning(unknown, { tokensPerSecond: 100 }, 90_000)).toBe(false);
});
