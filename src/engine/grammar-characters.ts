// The characters that literals and classes of a GBNF grammar can begin with, as sets. Pure.

/** A set of characters: bit 0 to 127 for ASCII, bit 128 for every other. */
export type CharacterSet = bigint;

export const everyCharacter: CharacterSet = (1n << 129n) - 1n;

/** The bit of all characters that are not ASCII. */
const others = 128;

/** The code points of a literal or class, without its quotes. */
export function characters(body: string): number[] {
  return Array.from(body.matchAll(/\\x(..)|\\u(.{4})|\\U(.{8})|\\(.)|(.)/gsu), (match) => {
    const [, byte, short, long, escaped, plain] = match;
    const hex = byte ?? short ?? long;
    if (hex !== undefined) {
      return Number.parseInt(hex, 16) || 0;
    }
    const named = escaped === undefined ? undefined : escapes.get(escaped);
    return (named ?? escaped ?? plain ?? '').codePointAt(0) ?? 0;
  });
}

const escapes = new Map([
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

export function setOf(points: readonly number[]): CharacterSet {
  return points.reduce((set, point) => set | (1n << BigInt(Math.min(point, others))), 0n);
}

/** What a class holds. Others than ASCII are in every class that holds one of them or is negated. */
export function classSet(body: string): CharacterSet {
  const isNegated = body.startsWith('^');
  const points = characters(isNegated ? body.slice(1) : body);
  let set = 0n;
  for (let at = 0; at < points.length; at++) {
    const from = Math.min(points[at] ?? 0, others);
    const isRange = points[at + 1] === 0x2d && at + 2 < points.length;
    const to = isRange ? Math.min(points[at + 2] ?? 0, others) : from;
    for (let point = from; point <= to; point++) {
      set |= 1n << BigInt(point);
    }
    at += isRange ? 2 : 0;
  }
  return isNegated ? (everyCharacter & ~set) | (1n << BigInt(others)) : set;
}
