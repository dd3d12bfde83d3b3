// The trials of dying nodes at their shortest: `npm run trials` runs them at their length.
import { expect, it } from 'vitest';
import { trialLiveness } from '../trials/liveness.ts';

it('a node that is killed, stopped, cut off or leaves is noticed in time, and no answer is cut silently', async () => {
  const { held, report } = await trialLiveness(2);
  expect(held, report).toBe(true);
}, 300_000);
