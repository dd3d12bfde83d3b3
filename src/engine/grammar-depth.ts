// How deeply the brackets of a GBNF grammar nest. llama.cpp parses grammars by recursion without a bound, so
// that a deep one overflows the stack of the model's process. Pure.
import { MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';

/** Throws `invalid_schema` for a grammar that nests deeper than engineLimits.grammarDepth. */
export function assertShallow(grammar: string): void {
  if (grammarDepth(grammar) > engineLimits.grammarDepth) {
    throw new MeshnodeError(
      'invalid_schema',
      `The grammar nests deeper than ${engineLimits.grammarDepth} levels.`,
      { param: 'grammar' },
    );
  }
}

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
