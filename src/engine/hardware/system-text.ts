// Reading numbers and names out of texts of the system, which may be anything. Pure.
import { hardwareLimits } from '../../util/limits/engine.ts';

/** A whole number of bytes from decimal digits times `unitBytes`; undefined if it is none, or absurd. */
export function parseBytes(text: string | undefined, unitBytes = 1): number | undefined {
  const digits = text?.trim() ?? '';
  const bytes = /^\d{1,19}$/.test(digits) ? Number(digits) * unitBytes : undefined;
  return bytes !== undefined && bytes <= hardwareLimits.deviceBytes ? bytes : undefined;
}

/** A name of printable characters, bounded; undefined if nothing is left of it. */
export function parseName(text: string | undefined): string | undefined {
  const name = (text ?? '')
    .replace(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, hardwareLimits.nameLength);
  return name === '' ? undefined : name;
}
