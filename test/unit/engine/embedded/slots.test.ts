import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseSequence, commonPrefix, Slots } from '../../../../src/engine/embedded/slots.ts';

const never = new AbortController().signal;
const sequence = (...contextTokens: number[]) => ({ contextTokens });

describe('chooseSequence', () => {
  it('takes the sequence that shares the longest start', () => {
    const best = sequence(1, 2, 3);
    expect(chooseSequence([sequence(1, 9), best, sequence()], [1, 2, 3, 4])).toBe(best);
  });

  it('leaves another conversation its cache when the shared start is short', () => {
    const other = sequence(1, ...Array.from({ length: 99 }, () => 7));
    const empty = sequence();
    const prompt = [1, ...Array.from({ length: 99 }, () => 8)];
    expect(chooseSequence([other, empty], prompt)).toBe(empty);
  });

  it('takes the one unused for longest among equals', () => {
    const oldest = sequence();
    expect(chooseSequence([oldest, sequence()], [1, 2])).toBe(oldest);
  });

  it('finds none where none is free', () => {
    expect(chooseSequence([], [1])).toBeUndefined();
  });
});

describe('commonPrefix', () => {
  it('is the longest start both lists have', () => {
    const tokens = fc.array(fc.nat(2), { maxLength: 12 });
    fc.assert(
      fc.property(tokens, tokens, (left, right) => {
        const length = commonPrefix(left, right);
        expect(left.slice(0, length)).toEqual(right.slice(0, length));
        expect(left[length] === undefined || left[length] !== right[length]).toBe(true);
      }),
    );
  });
});

describe('Slots', () => {
  it('gives each sequence to one user at a time, in the order they asked', async () => {
    const slots = new Slots([sequence(), sequence()]);
    const log: string[] = [];
    const releases: Array<() => void> = [];
    const use = (name: string) =>
      slots.with([1], never, async () => {
        log.push(name);
        await new Promise<void>((resolve) => releases.push(resolve));
      });
    const uses = ['a', 'b', 'c', 'd'].map(use);
    await Promise.resolve();
    expect(log).toEqual(['a', 'b']);
    releases.shift()?.();
    await uses[0];
    expect(log).toEqual(['a', 'b', 'c']);
    for (let turn = 0; turn < 4; turn++) {
      releases.shift()?.();
      await new Promise(setImmediate);
    }
    await Promise.all(uses);
    expect(log).toEqual(['a', 'b', 'c', 'd']);
  });

  it('gives a sequence back when its user fails', async () => {
    const slots = new Slots([sequence()]);
    await expect(slots.with([1], never, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    await expect(slots.with([1], never, () => Promise.resolve('next'))).resolves.toBe('next');
  });

  it('lets a waiting request go when it is cancelled, and skips it', async () => {
    const slots = new Slots([sequence()]);
    const holding = Promise.withResolvers<void>();
    const held = slots.with([1], never, () => holding.promise);
    const gone = new AbortController();
    const cancelled = slots.with([1], gone.signal, () => Promise.resolve('never'));
    const next = slots.with([1], never, () => Promise.resolve('next'));
    gone.abort(new Error('gone'));
    await expect(cancelled).rejects.toThrow('gone');
    holding.resolve();
    await held;
    await expect(next).resolves.toBe('next');
  });
});
