// Which characters the escapes and classes of a regular expression stand for, and whether a JSON string holds them as
// they are. Pure.

export function isExpression(pattern: string): boolean {
  try {
    new RegExp(pattern, 'u');
    return true;
  } catch {
    return false;
  }
}

/** Escapes that mean the same to a regular expression and to llama.cpp, and a character that a string may hold. */
export function isSafeEscape(text: string): boolean {
  const hex = /^\\[xu](.+)$/u.exec(text)?.[1];
  return hex === undefined ? /^\\[\^$.[\](){}|*+?]$/u.test(text) : isPlain(Number.parseInt(hex, 16));
}

/** Whether a JSON string may hold it as it is, and llama.cpp takes it for a character. */
function isPlain(point: number): boolean {
  return point >= 0x20 && point !== 0x22 && point !== 0x5c && (point < 0xd8_00 || point > 0xdf_ff);
}

/** Every character of it, or what a negated one leaves, may stand in a JSON string as it is. */
export function isSafeClass(text: string): boolean {
  const body = text.slice(1, -1);
  const isNegated = body.startsWith('^');
  const inner = isNegated ? body.slice(1) : body;
  const escapes = inner.match(/\\(?:x[\da-fA-F]{2}|u[\da-fA-F]{4}|.)/gsu) ?? [];
  const areKnown = escapes.every((one) => /^\\(?:x..|u....|[tnr\\[\]-])$/su.test(one));
  if (inner === '' || !areKnown || !isExpression(text)) {
    return false;
  }
  const expression = new RegExp(text, 'u');
  return unplain.every((character) => !expression.test(character));
}

const unplain = ['"', '\\', ...Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code))];

/** Whether a set may hold a character that the other one is. */
export function holds(set: string, other: string | undefined): boolean {
  const character =
    other === undefined || other.startsWith('[') ? undefined : other.replace(/^\\(?=\W)/u, '');
  return (
    character === undefined ||
    /^\\\w/u.test(character) ||
    !isExpression(set) ||
    new RegExp(set, 'u').test(character)
  );
}
