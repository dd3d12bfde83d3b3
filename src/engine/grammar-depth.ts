// How deeply the brackets of a GBNF grammar nest. llama.cpp parses grammars by recursion without a bound, so
// that a deep one overflows the stack of the model's process. Pure.

/** The deepest nesting of `(` outside literals, character classes and comments. */
export function grammarDepth(grammar: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of grammar.matchAll(tokens)) {
    if (token === '(') {
      depth++;
      deepest = Math.max(deepest, depth);
    } else if (token === ')') {
      depth--;
    }
  }
  return deepest;
}

/** A literal, a character class, a comment, or a bracket. What is never closed goes to the end. */
const tokens = /"(?:[^"\\]|\\.)*(?:"|$)|\[(?:[^\]\\]|\\.)*(?:\]|$)|#[^\n]*|[()]/gs;
