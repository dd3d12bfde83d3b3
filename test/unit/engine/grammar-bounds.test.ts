import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertBearableGrammar } from '../../../src/engine/grammar-bounds.ts';
import { readGrammar } from '../../../src/engine/grammar-rules.ts';
import { thrownBy } from '../../support/thrown.ts';

describe('the depth of a grammar', () => {
  it.each([
    ['root ::= "a"', 0],
    ['root ::= ("a" | ("b" | ("c")))', 3],
    ['root ::= "((((" [(((] # ((((', 0],
    ['root ::= "\\"(((" ("a")', 1],
    ['root ::= <"> ("a" ("b"))', 2],
    ['root ::= "never closed ((((', 0],
    ['root ::= )))(((', 3],
  ])('of %j is %d', (grammar, depth) => {
    expect(readGrammar(grammar).depth).toBe(depth);
  });

  it('counts any nesting there is, quickly', () => {
    fc.assert(
      fc.property(fc.nat(80_000), (depth) => {
        expect(readGrammar(`root ::= ${'('.repeat(depth)}"a"${')'.repeat(depth)}`).depth).toBe(depth);
      }),
      { numRuns: 20 },
    );
  });
});

describe('the elements of a grammar', () => {
  const elements = (item: string): number =>
    readGrammar(`root ::= ${item}`).elements - readGrammar('root ::=').elements;

  it('are those of each repetition, as often as it may come', () => {
    expect(elements('"ab"{100}')).toBeGreaterThanOrEqual(200);
    expect(elements('"ab"{0,100}')).toBeGreaterThanOrEqual(500);
    expect(elements('"ab"{10}{10}')).toBeGreaterThanOrEqual(200);
    expect(elements('"ab"*')).toBeLessThan(50);
  });
});

/** Grammars as people write them. */
const sound = {
  JSON: `root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? "}" ws
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\\"" ([^"\\\\\\x7F\\x00-\\x1F] | "\\\\" (["\\\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\\n" [ \\t]{0,20}`,
  arithmetic: `root ::= (expr "=" ws term "\\n")+
expr ::= term ([-+*/] term)*
term ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num ::= [0-9]+ ws
ws ::= [ \\t\\n]*`,
  'a list': 'root ::= ("- " [^\\n]+ "\\n")+',
  'a long text': 'root ::= [a-z ]{1,2000} "."',
  'a space that may be there twice': 'root ::= "a" ws ws "b"\nws ::= ([ \\t] ws)?',
  'few alternatives that begin alike': 'root ::= "yes" | "yes, but" | "yellow"',
};

const chain = (count: number, rule: (index: number) => string): string =>
  [
    'root ::= r0',
    ...Array.from({ length: count }, (_, index) => `r${index} ::= ${rule(index)}`),
    `r${count} ::= "b"`,
  ].join('\n');

/** Each ended, filled or stopped a llama-server. */
const unbearable = {
  'deep brackets': [`root ::= ${'('.repeat(500)}"a"${')'.repeat(500)}`, 'deeper than'],
  'many repetitions': [`root ::= ${'"a"{0,2000} '.repeat(6000)}`, 'elements'],
  'a long repetition': [`root ::= "${'a'.repeat(10_000)}"{2000}`, 'elements'],
  'rules with long names': [`${'a'.repeat(100_000)} ::= ("a"? "b"?){0,2000}`, 'elements'],
  'a repetition of negative length': ['root ::= "a"{3,1}', 'elements'],
  'many rules': [chain(10_000, (index) => `"a" r${index + 1}`), 'rules'],
  'ways that double': [chain(40, (index) => `r${index + 1} | r${index + 1}`), 'begin with each other'],
  'a rule that begins with itself': ['root ::= root "a" | "b"', 'begin with each other'],
  'recursion with two endings': ['root ::= r\nr ::= "a" r "x" | "a" r "y" | "b"', 'leaves open'],
  'recursion that may be skipped': ['root ::= r\nr ::= "a" r? r? "x" | "b"', 'leaves open'],
  'nested endings': [chain(30, (index) => `"a" r${index + 1} "x" | "a" r${index + 1} "y"`), 'leaves open'],
  'counts within counts': ['root ::= r{0,40} "b"\nr ::= "a"{0,40}', 'leaves open'],
  'a repetition of what may be nothing': ['root ::= e{500}\ne ::= "z"* | "x" "y"+', 'leaves open'],
  'counts beside counts': ['root ::= r r "b"\nr ::= "a"{0,1000}', 'leaves open'],
} satisfies Record<string, [string, string]>;

describe('a grammar', () => {
  it.each(Object.entries(sound))('as people write it is let through: %s', (_, grammar) => {
    expect(() => assertBearableGrammar(grammar)).not.toThrow();
  });

  it.each(Object.entries(unbearable))(
    'that llama.cpp could not bear is refused: %s',
    (_, [grammar, words]) => {
      expect(thrownBy(() => assertBearableGrammar(grammar ?? ''))).toMatchObject({
        code: 'invalid_schema',
        message: expect.stringContaining(words ?? ''),
        details: { param: 'grammar' },
      });
    },
  );

  it('is looked at in little time, whatever it is', () => {
    const pieces = ['"a"', '[^b]', '(', ')', '|', '*', '{0,9}', '\nr ::=', ' r', '<', '#', '"', '['];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 400 }), fc.nat(50), (parts, times) => {
        const started = performance.now();
        try {
          assertBearableGrammar(`root ::= ${parts.join(' ').repeat(times)}`);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_schema' });
        }
        expect(performance.now() - started).toBeLessThan(2_000);
      }),
      { numRuns: 60 },
    );
  });
});
