import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { catalogue, catalogueNames, fitsMemory, suggestModel } from '../../../src/models/catalogue.ts';
import { parseReference } from '../../../src/models/reference.ts';

const GB = 1e9;

describe('the catalogue', () => {
  test('has unique names that parse to themselves', () => {
    expect(new Set(catalogueNames).size).toBe(catalogueNames.length);
    for (const name of catalogueNames) {
      expect(parseReference(name, catalogueNames)).toMatchObject({ kind: 'catalogue', name });
    }
  });

  test('points to valid hub references with a quantisation, or to a file', () => {
    for (const { source } of catalogue) {
      if ('hub' in source) {
        expect(parseReference(source.hub, [])).toMatchObject({ kind: 'hub', choice: { by: 'quantisation' } });
      } else {
        expect(source.file).toMatch(/^[a-z-]+\.gguf$/);
      }
    }
  });
});

describe('the suggested model', () => {
  test.each([
    [2, 'qwen3-0.6b'],
    [6, 'qwen3-4b'],
    [8, 'qwen3-8b'],
    [12, 'qwen3-14b'],
    [24, 'qwen3-30b-a3b'],
    [128, 'gpt-oss-120b'],
  ])('for %i GB is %s', (gigabytes, name) => {
    expect(suggestModel(catalogue, gigabytes * GB)?.name).toBe(name);
  });

  test('is none where nothing fits', () => {
    expect(suggestModel(catalogue, 0.5 * GB)).toBeUndefined();
  });

  test('always fits, is for chat, and never gets weaker with more memory', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 300 * GB, noNaN: true }),
        fc.double({ min: 1, max: 4 }),
        (bytes, more) => {
          const small = suggestModel(catalogue, bytes);
          const large = suggestModel(catalogue, bytes * more);
          expect(small === undefined || fitsMemory(small, bytes)).toBe(true);
          if (small !== undefined && large !== undefined) {
            expect(small.kind).toBe('chat');
            expect(small.sizeBytes).toBeLessThan(bytes * 0.9);
            expect(catalogue.indexOf(large)).toBeGreaterThanOrEqual(catalogue.indexOf(small));
          }
        },
      ),
    );
  });
});
