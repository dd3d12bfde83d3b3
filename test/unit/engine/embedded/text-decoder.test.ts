import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenTextDecoder } from '../../../../src/engine/embedded/text-decoder.ts';

/** A tokenizer whose tokens are the bytes of UTF-8. */
const bytesToText = (tokens: readonly number[]): string => Buffer.from(tokens).toString('utf8');

function decode(tokens: readonly number[]): Array<{ text: string; tokenIds: readonly number[] }> {
  const decoder = new TokenTextDecoder(bytesToText, []);
  const pieces = tokens.map((token) => decoder.push(token)).filter((piece) => piece !== undefined);
  const rest = decoder.flush();
  return rest === undefined ? pieces : [...pieces, rest];
}

describe('TokenTextDecoder', () => {
  it('waits until a character is whole', () => {
    expect(decode([...Buffer.from('né')]).map((piece) => piece.text)).toEqual(['n', 'é']);
  });

  it('gives any text back whole, with no broken character and every token once', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), (text) => {
        fc.pre(!text.includes('\uFFFD') && text.isWellFormed());
        const tokens = [...Buffer.from(text)];
        const pieces = decode(tokens);
        expect(pieces.map((piece) => piece.text).join('')).toBe(text);
        expect(pieces.some((piece) => piece.text.includes('\uFFFD'))).toBe(false);
        expect(pieces.flatMap((piece) => piece.tokenIds)).toEqual(tokens);
      }),
    );
  });

  it('does not wait for ever for bytes that are no text', () => {
    expect(decode([0xff, 0xff, 0xff, 0xff, 0xff]).length).toBe(2);
  });

  it('hands the tokens before to a tokenizer that needs them for its leading space', () => {
    const seen: Array<readonly number[]> = [];
    const decoder = new TokenTextDecoder(
      (tokens, before) => {
        seen.push(before);
        return tokens.join();
      },
      [1, 2],
    );
    decoder.push(3);
    decoder.push(4);
    expect(seen).toEqual([
      [1, 2],
      [1, 2, 3],
    ]);
  });
});
