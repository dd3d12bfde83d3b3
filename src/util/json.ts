// JSON as a type, and reading it from strangers without surprises.
import { MeshnodeError } from './errors.ts';

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/**
 * Parses JSON text from outside. Throws `invalid_json` if it is none or nests deeper than `maxDepth`:
 * what comes back is safe for recursive code.
 */
export function parseJson(text: string, maxDepth: number): JsonValue {
  if (nestsDeeperThan(text, maxDepth)) {
    throw new MeshnodeError('invalid_json', `The JSON nests deeper than ${maxDepth} levels.`);
  }
  try {
    return JSON.parse(text) as JsonValue;
  } catch (cause) {
    throw new MeshnodeError('invalid_json', 'The body is not valid JSON.', { cause });
  }
}

/** Whether a value is a JSON object (no array, no null). */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Counts brackets outside strings; wrong JSON may give any answer, the parser then refuses it. */
function nestsDeeperThan(text: string, maxDepth: number): boolean {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const char = text.charCodeAt(index);
    if (char === 0x22) {
      index = endOfString(text, index);
    } else if (char === 0x5b || char === 0x7b) {
      depth++;
      if (depth > maxDepth) {
        return true;
      }
    } else if (char === 0x5d || char === 0x7d) {
      depth--;
    }
  }
  return false;
}

/** Index of the quote that closes the string opened at `open`, or the text's end. */
function endOfString(text: string, open: number): number {
  let index = text.indexOf('"', open + 1);
  while (index !== -1) {
    let backslashes = 0;
    while (text.charCodeAt(index - 1 - backslashes) === 0x5c) {
      backslashes++;
    }
    if (backslashes % 2 === 0) {
      return index;
    }
    index = text.indexOf('"', index + 1);
  }
  return text.length;
}
