// What is said while a model is on its way.
import { describe, expect, it } from 'vitest';
import { expectedSeconds, modelLoading } from '../../../src/dispatch/load-wait.ts';
import type { ModelStatus } from '../../../src/serving/model-status.ts';

const status = (fields: Partial<ModelStatus>): ModelStatus => ({
  name: 'demo',
  reference: 'demo',
  stage: 'loading',
  createdMs: 0,
  ...fields,
});

describe('expectedSeconds', () => {
  it('takes the estimate if there is one', () => {
    expect(expectedSeconds(status({ stage: 'downloading', etaSeconds: 42 }))).toBe(42);
  });

  it('guesses from the size while weights are loaded, less as they come in', () => {
    const whole = expectedSeconds(status({ sizeBytes: 4e9 })) ?? 0;
    const half = expectedSeconds(status({ sizeBytes: 4e9, fraction: 0.5 })) ?? 0;
    expect(whole).toBeGreaterThan(5);
    expect(half).toBeLessThan(whole);
  });

  it('guesses nothing of a download', () => {
    expect(expectedSeconds(status({ stage: 'downloading', sizeBytes: 1 }))).toBeUndefined();
  });
});

describe('modelLoading', () => {
  it('gives stage and fraction, and an ETA only if it is known', () => {
    const guessed = modelLoading(status({ fraction: 0.25, sizeBytes: 1e9 }));
    expect(guessed.details.data).toEqual({ loading: { stage: 'loading', fraction: 0.25 } });
    const known = modelLoading(status({ etaSeconds: 7 }));
    expect(known.details.data).toEqual({ loading: { stage: 'loading', eta_seconds: 7 } });
    expect(known.details.retryAfterSeconds).toBe(7);
  });

  it('asks nobody to wait for more than a minute, or for less than a second', () => {
    expect(modelLoading(status({ etaSeconds: 3600 })).details.retryAfterSeconds).toBe(60);
    expect(modelLoading(status({ etaSeconds: 0 })).details.retryAfterSeconds).toBe(1);
  });
});
