// Durations as people write them: `30m`, `24h`, `7d`. Pure.
import { MeshnodeError } from '../util/errors.ts';

const unitMs = new Map([
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Milliseconds. Throws `usage`, naming `option`, if the text is no duration. */
export function parseDuration(text: string, option: string): number {
  const [, count, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const factor = unitMs.get(unit);
  if (factor === undefined || Number(count) === 0) {
    throw new MeshnodeError('usage', `${option} takes a duration, not '${text.slice(0, 64)}'.`, {
      hint: 'Write a number with s, m, h or d: 30m, 24h, 7d.',
    });
  }
  return Number(count) * factor;
}
