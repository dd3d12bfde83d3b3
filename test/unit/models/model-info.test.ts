import { describe, expect, it } from 'vitest';
import type { GgmlTypeName, GgufTensor, GgufValue } from '../../../src/models/gguf.ts';
import { arrayValue, boolValue, stringValue, uint32Value } from '../../../src/models/gguf-values.ts';
import { estimateMemory } from '../../../src/models/memory-estimate.ts';
import { describeGguf, kvBytesPerToken, type ModelInfo } from '../../../src/models/model-info.ts';

/** The metadata of an 8 B llama. */
const llama: ReadonlyArray<[string, GgufValue]> = [
  ['general.architecture', stringValue('llama')],
  ['general.name', stringValue('Llama 8B')],
  ['general.file_type', uint32Value(15)],
  ['llama.block_count', uint32Value(32)],
  ['llama.context_length', uint32Value(131_072)],
  ['llama.embedding_length', uint32Value(4096)],
  ['llama.attention.head_count', uint32Value(32)],
  ['llama.attention.head_count_kv', uint32Value(8)],
  ['tokenizer.ggml.tokens', { type: 'array', elementType: 'string', count: 128_256, fileOffset: 1000 }],
  ['tokenizer.chat_template', stringValue('{{ messages }}')],
];

function tensor(type: GgmlTypeName, dimensions: number[], sizeBytes: number): GgufTensor {
  return { name: type, type, dimensions, offset: 0, sizeBytes };
}

function describeWith(extra: ReadonlyArray<[string, GgufValue]>, tensors: GgufTensor[] = []): ModelInfo {
  return describeGguf({ metadata: new Map([...llama, ...extra]), tensors });
}

describe('what a model is', () => {
  it('is read from its metadata', () => {
    expect(describeWith([], [tensor('Q4_K', [4096, 100], 230_400)])).toMatchObject({
      architecture: 'llama',
      name: 'Llama 8B',
      parameterCount: 409_600,
      weightsBytes: 230_400,
      quantisation: 'Q4_K_M',
      layerCount: 32,
      contextTokens: 131_072,
      embeddingLength: 4096,
      headCount: 32,
      keyLength: 128,
      valueLength: 128,
      vocabularySize: 128_256,
      chatTemplate: '{{ messages }}',
      poolingType: 'none',
    });
  });

  it('survives a file that says nothing', () => {
    const info = describeGguf({ metadata: new Map(), tensors: [] });
    expect(info).toMatchObject({ architecture: 'unknown', quantisation: 'unknown', layerCount: 0 });
    expect(kvBytesPerToken(info)).toBe(0);
  });

  it('survives values of other types than expected', () => {
    const info = describeWith([
      ['llama.block_count', stringValue('many')],
      ['llama.attention.head_count', arrayValue('string', ['8'])],
      ['general.file_type', boolValue(true)],
    ]);
    expect(info).toMatchObject({ layerCount: 0, quantisation: 'unknown' });
  });

  it('does not believe in a million layers', () => {
    expect(describeWith([['llama.block_count', uint32Value(1_000_000)]]).layerCount).toBe(512);
  });

  it('names the commonest tensor type where the file has no label', () => {
    const tensors = [tensor('F32', [10], 40), tensor('Q8_0', [64, 10], 680)];
    expect(describeGguf({ metadata: new Map(), tensors }).quantisation).toBe('Q8_0');
  });

  it('counts experts', () => {
    const info = describeWith([
      ['llama.expert_count', uint32Value(8)],
      ['llama.expert_used_count', uint32Value(2)],
    ]);
    expect(info.experts).toEqual({ count: 8, used: 2 });
    expect(describeWith([]).experts).toBeUndefined();
  });
});

describe('what a model can be asked for', () => {
  const cases: Array<[string, string[], Array<[string, GgufValue]>]> = [
    ['a chat model', ['chat', 'completion'], []],
    ['a base model', ['completion'], [['tokenizer.chat_template', uint32Value(0)]]],
    ['one with mean pooling', ['embedding'], [['llama.pooling_type', uint32Value(1)]]],
    ['one with last-token pooling', ['embedding'], [['llama.pooling_type', uint32Value(3)]]],
    ['one with rank pooling', ['rerank'], [['llama.pooling_type', uint32Value(4)]]],
    ['one without causal attention', ['embedding'], [['llama.attention.causal', boolValue(false)]]],
    ['an encoder', ['embedding'], [['general.architecture', stringValue('bert')]]],
    ['an adapter', [], [['general.type', stringValue('adapter')]]],
    ['an image projector', [], [['general.architecture', stringValue('clip')]]],
  ];
  it.each(cases)('%s: %j', (_, uses, extra) => {
    expect([...describeWith(extra).uses]).toEqual(uses);
  });
});

describe('the key-value cache', () => {
  it('of an 8 B llama takes 128 KiB a token', () => {
    expect(kvBytesPerToken(describeWith([]))).toBe(128 * 1024);
    expect(kvBytesPerToken(describeWith([]), 1)).toBe(64 * 1024);
  });

  it('counts as many heads as there are where nothing else is said', () => {
    const info = describeGguf({
      metadata: new Map(llama.filter(([key]) => key !== 'llama.attention.head_count_kv')),
      tensors: [],
    });
    expect(kvBytesPerToken(info)).toBe(512 * 1024);
  });

  it('counts heads layer by layer where they differ', () => {
    const heads = Array.from({ length: 32 }, (_, layer) => (layer % 4 === 0 ? 8 : 0));
    const info = describeWith([['llama.attention.head_count_kv', arrayValue('uint32', heads)]]);
    expect(kvBytesPerToken(info)).toBe((128 * 1024) / 4);
  });

  it('uses the lengths of keys and values where they are given', () => {
    const info = describeWith([
      ['llama.attention.key_length', uint32Value(64)],
      ['llama.attention.value_length', uint32Value(32)],
    ]);
    expect(kvBytesPerToken(info)).toBe(32 * 8 * (64 + 32) * 2);
  });
});

describe('the memory estimate', () => {
  const info = describeWith([], [tensor('Q4_K', [4096, 1_000_000], 4_600_000_000)]);

  it('is the sum of its parts', () => {
    const estimate = estimateMemory(info, { contextTokens: 4096, parallel: 1 });
    expect(estimate.weightsBytes).toBe(4_600_000_000);
    expect(estimate.kvBytes).toBe(4096 * 128 * 1024);
    const { weightsBytes, kvBytes, computeBytes, overheadBytes } = estimate;
    expect(estimate.totalBytes).toBe(weightsBytes + kvBytes + computeBytes + overheadBytes);
  });

  it('grows with context and sequences alike', () => {
    const wide = estimateMemory(info, { contextTokens: 1024, parallel: 4 });
    expect(wide).toEqual(estimateMemory(info, { contextTokens: 4096, parallel: 1 }));
  });

  it('shrinks with a quantised cache', () => {
    const demand = { contextTokens: 4096, parallel: 1 };
    const full = estimateMemory(info, demand).kvBytes;
    expect(estimateMemory(info, { ...demand, kvElementBytes: 1 }).kvBytes).toBe(full / 2);
  });
});
