// The frames of an answer: which wait, which are kept, and from where an answer can go on.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerLog } from '../../../../src/dispatch/infer/answer-log.ts';
import { netLimits } from '../../../../src/util/limits/net.ts';

const frameBytes = 36;
const size = frameBytes + netLimits.pieceBytes;
const frame = (number: number) => new Uint8Array(frameBytes).fill(number);
const everything = Number.POSITIVE_INFINITY;

/** A log with so many frames, the first of which have been written. */
function logWith({ frames, written = 0, kept = 1000 }: { frames: number; written?: number; kept?: number }) {
  const log = new AnswerLog(kept * size);
  for (let number = 0; number < frames; number++) {
    log.add(frame(number));
  }
  takeFrom(log, written);
  return log;
}

/** The numbers of the next `count` frames, which count as written from here on. */
const takeFrom = (log: AnswerLog, count: number) => log.take(count * frameBytes).map(([number]) => number);

describe('answer log', () => {
  it('gives what waits, in order, hardly more than is asked for', () => {
    const log = logWith({ frames: 6, written: 1 });
    expect(log.waitingBytes).toBe(5 * size);
    expect(log.take(1)).toEqual([frame(1)]);
    expect(log.take(frameBytes + 1)).toEqual([frame(2), frame(3)]);
    expect(log.waitingBytes).toBe(2 * size);
    expect(takeFrom(log, 9)).toEqual([4, 5]);
    expect(takeFrom(log, 9)).toEqual([]);
    expect(log.keptBytes).toBe(6 * size);
  });

  it('goes on from any frame that it keeps, once more or further on', () => {
    const log = logWith({ frames: 5, written: 4 });
    log.goOnFrom(1);
    expect(log.waitingBytes).toBe(4 * size);
    expect(takeFrom(log, 2)).toEqual([1, 2]);
    log.goOnFrom(4);
    expect(takeFrom(log, 9)).toEqual([4]);
  });

  it('keeps the newest of what was written, and all that was not', () => {
    const log = logWith({ frames: 100, written: 50, kept: 10 });
    expect(log.keptBytes).toBe(60 * size);
    expect([39, 40, 50, 51].map((held) => log.standingOf(held))).toEqual([
      'dropped',
      'kept',
      'kept',
      'unwritten',
    ]);
    log.goOnFrom(40);
    expect(log.keptBytes).toBe(60 * size);
    expect(takeFrom(log, 1)).toEqual([40]);
  });

  it('remembers what was written before it went back', () => {
    const log = logWith({ frames: 4, written: 3 });
    log.goOnFrom(0);
    expect(log.standingOf(3)).toBe('kept');
    expect(log.standingOf(4)).toBe('unwritten');
  });

  it('holds nothing after it was cleared', () => {
    const log = logWith({ frames: 9, written: 4, kept: 2 });
    log.clear();
    expect(log.keptBytes).toBe(0);
    expect(log.take(everything)).toEqual([]);
  });

  it('is at any time what a plain list would be', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('add' as const), count: fc.nat(20) }),
      fc.record({ kind: fc.constant('take' as const), count: fc.nat(20) }),
      fc.record({ kind: fc.constant('goOnFrom' as const), count: fc.nat(60) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 12 }), (steps, kept) => {
        const log = logWith({ frames: 0, kept });
        let [added, next, written, first] = [0, 0, 0, 0];
        for (const { kind, count } of steps) {
          if (kind === 'add') {
            for (let turn = 0; turn < count; turn++) {
              log.add(frame(added++));
            }
          } else if (kind === 'take') {
            const taken = Math.min(count, added - next);
            const numbers = Array.from({ length: taken }, (_, place) => (next + place) % 256);
            expect(takeFrom(log, count)).toEqual(numbers);
            next += taken;
            written = Math.max(written, next);
            first = Math.max(first, next - kept);
          } else if (count >= first && count <= written) {
            log.goOnFrom(count);
            next = count;
          }
          expect(log.standingOf(first)).toBe('kept');
          expect(log.standingOf(written + 1)).toBe('unwritten');
          expect(first === 0 ? 'dropped' : log.standingOf(first - 1)).toBe('dropped');
          expect(log.waitingBytes).toBe((added - next) * size);
          expect(log.keptBytes).toBe((added - first) * size);
        }
      }),
    );
  });
});
