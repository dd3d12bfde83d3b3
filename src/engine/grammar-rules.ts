// A GBNF grammar as the rules that llama.cpp makes of it, coarse enough to reason about: characters are sets of ASCII
// codes and one for all others. What llama.cpp would not parse either comes out somehow; it is refused there. Pure.
import { type CharacterSet, characters, classSet, everyCharacter, setOf } from './grammar-characters.ts';

export interface GrammarSymbol {
  /** The rule it stands for; absent: characters. */
  readonly rule?: string;
  /** The characters it begins with. */
  readonly first: CharacterSet;
  /** How many characters it is, if that is known. */
  readonly length?: number;
}

export interface GrammarRule {
  /** Sequences, of which one is taken. An empty one takes nothing. */
  readonly alternatives: GrammarSymbol[][];
  /** Rules that llama.cpp makes of this one: a repetition counts by having a rule for each number. */
  readonly copies: number;
}

export interface Grammar {
  readonly rules: ReadonlyMap<string, GrammarRule>;
  /** Elements that llama.cpp keeps, with what each rule takes beside them. */
  readonly elements: number;
  /** The deepest nesting of brackets. */
  readonly depth: number;
}

/** What a rule takes in memory beside its elements and its name, in elements of 8 bytes. */
export const ruleElements = 20;

/** Numbers of a repetition above which llama.cpp refuses the grammar or takes it for unlimited. */
export const mostRepetitions = 2000;

/** Reads a grammar in one pass. Brackets and repetitions become rules of their own, as in llama.cpp. */
export function readGrammar(text: string): Grammar {
  const reader = new GrammarReader();
  for (const match of text.matchAll(tokens)) {
    reader.take(match);
  }
  return reader;
}

/** A comment, the head of a rule, a literal, a class, a token of the model, a repetition, a name, or a sign. */
const tokens =
  /#[^\r\n]*|(?<head>[A-Za-z0-9-]+)[ \t]*::=|"(?:[^"\\]|\\.)*(?:"|$)|\[(?:[^\]\\]|\\.)*(?:\]|$)|!?<[^>]{0,256}>|\{\s*(?<least>\d+)\s*(?<comma>,)?\s*(?<most>\d*)\s*\}|[A-Za-z0-9-]+|[().|*+?]/gs;

/** A rule or a bracket that is being read. */
interface Level {
  readonly name: string;
  readonly alternatives: GrammarSymbol[][];
  /** Elements of the item that a repetition would repeat. */
  item: number;
}

class GrammarReader implements Grammar {
  readonly rules = new Map<string, GrammarRule>();
  elements = 0;
  depth = 0;
  #levels: Level[] = [];
  /** The rule with a name that is being read: all made for it carry its name. */
  #owner = '';

  take(match: RegExpExecArray): void {
    const [token] = match;
    const { head, least, comma, most } = match.groups ?? {};
    if (head !== undefined) {
      this.#owner = head;
      this.#levels = [this.#level(head)];
    } else if (least !== undefined) {
      const unlimited = comma === undefined ? Number(least) : Number.POSITIVE_INFINITY;
      this.#repeat(Number(least), most === undefined || most === '' ? unlimited : Number(most));
    } else if (/^[().|*+?]$/.test(token)) {
      this.#takeSign(token);
    } else {
      this.#takeSymbol(token);
    }
  }

  #takeSign(sign: string): void {
    switch (sign) {
      case '(':
        this.#levels.push(this.#level(this.#newName()));
        this.depth = Math.max(this.depth, this.#levels.length - 1);
        break;
      case ')': {
        const group = this.#levels.length > 1 ? this.#levels.pop() : undefined;
        if (group !== undefined) {
          this.#push({ rule: group.name, first: 0n }, 1);
        }
        break;
      }
      case '|':
        this.#levels.at(-1)?.alternatives.push([]);
        this.elements++;
        break;
      case '.':
        this.#push({ first: everyCharacter, length: 1 }, 1);
        break;
      default:
        this.#repeat(sign === '+' ? 1 : 0, sign === '?' ? 1 : Number.POSITIVE_INFINITY);
    }
  }

  #takeSymbol(token: string): void {
    if (token.startsWith('"')) {
      const points = characters(unquoted(token));
      // An empty literal is nothing at all.
      if (points.length > 0) {
        this.#push({ first: setOf(points.slice(0, 1)), length: points.length }, points.length);
      }
    } else if (token.startsWith('[')) {
      this.#push({ first: classSet(unquoted(token)), length: 1 }, token.length);
    } else if (token.startsWith('<') || token.startsWith('!')) {
      this.#push({ first: everyCharacter }, 1);
    } else if (!token.startsWith('#')) {
      this.#push({ rule: token, first: 0n }, 1);
    }
  }

  #push(symbol: GrammarSymbol, elements: number): void {
    const level = this.#levels.at(-1);
    level?.alternatives.at(-1)?.push(symbol);
    this.elements += elements;
    if (level !== undefined) {
      level.item = elements;
    }
  }

  /** `S{2,5}` is S S R, where R is S and the next R or nothing, and there is an R for each number. */
  #repeat(least: number, most: number): void {
    const level = this.#levels.at(-1);
    const sequence = level?.alternatives.at(-1);
    const item = sequence?.pop();
    if (level === undefined || sequence === undefined || item === undefined) {
      return;
    }
    const always = Math.min(least, mostRepetitions);
    // llama.cpp takes a negative number for a very large one, and makes that many rules.
    const optional = most < least ? Number.POSITIVE_INFINITY : most > mostRepetitions ? 1 : most - always;
    const size = level.item;
    level.item = size * always + 1;
    this.elements += level.item + optional * (size + 3);
    if (always > 0) {
      sequence.push(item);
    }
    // Where an item may be of any length, a text does not tell which of them it is in, though all have to come.
    const copies = optional + (item.rule === undefined ? 0 : Math.max(0, always - 1));
    if (copies > 0) {
      const name = this.#newName();
      const next = { rule: name, first: 0n };
      this.#define(name, { alternatives: [most > 1 ? [item, next] : [item], []], copies });
      sequence.push(next);
    }
  }

  #level(name: string): Level {
    const alternatives: GrammarSymbol[][] = [[]];
    this.#define(name, { alternatives, copies: 1 });
    return { name, alternatives, item: 0 };
  }

  #define(name: string, rule: GrammarRule): void {
    this.rules.set(name, rule);
    this.elements += rule.copies * (ruleElements + Math.ceil(this.#owner.length / 8));
  }

  /** No name that a grammar can have. */
  #newName(): string {
    return `${this.#owner} ${this.rules.size}`;
  }
}

function unquoted(token: string): string {
  return token.slice(1, /["\]]$/.test(token) ? -1 : undefined);
}
