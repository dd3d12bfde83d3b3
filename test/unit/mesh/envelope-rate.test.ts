import { expect, it } from 'vitest';
import { EnvelopeRate } from '../../../src/mesh/envelope-rate.ts';

it('lets a peer pass on so many at once and so many a second, each peer by itself', () => {
  const rate = new EnvelopeRate(10, 2);
  const taken = (peer: string, nowMs: number): number => {
    let count = 0;
    while (rate.take(peer, nowMs)) {
      count++;
    }
    return count;
  };
  expect(taken('a', 0)).toBe(10);
  expect(taken('b', 0)).toBe(10);
  expect(taken('a', 1_000)).toBe(2);
  expect(taken('a', 3_000)).toBe(4);
  expect(taken('a', 3_600_000)).toBe(10);
});
