// How many spare streams are kept: what a burst teaches, and how it is forgotten.
import { describe, expect, it } from 'vitest';
import { SpareTarget } from '../../../src/net/spare-target.ts';
import { poolLimits } from '../../../src/util/limits/net.ts';

describe('the number of spares', () => {
  it('is none before the first use, and one as long as there is any', () => {
    const target = new SpareTarget(poolLimits);
    expect(target.at(0)).toBe(0);
    target.record(0);
    expect(target.at(poolLimits.forgetMs - 1)).toBe(1);
    expect(target.at(poolLimits.forgetMs)).toBe(0);
  });

  it('stays one for requests that follow one another, and grows with those at once up to its limit', () => {
    const target = new SpareTarget(poolLimits);
    let nowMs = 0;
    for (; nowMs < 20 * poolLimits.burstMs; nowMs += poolLimits.burstMs) {
      target.record(nowMs);
    }
    expect(target.at(nowMs)).toBe(1);
    for (let request = 0; request < 5; request++) {
      target.record(nowMs);
    }
    nowMs += poolLimits.burstMs;
    target.record(nowMs); // One more later does not undo what the burst taught.
    expect(target.at(nowMs)).toBe(5);
    for (let request = 0; request < 1_000; request++) {
      target.record(nowMs);
    }
    expect(target.at(nowMs)).toBe(poolLimits.spares);
    expect(target.at(nowMs + poolLimits.halfLifeMs)).toBe(poolLimits.spares / 2);
  });
});
