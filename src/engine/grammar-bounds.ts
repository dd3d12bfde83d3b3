// What a GBNF grammar would cost llama.cpp, which parses it by recursion and follows all its readings at once, without
// bounds of its own: a few lines can overflow its stack, fill its memory, or take it for hours. Pure.
import { MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';
import { hasManyReadings, leastNumbers } from './grammar-readings.ts';
import { type Grammar, readGrammar } from './grammar-rules.ts';
import { type CharacterSets, characterSets, type NamedRule } from './grammar-sets.ts';

/** Throws `invalid_schema` that names the bound which the grammar exceeds. */
export function assertBearableGrammar(text: string): void {
  const grammar = readGrammar(text);
  const { grammarDepth, grammarElements, grammarRules, grammarReadings, grammarLeftVisits } = engineLimits;
  if (grammar.depth > grammarDepth) {
    throw refusedGrammar(`nests deeper than ${grammarDepth} levels`);
  }
  if (grammar.elements > grammarElements) {
    throw refusedGrammar(`with its repetitions written out has more than ${grammarElements} elements`);
  }
  if (grammar.rules.size > grammarRules) {
    throw refusedGrammar(`has more than ${grammarRules} rules and brackets`);
  }
  const sets = characterSets(grammar);
  if (sets === undefined) {
    throw refusedGrammar('has rules that lead through too many others');
  }
  if (allLeftVisits(grammar, sets) > grammarLeftVisits) {
    throw refusedGrammar(
      `has rules that begin with each other in more than ${grammarLeftVisits} ways, or without end`,
    );
  }
  if (hasManyReadings(grammar, sets, grammarReadings)) {
    throw refusedGrammar(
      `leaves open for too long which alternative a text follows: more than ${grammarReadings} at once`,
    );
  }
}

function refusedGrammar(why: string): MeshnodeError {
  return new MeshnodeError('invalid_schema', `The grammar is refused: it ${why}.`, { param: 'grammar' });
}

/** Steps of llama.cpp's search for left recursion, which begins anew at each rule. */
function allLeftVisits(grammar: Grammar, sets: CharacterSets): number {
  const visits = leastNumbers(grammar, engineLimits.grammarLeftVisits, (rule, of) =>
    leftVisits(rule, sets, of),
  );
  let total = visits === undefined ? Number.POSITIVE_INFINITY : 0;
  for (const [name, rule] of visits === undefined ? [] : grammar.rules) {
    const { copies } = rule;
    total += (visits?.get(name) ?? 1) * copies * (mayRepeatNothing(rule, sets) ? copies : 1);
  }
  return total;
}

/** llama.cpp's search for left recursion walks into every rule that another begins with, again each time. */
function leftVisits(
  [name, { alternatives, copies }]: NamedRule,
  sets: CharacterSets,
  of: (name: string) => number,
): number {
  let visits = 1;
  for (const sequence of alternatives) {
    for (const { rule } of sequence) {
      // A rule for each number of a repetition leads to the next, and not to itself.
      visits += rule === undefined || (rule === name && copies > 1) ? 0 : of(rule);
      if (rule === undefined || !sets.empty.has(rule)) {
        break;
      }
    }
  }
  return visits;
}

/** Whether each number of a repetition leads at once to the next. */
function mayRepeatNothing({ alternatives }: NamedRule[1], { empty }: CharacterSets): boolean {
  const item = alternatives[0]?.[0]?.rule;
  return item !== undefined && empty.has(item);
}
