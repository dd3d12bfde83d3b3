import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { doubtAfterMs, isDoubted } from '../../../../src/dispatch/remote/doubt.ts';
import { remoteLimits } from '../../../../src/util/limits/dispatch.ts';
import { beatLimits } from '../../../../src/util/limits/mesh.ts';

describe('the time after which a peer is doubted', () => {
  it.each([
    [0, remoteLimits.doubtMs],
    [300, remoteLimits.doubtMs],
    [500, 2_000],
    [1_000, 3_000],
    [2_000, beatLimits.silentMs],
  ])('of one that was %i ms late is %i ms', (lateMs, afterMs) => {
    expect(doubtAfterMs(lateMs)).toBe(afterMs);
  });

  it('lets it be half as late again as it was before, and ends when the mesh holds it silent', () => {
    fc.assert(
      fc.property(fc.nat(10_000), (lateMs) => {
        const afterMs = doubtAfterMs(lateMs);
        expect(afterMs).toBeGreaterThanOrEqual(
          Math.min(beatLimits.silentMs, beatLimits.beatMs + 1.5 * lateMs),
        );
        expect(afterMs).toBeLessThanOrEqual(beatLimits.silentMs);
        expect(isDoubted({ sinceMs: 100, lateMs }, 99 + afterMs)).toBe(false);
        expect(isDoubted({ sinceMs: 100, lateMs }, 100 + afterMs)).toBe(true);
      }),
    );
  });

  it('never comes for one whose silence says nothing', () => {
    expect(isDoubted(undefined, 1e9)).toBe(false);
  });
});
