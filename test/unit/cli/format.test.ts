import { expect, it } from 'vitest';
import { cutText, formatBar, formatDuration, formatMs, formatShare } from '../../../src/cli/format.ts';

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

it.each([
  [0.1234, '0.12 ms'],
  [4.21, '4.2 ms'],
  [123.4, '123 ms'],
])('writes %d milliseconds as %s', (ms, text) => {
  expect(formatMs(ms)).toBe(text);
});

it('cuts a text to its width, and shows that it did', () => {
  expect(cutText('four', 4)).toBe('four');
  expect(cutText('fifth', 4)).toBe('fif…');
  expect(cutText('🦊🦊🦊', 2)).toBe('🦊…');
});
