// How a model is put into the memory of a machine: on its GPUs, partly, or in RAM, and with how much context. Pure.
import { estimateMemory } from '../../models/memory-estimate.ts';
import type { ModelInfo } from '../../models/model-info.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { LoadOptions } from '../engine.ts';
import { chooseSize } from './choose-size.ts';
import type { UsableMemory } from './components.ts';
import type { Launch } from './launch.ts';

export interface FittedModel extends Pick<Launch, 'size' | 'offload' | 'freePerGpuBytes'> {
  /** Memory that the context was chosen for. */
  readonly usableBytes: number;
}

/**
 * Everything on the GPUs if they hold it with the least context that is of use, and then a context that they hold too;
 * else llama.cpp puts there what fits. The owner's bound is one of device memory, and of RAM where there is no GPU.
 */
export function fitModel(
  info: ModelInfo,
  { contextTokens, parallel, maxMemoryBytes = Infinity }: LoadOptions,
  { gpus, gpuBytes, totalBytes }: UsableMemory,
): FittedModel {
  const fitted = (offload: Launch['offload'], usableBytes: number, freePerGpuBytes = 0): FittedModel => ({
    size: chooseSize(info, { contextTokens, parallel, usableBytes }),
    ...{ offload, freePerGpuBytes, usableBytes },
  });
  if (gpus === 0) {
    return fitted('none', Math.min(totalBytes, maxMemoryBytes));
  }
  const onGpuBytes = Math.min(gpuBytes, maxMemoryBytes);
  const least = { contextTokens: contextTokens ?? engineLimits.minContext, parallel: parallel ?? 1 };
  if (estimateMemory(info, least).totalBytes <= onGpuBytes) {
    return fitted('all', onGpuBytes);
  }
  const keptBytes = (gpuBytes - onGpuBytes) / gpus;
  return fitted('fitting', totalBytes, engineLimits.freePerGpuBytes + keptBytes);
}
