import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grammarDepth } from '../../../src/engine/grammar-depth.ts';

describe('grammarDepth', () => {
  it.each([
    ['root ::= "a"', 0],
    ['root ::= ("a" | ("b" | ("c")))', 3],
    ['root ::= "((((" [(((] # ((((', 0],
    ['root ::= "\\"(((" ("a")', 1],
    ['root ::= "never closed ((((', 0],
    ['root ::= )))(((', 0],
  ])('of %j is %d', (grammar, depth) => {
    expect(grammarDepth(grammar)).toBe(depth);
  });

  it('counts any nesting there is, quickly', () => {
    fc.assert(
      fc.property(fc.nat(200_000), (depth) => {
        expect(grammarDepth(`root ::= ${'('.repeat(depth)}"a"${')'.repeat(depth)}`)).toBe(depth);
      }),
      { numRuns: 20 },
    );
  });
});
