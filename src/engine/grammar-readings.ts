// How many readings of one text llama.cpp would have to follow at once: it keeps all that the next character does not
// rule out, and compares each with each. Reckoned with one character of foresight, so rather too many than too few.
// Pure.
import { isOneCircle, type RuleCircles, ruleCircles, staysOpen } from './grammar-circles.ts';
import type { Grammar, GrammarSymbol } from './grammar-rules.ts';
import { type CharacterSets, type NamedRule, settle, withFollowers } from './grammar-sets.ts';

/** Whether there may be more than `most` readings at once. */
export function hasManyReadings(grammar: Grammar, sets: CharacterSets, most: number): boolean {
  const circles = ruleCircles(grammar);
  const openPlaces = new Map<readonly GrammarSymbol[], number>();
  for (const [name, { alternatives }] of grammar.rules) {
    for (const sequence of alternatives) {
      openPlaces.set(sequence, placesOf(grammar, sets, name, sequence));
    }
  }
  const numbers = leastNumbers(grammar, most, (rule, of) =>
    readingsOf(rule, { sets, circles, openPlaces, of }),
  );
  return numbers === undefined;
}

/** The least numbers of all rules that agree with each other; undefined if one exceeds `most`, as in a circle. */
export function leastNumbers(
  grammar: Grammar,
  most: number,
  numberOf: (rule: NamedRule, of: (name: string) => number) => number,
): Map<string, number> | undefined {
  const numbers = new Map<string, number>();
  const of = (name: string): number => numbers.get(name) ?? 1;
  const isSettled = settle(grammar, (rule) => {
    const number = Math.min(numberOf(rule, of), most + 1);
    const changed = number !== of(rule[0]);
    numbers.set(rule[0], number);
    return changed;
  });
  return isSettled && [...numbers.values()].every((number) => number <= most) ? numbers : undefined;
}

interface ReadingOptions {
  readonly sets: CharacterSets;
  readonly circles: RuleCircles;
  readonly openPlaces: ReadonlyMap<readonly GrammarSymbol[], number>;
  readonly of: (name: string) => number;
}

/**
 * Alternatives that can begin with one character are all followed, each with all that is open within it. In a circle
 * of rules only those add up that lead round again: two of them double the readings each time, while the others end.
 */
function readingsOf([name, { alternatives, copies }]: NamedRule, options: ReadingOptions): number {
  const { sets, circles } = options;
  const leadsBack = ({ rule }: GrammarSymbol): boolean =>
    rule !== undefined && isOneCircle(circles, name, rule);
  const isCircle = alternatives.some((sequence) => sequence.some(leadsBack));
  const branches = alternatives.map((sequence) => ({
    // To take nothing is to go on with what comes after, which may lead round too.
    goesRound: isCircle && (sequence.length === 0 || sequence.some(leadsBack)),
    readings: sequenceReadings(name, sequence, options),
  }));
  let most = branches.reduce((largest, { readings }) => Math.max(largest, readings), 1);
  for (const group of sets.shared.get(name) ?? []) {
    const sums = { round: 0, ending: 0 };
    for (const index of group) {
      const branch = branches[index];
      sums[branch?.goesRound === true ? 'round' : 'ending'] += branch?.readings ?? 0;
    }
    // Of a counted repetition each number is a reading of its own.
    most = Math.max(most, sums.round, sums.ending, copies * (branches[0]?.readings ?? 1));
  }
  return most;
}

/** All places of a sequence where a text may be, with all that is open within them. What leads round counts once. */
function sequenceReadings(
  name: string,
  sequence: readonly GrammarSymbol[],
  { circles, openPlaces, of }: ReadingOptions,
): number {
  let round = 1;
  let within = 1;
  for (const [index, { rule }] of sequence.entries()) {
    const isLast = index === sequence.length - 1;
    if (rule === undefined || !staysOpen(circles, { from: name, to: rule, isLast })) {
      continue;
    }
    if (isOneCircle(circles, name, rule)) {
      round = Math.max(round, of(rule));
    } else {
      within = Math.max(within, of(rule));
    }
  }
  return Math.max(round, within * (1 + (openPlaces.get(sequence) ?? 0)));
}

/** Places of a sequence of which a text does not tell whether they are over: there the next may have begun, too. */
function placesOf(
  { rules }: Grammar,
  sets: CharacterSets,
  name: string,
  sequence: readonly GrammarSymbol[],
): number {
  let places = 0;
  for (const { rule, after } of withFollowers(sets, name, sequence)) {
    if (rule !== undefined && rule !== name) {
      const goesOn =
        (sets.longer.get(rule) ?? 0n) | (sets.empty.has(rule) ? (sets.first.get(rule) ?? 0n) : 0n);
      places += (goesOn & after) === 0n ? 0 : (rules.get(rule)?.copies ?? 1);
    }
  }
  // Each number of a repetition has these places anew.
  return places * (rules.get(name)?.copies ?? 1);
}
