import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decideRestart, freshRestartState, type RestartState } from '../../../src/engine/restart-policy.ts';
import { engineLimits } from '../../../src/util/limits/engine.ts';

/** Waits of crashes in a row, without any uptime, until the policy gives up. */
function waitsOfCrashLoop(jitter: number): number[] {
  const waits: number[] = [];
  let state: RestartState = freshRestartState;
  while (true) {
    const [next, decision] = decideRestart(state, { kind: 'crashed', jitter }, 0);
    state = next;
    if (decision.action !== 'restart') {
      expect(decision.action).toBe('give-up');
      return waits;
    }
    waits.push(decision.waitMs);
  }
}

test('waits double from the first to the longest, and the last crash allowed gives up', () => {
  expect(waitsOfCrashLoop(0)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
  expect(waitsOfCrashLoop(0)).toHaveLength(engineLimits.restarts - 1);
});

test('jitter takes at most half of a wait away', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (jitter) => {
      const full = waitsOfCrashLoop(0);
      for (const [index, waitMs] of waitsOfCrashLoop(jitter).entries()) {
        expect(waitMs).toBeLessThanOrEqual(Math.min(full[index] ?? 0, engineLimits.restartMaxMs));
        expect(waitMs).toBeGreaterThanOrEqual((full[index] ?? 0) / 2);
      }
    }),
  );
});

test('crashes are forgotten after enough uptime, and only then', () => {
  const readyAt = (crashes: number) => decideRestart({ crashes }, { kind: 'ready' }, 1_000)[0];
  const crash = { kind: 'crashed', jitter: 0 } as const;
  const { restartForgetMs } = engineLimits;
  expect(decideRestart(readyAt(5), crash, 1_000 + restartForgetMs)[1]).toMatchObject({ attempt: 1 });
  expect(decideRestart(readyAt(5), crash, 999 + restartForgetMs)[1]).toMatchObject({ attempt: 6 });
  expect(decideRestart(readyAt(7), crash, 2_000)[1]).toEqual({ action: 'give-up' });
});

test('a failed start has no uptime, however late it fails', () => {
  const [state] = decideRestart({ crashes: 3, readySinceMs: 0 }, { kind: 'crashed', jitter: 0 }, 10);
  expect(decideRestart(state, { kind: 'crashed', jitter: 0 }, 10_000_000)[1]).toMatchObject({ attempt: 5 });
});
