// What a GBNF grammar would cost llama.cpp, which parses it by recursion and follows all its readings at once, without
// bounds of its own: a few lines can overflow its stack, fill its memory, or take it for hours. Pure.
import { MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';
import type { CharacterSet } from './grammar-characters.ts';
import { isOneCircle, type RuleCircles, ruleCircles, staysOpen } from './grammar-circles.ts';
import { type Grammar, type GrammarSymbol, readGrammar } from './grammar-rules.ts';

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
  const visits = settled(grammar, grammarLeftVisits, (rule, of) => leftVisits(rule, sets, of));
  if (visits === undefined) {
    throw refusedGrammar(
      `has rules that begin with each other in more than ${grammarLeftVisits} ways, or without end`,
    );
  }
  const total = [...grammar.rules].reduce(
    (sum, [name, rule]) =>
      sum + (visits.get(name) ?? 1) * rule.copies * (mayRepeatNothing(rule, sets) ? rule.copies : 1),
    0,
  );
  if (total > grammarLeftVisits) {
    throw refusedGrammar(`has rules that begin with each other in more than ${grammarLeftVisits} ways`);
  }
  const circles = ruleCircles(grammar);
  const groups = sharedBeginnings(grammar, sets);
  const readings = settled(grammar, grammarReadings, (rule, of) => readingsOf(rule, { groups, circles, of }));
  if (readings === undefined || openCounts(grammar, sets) > grammarReadings) {
    throw refusedGrammar(
      `leaves open for too long which alternative a text follows: more than ${grammarReadings} at once`,
    );
  }
}

function refusedGrammar(why: string): MeshnodeError {
  return new MeshnodeError('invalid_schema', `The grammar is refused: it ${why}.`, { param: 'grammar' });
}

type Rules = Grammar['rules'];
type NamedRule = readonly [name: string, rule: NonNullable<ReturnType<Rules['get']>>];

/** Of each rule: the characters it begins with, those that may come after it, and whether it may be empty. */
interface CharacterSets {
  readonly first: Map<string, CharacterSet>;
  readonly follow: Map<string, CharacterSet>;
  readonly empty: Set<string>;
}

function characterSets(grammar: Grammar): CharacterSets {
  const sets: CharacterSets = { first: new Map(), follow: new Map(), empty: new Set() };
  for (const grow of [growFirst, growFollow]) {
    const isSettled = settle(grammar, ([name, { alternatives }]) =>
      alternatives.reduce((changed, sequence) => grow(sets, name, sequence) || changed, false),
    );
    if (!isSettled) {
      throw refusedGrammar('has rules that lead through too many others');
    }
  }
  return sets;
}

/** Goes over all rules, from either end in turn, until none changes any more; whether it came to that. */
function settle({ rules }: Grammar, changes: (rule: NamedRule) => boolean): boolean {
  const forwards = [...rules];
  const backwards = forwards.toReversed();
  for (let passes = 0; passes < engineLimits.grammarPasses; passes++) {
    const order = passes % 2 === 0 ? backwards : forwards;
    if (!order.reduce((changed, rule) => changes(rule) || changed, false)) {
      return true;
    }
  }
  return false;
}

function growFirst(sets: CharacterSets, name: string, sequence: readonly GrammarSymbol[]): boolean {
  const { characters, empty } = beginning(sets, sequence);
  const wasEmpty = sets.empty.has(name);
  if (empty) {
    sets.empty.add(name);
  }
  return add(sets.first, name, characters) || (empty && !wasEmpty);
}

/** From the end, so that each symbol is looked at once. */
function growFollow(sets: CharacterSets, name: string, sequence: readonly GrammarSymbol[]): boolean {
  let after = sets.follow.get(name) ?? 0n;
  let changed = false;
  for (const { rule, first } of sequence.toReversed()) {
    if (rule === undefined) {
      after = first;
    } else {
      changed = add(sets.follow, rule, after) || changed;
      after = (sets.first.get(rule) ?? 0n) | (sets.empty.has(rule) ? after : 0n);
    }
  }
  return changed;
}

function add(sets: Map<string, CharacterSet>, name: string, characters: CharacterSet): boolean {
  const before = sets.get(name) ?? 0n;
  sets.set(name, before | characters);
  return (before | characters) !== before;
}

function beginning(
  sets: CharacterSets,
  sequence: readonly GrammarSymbol[],
): { characters: CharacterSet; empty: boolean } {
  let characters = 0n;
  for (const { rule, first } of sequence) {
    characters |= rule === undefined ? first : (sets.first.get(rule) ?? 0n);
    if (rule === undefined || !sets.empty.has(rule)) {
      return { characters, empty: false };
    }
  }
  return { characters, empty: true };
}

/** The least numbers of all rules that agree with each other; undefined if one exceeds `most`, as in a circle. */
function settled(
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

/**
 * How many readings of one text llama.cpp may have to keep within a rule. Alternatives that can begin with one
 * character are all followed, each with all that is open within it. In a circle of rules only those count that lead
 * round again: two of them double the readings each time, while the others end.
 */
function readingsOf(
  [name, { alternatives, copies }]: NamedRule,
  { groups, circles, of }: ReadingOptions,
): number {
  const branches = alternatives.map((sequence) => {
    const leadsBack = sequence.some(({ rule }) => rule !== undefined && isOneCircle(circles, name, rule));
    const open = sequence.map(({ rule }, index) => {
      const isLast = index === sequence.length - 1;
      return rule === undefined || !staysOpen(circles, { from: name, to: rule, isLast }) ? 1 : of(rule);
    });
    // To take nothing is to go on with what comes after, which may lead round too.
    return { goesOn: leadsBack || sequence.length === 0, readings: open.reduce((a, b) => Math.max(a, b), 1) };
  });
  const isCircle = branches.some(({ goesOn }, index) => goesOn && alternatives[index]?.length !== 0);
  let most = branches.reduce((largest, { readings }) => Math.max(largest, readings), 1);
  for (const group of groups.get(name) ?? []) {
    const sums = { round: 0, ending: 0 };
    for (const index of group) {
      const branch = branches[index];
      sums[isCircle && branch?.goesOn === true ? 'round' : 'ending'] += branch?.readings ?? 0;
    }
    // Of a counted repetition each number is a reading of its own.
    most = Math.max(most, sums.round, sums.ending, copies * (branches[0]?.readings ?? 1));
  }
  return most;
}

interface ReadingOptions {
  readonly groups: ReadonlyMap<string, readonly number[][]>;
  readonly circles: RuleCircles;
  readonly of: (name: string) => number;
}

/** Of each rule, the alternatives that can begin with one character, where there are several. */
function sharedBeginnings({ rules }: Grammar, sets: CharacterSets): Map<string, number[][]> {
  const groups = new Map<string, number[][]>();
  for (const [name, { alternatives }] of rules) {
    const begins = alternatives.map((sequence) => {
      const { characters, empty } = beginning(sets, sequence);
      return characters | (empty ? (sets.follow.get(name) ?? 0n) : 0n);
    });
    let seen = 0n;
    let shared = 0n;
    for (const one of begins) {
      shared |= seen & one;
      seen |= one;
    }
    const found = new Map<string, number[]>();
    for (let character = 0n; shared >> character !== 0n; character++) {
      if (((shared >> character) & 1n) === 1n) {
        const group = begins.flatMap((one, index) => (((one >> character) & 1n) === 1n ? [index] : []));
        found.set(group.join(), group);
      }
    }
    groups.set(name, [...found.values()]);
  }
  return groups;
}

/** Counts of all repetitions of which a text does not tell whether they go on: each number is a reading. */
function openCounts({ rules }: Grammar, sets: CharacterSets): number {
  let counts = 0;
  for (const [name, { copies }] of rules) {
    const follow = sets.follow.get(name) ?? 0n;
    const isOpen = copies > 1 && ((sets.first.get(name) ?? 0n) & follow) !== 0n;
    counts += isOpen ? copies : 0;
  }
  return counts;
}
