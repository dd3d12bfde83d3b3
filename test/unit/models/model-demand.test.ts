import { describe, expect, it } from 'vitest';
import type { Gguf, GgufTensor, GgufValue } from '../../../src/models/gguf.ts';
import { stringValue, uint32Value } from '../../../src/models/gguf-values.ts';
import { estimateMemory } from '../../../src/models/memory-estimate.ts';
import { type DemandOptions, modelDemand } from '../../../src/models/model-demand.ts';
import type { ModelFiles } from '../../../src/models/model-files.ts';
import { describeModel } from '../../../src/models/model-info.ts';
import { demandOf, modelOf, modelShapes } from '../../support/model-shapes.ts';

const options: DemandOptions = { name: 'tiny', contextTokens: 100, parallel: 2 };

/** Two layers of 4 heads, of which 2 keep keys of 8 elements. */
const metadata = new Map<string, GgufValue>([
  ['general.architecture', stringValue('llama')],
  ['llama.block_count', uint32Value(2)],
  ['llama.embedding_length', uint32Value(32)],
  ['llama.attention.head_count', uint32Value(4)],
  ['llama.attention.head_count_kv', uint32Value(2)],
  ['llama.vocab_size', uint32Value(50)],
]);

/** A model of tensors of these bytes, in two files. */
function modelWith(sizes: Readonly<Record<string, number>>, extra: Record<string, number> = {}): ModelFiles {
  const tensors = Object.entries(sizes).map(
    ([name, sizeBytes]): GgufTensor => ({ name, type: 'F32', dimensions: [1], offset: 0, sizeBytes }),
  );
  const file = (some: readonly GgufTensor[]): Gguf => ({
    ...{ path: 'tiny.gguf', version: 3, alignment: 32, dataOffset: 0, fileSizeBytes: 0 },
    metadata: new Map<string, GgufValue>([
      ...metadata,
      ...Object.entries(extra).map(([key, value]) => [key, uint32Value(value)] as const),
    ]),
    tensors: some,
  });
  return {
    files: [file(tensors.slice(0, 2)), file(tensors.slice(2))],
    sizeBytes: 0,
    tensorCount: tensors.length,
  };
}

const plain = {
  'token_embd.weight': 1000,
  'blk.0.attn_q.weight': 10,
  'blk.0.ffn_up.weight': 20,
  'blk.1.attn_q.weight': 40,
  'output_norm.weight': 3,
  'output.weight': 700,
};

function weightsOf(sizes: Readonly<Record<string, number>>, extra?: Record<string, number>): number[] {
  return modelDemand(modelWith(sizes, extra), options).units.map(({ weightsBytes }) => weightsBytes);
}

describe('what a model asks for', () => {
  it('is its layers in order, then the output; the token table stays with the host', () => {
    const demand = modelDemand(modelWith(plain), options);
    expect(demand.units.map(({ weightsBytes }) => weightsBytes)).toEqual([30, 40, 703]);
    expect(demand).toMatchObject({ embeddingBytes: 1000, tiedBytes: 0, contextTokens: 100, slots: 2 });
  });

  it('has the key-value cache in the layers, for all slots', () => {
    const kvBytes = modelDemand(modelWith(plain), options).units.map((unit) => unit.kvBytes);
    // 100 tokens x 2 slots x 2 heads x (8 + 8) elements x 2 bytes.
    expect(kvBytes).toEqual([12_800, 12_800, 0]);
  });

  it('counts a smaller cache if its elements are smaller', () => {
    const { units } = modelDemand(modelWith(plain), { ...options, kvElementBytes: 1 });
    expect(units[0]?.kvBytes).toBe(6400);
  });

  it('copies the token table for a tied head', () => {
    const { 'output.weight': _, ...tied } = plain;
    const demand = modelDemand(modelWith(tied), options);
    expect(demand.units.at(-1)).toEqual({ weightsBytes: 1003, kvBytes: 0, activeBytes: 1003 });
    expect(demand).toMatchObject({ embeddingBytes: 1000, tiedBytes: 1000 });
  });

  it('reads of experts only the share that a token uses', () => {
    const sizes = { ...plain, 'blk.1.ffn_up_exps.weight': 800, 'blk.1.ffn_up_shexp.weight': 5 };
    const demand = modelDemand(
      modelWith(sizes, { 'llama.expert_count': 8, 'llama.expert_used_count': 2 }),
      options,
    );
    expect(demand.isMixture).toBe(true);
    expect(demand.units[1]).toMatchObject({ weightsBytes: 845, activeBytes: 245 });
    expect(modelDemand(modelWith(plain), options).isMixture).toBe(false);
  });

  it('reads no more than all experts, whatever the file says', () => {
    const sizes = { ...plain, 'blk.1.ffn_up_exps.weight': 800 };
    const { units } = modelDemand(
      modelWith(sizes, { 'llama.expert_count': 2, 'llama.expert_used_count': 9 }),
      options,
    );
    expect(units[1]?.activeBytes).toBe(840);
  });

  it.each([
    ['position_embd.weight', 'embeddingBytes'],
    ['token_types.weight', 'embeddingBytes'],
    ['token_embd_norm.weight', 'embeddingBytes'],
    ['per_layer_token_embd.weight', 'embeddingBytes'],
    ['rope_freqs.weight', 'computeBytes'],
  ] as const)('counts %s in %s', (name, field) => {
    const without = modelDemand(modelWith(plain), options);
    const demand = modelDemand(modelWith({ ...plain, [name]: 64 }), options);
    expect(demand[field]).toBe(without[field] + 64);
    expect(demand.units).toEqual(without.units);
  });

  it('counts what belongs to no layer with the output', () => {
    expect(weightsOf({ ...plain, 'cls.weight': 7 })).toEqual([30, 40, 710]);
  });

  it('counts a block beyond the last layer with it', () => {
    expect(weightsOf({ ...plain, 'blk.2.nextn.weight': 9 })).toEqual([30, 49, 703]);
  });

  it('loses and adds nothing: all parts together are what the memory estimate says', () => {
    for (const shape of Object.values(modelShapes)) {
      const demand = demandOf(shape, 8192, 2);
      const estimate = estimateMemory(describeModel(modelOf(shape)), { contextTokens: 8192, parallel: 2 });
      const unitBytes = demand.units.reduce((sum, unit) => sum + unit.weightsBytes + unit.kvBytes, 0);
      const { embeddingBytes, tiedBytes, computeBytes, outputComputeBytes, overheadBytes } = demand;
      expect(unitBytes + embeddingBytes - tiedBytes + computeBytes + outputComputeBytes + overheadBytes).toBe(
        estimate.totalBytes,
      );
    }
  });

  it('keeps the digest, and is one unit without layers', () => {
    const demand = modelDemand(modelWith(plain, { 'llama.block_count': 0 }), { ...options, digest: 'aa' });
    expect(demand.digest).toBe('aa');
    expect(demand.units.map(({ weightsBytes }) => weightsBytes)).toEqual([773]);
  });
});
