import { describe, expect, it } from 'vitest';
import { fitModel } from '../../../../src/engine/llama-server/fit-model.ts';
import { estimateMemory } from '../../../../src/models/memory-estimate.ts';
import { engineLimits } from '../../../../src/util/limits/engine.ts';
import { eightBillion } from '../../../support/model-infos.ts';

const GiB = 1024 ** 3;
const card = (gibibytes: number, ram: number) => ({
  ...{ gpus: 1, gpuBytes: gibibytes * GiB, totalBytes: (gibibytes + ram) * GiB },
});

describe('a model in the memory of a machine', () => {
  it('is whole on the GPU that holds it, with a context that the GPU holds too, whatever RAM there is', () => {
    const { offload, size } = fitModel(eightBillion, {}, card(8, 60));
    expect(offload).toBe('all');
    const { totalBytes } = estimateMemory(eightBillion, {
      contextTokens: size.contextTokens,
      parallel: size.slots,
    });
    expect(totalBytes).toBeLessThanOrEqual(8 * GiB);
  });

  it('is on the GPU as far as it fits, and for the rest in RAM', () => {
    const fitted = fitModel(eightBillion, {}, card(4, 60));
    expect(fitted).toMatchObject({ offload: 'fitting', freePerGpuBytes: engineLimits.freePerGpuBytes });
  });

  it('leaves free what the owner wants free', () => {
    const fitted = fitModel(eightBillion, { maxMemoryBytes: 2 * GiB }, card(8, 60));
    expect(fitted).toMatchObject({
      offload: 'fitting',
      freePerGpuBytes: engineLimits.freePerGpuBytes + 6 * GiB,
    });
    const two = { gpus: 2, gpuBytes: 16 * GiB, totalBytes: 64 * GiB };
    expect(fitModel(eightBillion, { maxMemoryBytes: 4 * GiB }, two).freePerGpuBytes).toBe(
      engineLimits.freePerGpuBytes + 6 * GiB,
    );
  });

  it('is in RAM where there is no GPU, within the same bound', () => {
    const memory = { gpus: 0, gpuBytes: 0, totalBytes: 60 * GiB };
    expect(fitModel(eightBillion, {}, memory)).toMatchObject({ offload: 'none', usableBytes: 60 * GiB });
    expect(fitModel(eightBillion, { maxMemoryBytes: 7 * GiB }, memory).usableBytes).toBe(7 * GiB);
  });
});
