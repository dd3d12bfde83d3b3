import { describe, expect, it } from 'vitest';
import { parseDuration } from '../../../src/cli/duration.ts';
import { thrownBy } from '../../support/thrown.ts';

describe('a duration', () => {
  it.each([
    ['30s', 30_000],
    ['5m', 300_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text, '--ttl')).toBe(ms);
  });

  it.each(['', '24', 'h', '0h', '-1h', '1.5h', '1 h', '1w', '9999999999d'])('is not %j', (text) => {
    const error = thrownBy(() => parseDuration(text, '--ttl'));
    expect(error.code).toBe('usage');
    expect(error.message).toContain('--ttl');
  });
});
