// Tokens per second over the time in which something was generated.
import { expect, test } from 'vitest';
import { Throughput } from '../../../src/engine/throughput.ts';

test('is 0 before the first answer has ended', () => {
  const throughput = new Throughput();
  throughput.begin(0);
  expect(throughput.tokensPerSecond).toBe(0);
  expect(throughput.running).toBe(1);
});

test('counts time only while answers run, and time that two share once', () => {
  const throughput = new Throughput();
  throughput.begin(0);
  throughput.begin(500);
  throughput.end(1_000, 10);
  throughput.end(2_000, 20);
  throughput.begin(50_000);
  throughput.end(51_000, 30);
  expect(throughput.tokensPerSecond).toBe(20);
  expect(throughput.running).toBe(0);
});

test('forgets what was long ago', () => {
  const throughput = new Throughput();
  throughput.begin(0);
  throughput.end(10_000, 1_000);
  for (let startMs = 10_000; startMs < 400_000; startMs += 10_000) {
    throughput.begin(startMs);
    throughput.end(startMs + 10_000, 100);
  }
  expect(throughput.tokensPerSecond).toBeCloseTo(10, 1);
});
