import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseSize } from '../../../../src/engine/llama-server/choose-size.ts';
import { estimateMemory } from '../../../../src/models/memory-estimate.ts';
import { engineLimits } from '../../../../src/util/limits/engine.ts';
import { eightBillion as model } from '../../../support/model-infos.ts';

const GiB = 1024 ** 3;

const chosen = (usableBytes: number, wishes: { contextTokens?: number; parallel?: number } = {}) =>
  chooseSize(model, { ...wishes, usableBytes });

describe('context and slots', () => {
  it('are what the owner asks for', () => {
    expect(chosen(8 * GiB, { contextTokens: 5_000, parallel: 3 })).toEqual({
      contextTokens: 5_000,
      slots: 3,
    });
  });

  it('are more where there is more memory, up to a bound', () => {
    expect(chosen(80 * GiB)).toEqual({ contextTokens: engineLimits.mostContext, slots: 4 });
    expect(chosen(24 * GiB)).toEqual({ contextTokens: 16_384, slots: 4 });
  });

  it('give slots up before the context falls below the default', () => {
    expect(chosen(6.5 * GiB)).toEqual({ contextTokens: 4096, slots: 2 });
  });

  it('give the context up at the end', () => {
    const { contextTokens, slots } = chosen(5 * GiB);
    expect(slots).toBe(1);
    expect(contextTokens).toBeLessThan(4096);
    expect(contextTokens).toBeGreaterThanOrEqual(engineLimits.minContext);
  });

  it('are never more than the model was made for', () => {
    expect(chooseSize({ ...model, contextTokens: 2048 }, { usableBytes: 80 * GiB })).toEqual({
      contextTokens: 2048,
      slots: 4,
    });
  });

  it('fit into the memory whenever the smallest does', () => {
    fc.assert(
      fc.property(fc.integer({ min: 6 * GiB, max: 200 * GiB }), (usableBytes) => {
        const { contextTokens, slots } = chosen(usableBytes);
        const { totalBytes } = estimateMemory(model, { contextTokens, parallel: slots });
        expect(totalBytes).toBeLessThanOrEqual(usableBytes);
      }),
    );
  });

  it('are one text at a time for a model that embeds', () => {
    const embedding = { ...model, contextTokens: 512, uses: new Set(['embedding'] as const) };
    expect(chooseSize(embedding, { usableBytes: 8 * GiB })).toEqual({ contextTokens: 512, slots: 1 });
  });
});
