import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { startTicks } from '../../../src/engine/process-facts.ts';
import { LineSplitter, LogTail } from '../../../src/engine/process-output.ts';
import { engineLimits } from '../../../src/util/limits/engine.ts';

function linesOf(chunks: readonly Buffer[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) {
    splitter.add(chunk);
  }
  splitter.end();
  return lines;
}

describe('lines', () => {
  test('are the same however the bytes were cut', () => {
    const text = fc.array(
      fc.string({ unit: 'binary' }).map((line) => line.replaceAll(/[\r\n]/g, '')),
      {
        minLength: 1,
        maxLength: 8,
      },
    );
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 5 }), (lines, size) => {
        const bytes = Buffer.from(`${lines.join('\n')}\n`);
        const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
          bytes.subarray(index * size, (index + 1) * size),
        );
        expect(linesOf(chunks)).toEqual(bytes.toString().split('\n').slice(0, -1));
      }),
    );
  });

  test('that are too long come in pieces, none longer than the bound', () => {
    const long = 'x'.repeat(3 * engineLimits.logLineChars + 1);
    const pieces = linesOf([Buffer.from(`${long}\nshort`)]);
    expect(pieces.join('')).toBe(`${long}short`);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBe(engineLimits.logLineChars);
  });
});

describe('the log tail', () => {
  test('keeps everything as long as it is short', () => {
    const tail = new LogTail();
    tail.add(Buffer.from('one\n'));
    tail.add(Buffer.from('two'));
    expect(tail.text()).toBe('one\ntwo');
  });

  test('keeps the last bytes of much, from a full line on', () => {
    const tail = new LogTail();
    for (let line = 0; line < 10_000; line++) {
      tail.add(Buffer.from(`line ${line}\n`));
    }
    const kept = tail.text().split('\n');
    expect(tail.text().length).toBeLessThanOrEqual(engineLimits.logTailBytes);
    expect(kept[0]).toMatch(/^line \d+$/);
    expect(kept.slice(-2)).toEqual(['line 9999', '']);
  });
});

describe('the start time in /proc/PID/stat', () => {
  const rest = `S 1 7 7 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 113650 3133440 388`;

  test('is found behind a name that holds spaces and parentheses', () => {
    expect(startTicks(`7322 (cat) ${rest}`)).toBe('113650');
    expect(startTicks(`7322 (a) S 1 (b) ${rest}`)).toBe('113650');
  });

  test('is none for a zombie or for a text that is no such file', () => {
    expect(startTicks(`7322 (cat) ${rest.replace('S', 'Z')}`)).toBeUndefined();
    expect(startTicks('')).toBeUndefined();
  });
});
