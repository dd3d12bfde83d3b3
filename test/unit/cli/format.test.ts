import { expect, it } from 'vitest';
import { formatBar, formatDuration, formatShare } from '../../../src/cli/format.ts';

it.each([
  [0, '0 s'],
  [59.4, '59 s'],
  [61, '1 min'],
  [3600 + 5 * 60, '1 h 5 min'],
  [3 * 86_400 + 4 * 3600, '3 d 4 h'],
])('writes %d seconds as %s', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

it('never shows 100 % before the end', () => {
  expect(formatShare(0.999)).toBe('99 %');
  expect(formatShare(1)).toBe('100 %');
});

it('fills a bar within its width', () => {
  expect(formatBar(-1)).toBe('░'.repeat(20));
  expect(formatBar(0.5)).toBe('█'.repeat(10) + '░'.repeat(10));
  expect(formatBar(7)).toBe('█'.repeat(20));
});
