// Models made of equal parts, small enough to count with in the head.
import type { ModelDemand } from '../../src/models/model-demand.ts';

/** A model of `count` units of 10 bytes each, of which 5 are read for a token; everything else is 0 unless given. */
export function equalUnits(count: number, differing: Partial<ModelDemand> = {}): ModelDemand {
  return {
    name: 'equal',
    units: Array.from({ length: count }, () => ({ weightsBytes: 10, kvBytes: 0, activeBytes: 5 })),
    ...{ embeddingBytes: 0, tiedBytes: 0, computeBytes: 0, outputComputeBytes: 0, overheadBytes: 0 },
    ...{ contextTokens: 1024, slots: 1, isMixture: false },
    ...differing,
  };
}
