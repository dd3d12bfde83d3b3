// Whether a model may be loaded into the memory there is, and what to say if not. Pure: numbers come in.
import { MeshnodeError } from '../util/errors.ts';
import { formatSize } from '../util/size.ts';
import type { MemoryFit, ServingOptions } from './ports.ts';

/** Throws `model_too_large`, with the numbers and the ways out, if the model needs more than is usable. */
export function assertFits(name: string, fit: MemoryFit): void {
  const { neededBytes, usableBytes, contextTokens } = fit;
  if (neededBytes <= usableBytes) {
    return;
  }
  throw new MeshnodeError(
    'model_too_large',
    `${name} needs ${formatSize(neededBytes)} with ${contextTokens} tokens of context; ${formatSize(usableBytes)} can be used here.`,
    {
      hint: 'Choose a smaller model or quantisation, lower --ctx or --parallel, raise --max-vram, or unload another model.',
      data: { neededBytes, usableBytes, contextTokens },
    },
  );
}

/** The owner's bound on device memory less what other models hold of it. */
export function memoryLeft({ maxMemoryBytes }: ServingOptions, heldBytes: number): ServingOptions {
  return maxMemoryBytes === undefined ? {} : { maxMemoryBytes: Math.max(0, maxMemoryBytes - heldBytes) };
}
