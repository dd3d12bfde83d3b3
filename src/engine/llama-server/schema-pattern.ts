// Which regular expressions llama.cpp's grammar holds a string to. It matches them against the JSON text of the
// string, not its value, merges characters before a quantifier in places, and takes any string for what it does not
// know: only what comes out right is let through. Pure.
import { holds, isExpression, isSafeClass, isSafeEscape } from './schema-characters.ts';

export interface PatternReading {
  /** Why strings would not be held to it; undefined: they are. */
  readonly fault: string | undefined;
  /** Elements of its grammar with all repetitions written out. */
  readonly elements: number;
  /** How many readings of one string may have to be followed at once. */
  readonly readings: number;
  /** Whether something is repeated at least more often than at most, which llama.cpp does not survive. */
  readonly isReversed: boolean;
}

/** Times that llama.cpp repeats something at most; above it takes no limit at all. */
const mostTimes = 2000;

export function readPattern(pattern: string): PatternReading {
  const reader = new PatternReader(pattern);
  return reader.read();
}

interface Piece {
  readonly elements: number;
  readonly readings: number;
  /** Counts that a text leaves open: 0 if its length is fixed. */
  readonly counts: number;
  /** The class or character that it is made of, as an expression; absent: a group. */
  readonly set?: string;
}

const nothing: Piece = { elements: 0, readings: 1, counts: 0 };

class PatternReader {
  readonly #pattern: string;
  #at = 0;
  #fault: string | undefined;
  #elements = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  read(): PatternReading {
    // A `$` that is escaped is no end, whatever llama.cpp takes it for.
    if (!/^\^(?:[^\\]|\\.)*\$$/su.test(this.#pattern) || !isExpression(this.#pattern)) {
      this.#refuse('is no regular expression from ^ to $');
    }
    this.#at = this.#pattern.startsWith('^') ? 1 : 0;
    let readings = 1;
    // A bracket that closes nothing ends a piece early.
    while (this.#at < this.#pattern.length) {
      readings = Math.max(readings, this.#alternatives(0).readings);
      this.#at++;
    }
    const isReversed = Array.from(this.#pattern.matchAll(/\{([^},]*),([^}]*)\}/gu)).some(
      ([, least, most]) => timesOf(least, 0) > timesOf(most, Number.POSITIVE_INFINITY),
    );
    return { fault: this.#fault, elements: this.#elements + this.#pattern.length, readings, isReversed };
  }

  #refuse(fault: string): void {
    this.#fault ??= fault;
  }

  /** Up to the bracket that closes it. */
  #alternatives(depth: number): Piece {
    let sequence: Piece[] = [];
    const all: Piece[] = [];
    let literal = 0;
    while (this.#at < this.#pattern.length && this.#pattern[this.#at] !== ')') {
      const character = this.#pattern[this.#at] ?? '';
      if (character === '|') {
        this.#at++;
        all.push(inSequence(sequence));
        sequence = [];
        literal = 0;
        continue;
      }
      const atom = this.#atom(character, depth);
      literal = atom.isLiteral ? literal + 1 : 0;
      const before = this.#at;
      const piece = this.#quantified(atom, literal);
      literal = this.#at > before ? 0 : literal;
      sequence.push(piece);
    }
    all.push(inSequence(sequence));
    return {
      elements: 1,
      readings: all.reduce((sum, { readings }) => sum + readings, 0),
      counts: all.length > 1 ? Math.max(1, ...all.map(({ counts }) => counts)) : (all[0]?.counts ?? 0),
    };
  }

  #atom(character: string, depth: number): Piece & { isLiteral: boolean; isEscaped: boolean } {
    const atom = { ...nothing, elements: 1, isLiteral: false, isEscaped: false };
    if (character === '(') {
      return { ...atom, ...this.#group(depth + 1) };
    }
    if (character === '[') {
      const [text = '['] = /^\[(?:[^\]\\]|\\.)*\]?/su.exec(this.#pattern.slice(this.#at)) ?? [];
      this.#at += text.length;
      if (!isSafeClass(text)) {
        this.#refuse(`has the class ${text}, which holds characters that a JSON string has to escape`);
      }
      return { ...atom, elements: text.length, set: text };
    }
    if (character === '\\') {
      const [text = '\\'] =
        /^\\(?:x[\da-fA-F]{2}|u[\da-fA-F]{4}|.?)/su.exec(this.#pattern.slice(this.#at)) ?? [];
      this.#at += text.length;
      if (!isSafeEscape(text)) {
        this.#refuse(`has ${text}, which this engine does not know`);
      }
      return { ...atom, isLiteral: true, isEscaped: true, set: text };
    }
    const [text = character] = /^./su.exec(this.#pattern.slice(this.#at)) ?? [];
    this.#at += text.length;
    const isEnd = text === '$' && this.#at === this.#pattern.length;
    if (!isEnd && !/[^^$.*+?{}()[\]|\\"\p{Cc}]/u.test(text)) {
      this.#refuse(`has ${JSON.stringify(text)} where this engine cannot enforce it`);
    }
    if (text > '~' && /^[*+?{]/u.test(this.#pattern.slice(this.#at))) {
      this.#refuse(`repeats ${text}, of which this engine would repeat the last byte`);
    }
    return { ...atom, isLiteral: true, set: text };
  }

  #group(depth: number): Piece {
    const [open = '('] = /^\((?:\?:)?/u.exec(this.#pattern.slice(this.#at)) ?? [];
    this.#at += open.length;
    if (this.#pattern[this.#at] === '?') {
      this.#refuse('has a group that looks around, has a name, or sets flags');
    }
    if (depth > mostGroups) {
      this.#refuse(`nests deeper than ${mostGroups} groups`);
      this.#at = this.#pattern.length;
      return nothing;
    }
    const piece = this.#alternatives(depth);
    this.#at++;
    return piece;
  }

  #quantified(atom: Piece & { isEscaped: boolean }, literal: number): Piece {
    const quantifier = /^(?:[*+?]|\{([^},]*)(,)?([^}]*)\})/u.exec(this.#pattern.slice(this.#at));
    if (quantifier === null) {
      this.#elements += atom.elements;
      return atom;
    }
    const [text, first, comma, second] = quantifier;
    this.#at += text.length;
    if (/^[*+?{]/u.test(this.#pattern.slice(this.#at))) {
      this.#refuse('has a quantifier after a quantifier');
    }
    if (atom.isEscaped && literal > 1) {
      this.#refuse(`has ${text} after characters of which this engine would repeat several`);
    }
    const least = timesOf(first, text === '+' ? 1 : 0);
    const unlimited = text === '?' ? 1 : Number.POSITIVE_INFINITY;
    const most = first !== undefined && comma === undefined ? least : timesOf(second, unlimited);
    if (least > mostTimes || (Number.isFinite(most) && most > mostTimes)) {
      this.#refuse(`repeats something more than ${mostTimes} times`);
    }
    const lowest = Math.min(least, mostTimes);
    const counts = most > mostTimes ? 1 : Math.max(0, most - lowest);
    // What llama.cpp merged with it is repeated too.
    const size = Math.max(atom.elements, literal);
    this.#elements += size * Math.max(1, lowest) + counts * (size + repetitionElements);
    return {
      elements: 1,
      // It follows itself, so that its own counts are open each time.
      readings:
        atom.counts > 0 ? Math.max(atom.readings, atom.counts) * Math.max(1, lowest + counts) : atom.readings,
      counts: counts === 0 ? atom.counts : counts,
      ...(atom.set === undefined ? {} : { set: atom.set }),
    };
  }
}

/** A number of times as llama.cpp reads it, which is from the front and past spaces. */
function timesOf(text: string | undefined, otherwise: number): number {
  const times = Number.parseInt(text ?? '', 10);
  return Number.isNaN(times) ? otherwise : Math.max(0, times);
}

/** Groups within groups: each is a level of llama.cpp's parsers. */
const mostGroups = 32;

/** What a rule of its own for each number takes. */
const repetitionElements = 24;

/**
 * Where pieces of open length follow each other, each count of a later one may be where the text is; until a character
 * comes that none of them holds.
 */
function inSequence(pieces: readonly Piece[]): Piece {
  let readings = 1;
  let counts = 0;
  let open: Piece[] = [];
  for (const piece of pieces) {
    if (piece.counts > 0) {
      const ways = open.length === 0 ? 1 : piece.counts;
      open = [...open, piece];
      counts = (open.length === 1 ? 0 : counts) + ways * piece.readings;
    } else if (open.every(({ set }) => set !== undefined && !holds(set, piece.set))) {
      open = [];
    }
    readings = Math.max(readings, counts, piece.readings);
  }
  return { elements: 1, readings, counts: open.reduce((sum, piece) => sum + piece.counts, 0) };
}
