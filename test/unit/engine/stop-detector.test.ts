import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StopDetector } from '../../../src/engine/stop-detector.ts';

/** Feeds pieces until one stops it; what was shown, with its tokens. */
function run(
  stops: readonly string[],
  pieces: readonly string[],
): { text: string; ids: number[]; stopped: boolean } {
  const detector = new StopDetector(stops);
  let text = '';
  const ids: number[] = [];
  for (const [id, piece] of pieces.entries()) {
    const { show, stopped } = detector.push({ text: piece, tokenIds: [id] });
    text += show.text;
    ids.push(...show.tokenIds);
    if (stopped) {
      return { text, ids, stopped };
    }
  }
  const rest = detector.flush();
  return { text: text + rest.text, ids: [...ids, ...rest.tokenIds], stopped: false };
}

describe('StopDetector', () => {
  it('cuts before a stop sequence that spans pieces and shows nothing of it', () => {
    expect(run(['END'], ['ab', 'cE', 'N', 'Dx'])).toEqual({ text: 'abc', ids: [0], stopped: true });
  });

  it('gives back what only looked like a stop sequence', () => {
    expect(run(['END'], ['aE', 'N', 'x'])).toEqual({ text: 'aENx', ids: [0, 1, 2], stopped: false });
  });

  it('cuts at the earliest of several stop sequences', () => {
    expect(run(['yz', 'b'], ['abcxyz']).text).toBe('a');
  });

  it('holds back no more than the start of a stop sequence', () => {
    const detector = new StopDetector(['\n\n']);
    expect(detector.push({ text: 'line\n', tokenIds: [1] }).show.text).toBe('line');
    expect(detector.push({ text: 'next', tokenIds: [2] }).show).toEqual({ text: '\nnext', tokenIds: [1, 2] });
  });

  it('finds a stop sequence that overlaps its own false start', () => {
    expect(run(['aab'], ['a', 'a', 'a', 'b', 'c'])).toMatchObject({ text: 'a', stopped: true });
  });

  it('shows, however the text is cut into pieces, exactly what comes before the first stop sequence', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(text, { maxLength: 8 }), fc.array(stop, { maxLength: 3 }), (pieces, stops) => {
        const whole = pieces.join('');
        const cuts = stops.map((one) => whole.indexOf(one)).filter((at) => at !== -1);
        // With pieces longer than a token, the detector cuts at the first stop of the first piece that completes one.
        const result = run(stops, pieces);
        expect(result.stopped).toBe(cuts.length > 0);
        expect(stops.some((one) => result.text.includes(one))).toBe(false);
        expect(whole.startsWith(result.text)).toBe(true);
        if (cuts.length === 0) {
          expect(result.text).toBe(whole);
          expect(result.ids).toEqual(pieces.map((_, id) => id));
        }
      }),
    );
  });
});
