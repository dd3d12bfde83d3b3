// Which characters the rules of a grammar can begin with, go on with and be followed by: what tells alternatives
// apart. Pure.
import { engineLimits } from '../util/limits/engine.ts';
import { type CharacterSet, everyCharacter } from './grammar-characters.ts';
import type { Grammar, GrammarRule, GrammarSymbol } from './grammar-rules.ts';

export type NamedRule = readonly [name: string, rule: GrammarRule];

export interface CharacterSets {
  /** Characters that a rule begins with. */
  readonly first: Map<string, CharacterSet>;
  /** Characters that may come after it. */
  readonly follow: Map<string, CharacterSet>;
  /** Characters by which it may go on where it could end. */
  readonly longer: Map<string, CharacterSet>;
  /** Rules that may be empty. */
  readonly empty: Set<string>;
  /** How many characters a rule is, where all its alternatives have one length. */
  readonly lengths: Map<string, number>;
  /** Of each rule, the alternatives that can begin with one character, where there are several. */
  readonly shared: Map<string, readonly number[][]>;
}

/** Undefined for a grammar whose rules lead through too many others. */
export function characterSets(grammar: Grammar): CharacterSets | undefined {
  const sets: CharacterSets = {
    first: new Map(),
    follow: new Map(),
    longer: new Map(),
    empty: new Set(),
    lengths: new Map(),
    shared: new Map(),
  };
  const spread = (grow: Grow): boolean =>
    settle(grammar, ([name, { alternatives }]) =>
      alternatives.reduce((changed, sequence) => grow(sets, name, sequence) || changed, false),
    );
  const findLengths = (): boolean => settle(grammar, (rule) => findLength(sets, rule));
  if (!spread(growFirst) || !spread(growFollow) || !findLengths()) {
    return undefined;
  }
  for (const rule of grammar.rules) {
    sets.shared.set(rule[0], sharedBeginnings(rule, sets));
  }
  return spread(growLonger) ? sets : undefined;
}

/** Goes over all rules, from either end in turn, until none changes any more; whether it came to that. */
export function settle({ rules }: Grammar, changes: (rule: NamedRule) => boolean): boolean {
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

type Grow = (sets: CharacterSets, name: string, sequence: readonly GrammarSymbol[]) => boolean;

function growFirst(sets: CharacterSets, name: string, sequence: readonly GrammarSymbol[]): boolean {
  const { characters, empty } = beginning(sets, sequence);
  const wasEmpty = sets.empty.has(name);
  if (empty) {
    sets.empty.add(name);
  }
  return add(sets.first, name, characters) || (empty && !wasEmpty);
}

function growFollow(sets: CharacterSets, name: string, sequence: readonly GrammarSymbol[]): boolean {
  let changed = false;
  for (const { rule, after } of withFollowers(sets, name, sequence)) {
    changed = (rule !== undefined && add(sets.follow, rule, after)) || changed;
  }
  return changed;
}

/** A length is known once those of all its parts are, so that what leads in a circle has none. */
function findLength(sets: CharacterSets, [name, { alternatives, copies }]: NamedRule): boolean {
  const [length, ...others] = alternatives.map((sequence) =>
    sequence.reduce((sum, one) => sum + (one.length ?? sets.lengths.get(one.rule ?? '') ?? Number.NaN), 0),
  );
  const isKnown = copies === 1 && length !== undefined && others.every((other) => other === length);
  if (!isKnown || Number.isNaN(length) || sets.lengths.has(name)) {
    return false;
  }
  sets.lengths.set(name, length);
  return true;
}

function growLonger(sets: CharacterSets, name: string, sequence: readonly GrammarSymbol[]): boolean {
  if (sets.lengths.has(name)) {
    return false;
  }
  const isShared = (sets.shared.get(name) ?? []).length > 0;
  let characters = isShared ? secondCharacters(sets, sequence) : 0n;
  for (const { rule } of sequence.toReversed()) {
    const isEmpty = rule !== undefined && sets.empty.has(rule);
    characters |= rule === undefined ? 0n : (sets.longer.get(rule) ?? 0n);
    characters |= isEmpty ? (sets.first.get(rule) ?? 0n) : 0n;
    if (!isEmpty) {
      break;
    }
  }
  return add(sets.longer, name, characters);
}

/** The characters by which a sequence goes on where another one that begins like it may end. */
function secondCharacters(sets: CharacterSets, sequence: readonly GrammarSymbol[]): CharacterSet {
  const [first, ...rest] = sequence;
  return first === undefined || first.length === 1 ? beginning(sets, rest).characters : everyCharacter;
}

function add(sets: Map<string, CharacterSet>, name: string, characters: CharacterSet): boolean {
  const before = sets.get(name) ?? 0n;
  sets.set(name, before | characters);
  return (before | characters) !== before;
}

/** The symbols of a sequence, from its end, each with the characters that may come after it. */
export function withFollowers(
  sets: CharacterSets,
  name: string,
  sequence: readonly GrammarSymbol[],
): (GrammarSymbol & { readonly after: CharacterSet })[] {
  let after = sets.follow.get(name) ?? 0n;
  return sequence.toReversed().map((symbol) => {
    const found = { ...symbol, after };
    const { rule, first } = symbol;
    const isEmpty = rule !== undefined && sets.empty.has(rule);
    after = (rule === undefined ? first : (sets.first.get(rule) ?? 0n)) | (isEmpty ? after : 0n);
    return found;
  });
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

function sharedBeginnings([name, { alternatives }]: NamedRule, sets: CharacterSets): number[][] {
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
  const groups = new Map<string, number[]>();
  for (let character = 0n; shared >> character !== 0n; character++) {
    if (((shared >> character) & 1n) === 1n) {
      const group = begins.flatMap((one, index) => (((one >> character) & 1n) === 1n ? [index] : []));
      groups.set(group.join(), group);
    }
  }
  return [...groups.values()];
}
