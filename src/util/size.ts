// Sizes in bytes as people write and read them. Pure.
import { MeshnodeError } from './errors.ts';

const shownUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** Bytes of each unit, in lower case: `G` and `GiB` are 1024^3, `GB` is 1000^3. */
const unitBytes = new Map<string, number>([
  ['b', 1],
  ...['k', 'm', 'g', 't', 'p'].flatMap((letter, index): [string, number][] => [
    [letter, 1024 ** (index + 1)],
    [`${letter}ib`, 1024 ** (index + 1)],
    [`${letter}b`, 1000 ** (index + 1)],
  ]),
]);

/**
 * Bytes of a size such as `24GiB`, `8G`, `512MB`, `1.5 TiB` or `0`. Throws `usage` if it is none; a number
 * without unit is none either, for of `24` nobody can tell what was meant.
 */
export function parseSize(text: string): number {
  const [, number, unitName = ''] = /^(\d{1,15}(?:\.\d{1,9})?) ?([a-z]{0,3})$/i.exec(text.trim()) ?? [];
  const unit = Number(number) === 0 && unitName === '' ? 1 : unitBytes.get(unitName.toLowerCase());
  const bytes = Math.floor(Number(number) * (unit ?? Number.NaN));
  if (!Number.isSafeInteger(bytes)) {
    throw new MeshnodeError('usage', `"${text.slice(0, 64)}" is not a size.`, {
      hint: 'Write a number with a unit, e.g. 24GiB, 8G or 512MB, or 0.',
    });
  }
  return bytes;
}

/** A size for a person, in binary units with at most one decimal: `23.5 GiB`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // From here on it would be shown as 1024 of the smaller unit.
  while (value >= 1023.95 && unit < shownUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(unit === 0 ? 0 : 1))} ${shownUnits[unit]}`;
}
