import { expect, test } from 'vitest';
import { RateMeter } from '../../../src/models/transfer-rate.ts';

test('speed is known from the second sample on, the remaining time only after five seconds', () => {
  const meter = new RateMeter();
  meter.add(0, 0);
  expect(meter.rate(100_000)).toEqual({});
  meter.add(1000, 1000);
  expect(meter.rate(100_000)).toEqual({ bytesPerSecond: 1000 });
  meter.add(4999, 4999);
  expect(meter.rate(100_000).etaSeconds).toBeUndefined();
  meter.add(5000, 5000);
  expect(meter.rate(100_000)).toEqual({ bytesPerSecond: 1000, etaSeconds: 95 });
});

test('speed is that of the last seconds, not of the whole time', () => {
  const meter = new RateMeter();
  for (let second = 0; second <= 60; second++) {
    meter.add(second * 1000, second < 40 ? second * 10_000 : 400_000 + (second - 40) * 100);
  }
  expect(meter.rate(1e9).bytesPerSecond).toBeCloseTo(100, 0);
});

test('a standstill has no remaining time, and a fresh start forgets what was before', () => {
  const meter = new RateMeter();
  for (const second of [0, 5, 10, 15, 20, 25]) {
    meter.add(second * 1000, 500);
  }
  expect(meter.rate(1000)).toEqual({ bytesPerSecond: 0 });
  meter.add(26_000, 0);
  expect(meter.rate(1000)).toEqual({});
});
