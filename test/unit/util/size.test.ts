import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatSize, parseSize } from '../../../src/util/size.ts';

test.each([
  ['24GiB', 24 * 1024 ** 3],
  ['8G', 8 * 1024 ** 3],
  ['8g', 8 * 1024 ** 3],
  ['512MB', 512_000_000],
  ['512mib', 512 * 1024 ** 2],
  ['1.5 TiB', 1.5 * 1024 ** 4],
  [' 100k ', 102_400],
  ['7B', 7],
  ['0', 0],
  ['0G', 0],
])('%s is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each([
  '',
  '24',
  'G',
  '-1G',
  '+1G',
  '1,5G',
  '1e3G',
  '24GiBs',
  '12abc',
  '8 iB',
  '9000000P',
  'NaN',
  '0x10G',
  '1G 2G',
])('"%s" is refused as no size', (text) => {
  expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: 'usage' }));
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1 KiB'],
  [25_232_932_864, '23.5 GiB'],
  [1024 ** 3 - 1, '1 GiB'],
  [5000 * 1024 ** 5, '5000 PiB'],
])('%d bytes read %s', (bytes, text) => {
  expect(formatSize(bytes)).toBe(text);
});

test('a size that is shown reads back as nearly the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 52 }), (bytes) => {
      expect(Math.abs(parseSize(formatSize(bytes)) - bytes)).toBeLessThanOrEqual(bytes * 0.051);
    }),
  );
});

test('any text is a size or a usage error', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        expect(Number.isSafeInteger(parseSize(text))).toBe(true);
      } catch (cause) {
        expect(cause).toMatchObject({ code: 'usage' });
      }
    }),
  );
});
