// Turns trained weights into a demo model: `node export-trained.ts WEIGHTS.safetensors OUT.gguf`.
// It quantises and adds metadata; it never changes what was trained.
import { stat } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import type { GgufMetadata, GgufValue } from '../../src/models/gguf.ts';
import { float32Value, stringValue, uint32Value } from '../../src/models/gguf-values.ts';
import { type TensorContent, writeGguf } from '../../src/models/gguf-writer.ts';
import { type EncodableType, encodeTensor } from '../../src/models/synthetic-quantise.ts';
import { chatTemplate, tokenizerMetadata, vocabularySize } from '../../src/models/synthetic-tokenizer.ts';
import { type FloatTensor, readSafetensors } from './safetensors.ts';

/** `Shape` of training/train.py. */
const networkShape = z.object({
  embedding: z.number().int(),
  layers: z.number().int(),
  heads: z.number().int(),
  feed_forward: z.number().int(),
  experts: z.number().int(),
  experts_used: z.number().int(),
  rope_base: z.number(),
  context: z.number().int(),
});

type NetworkShape = z.infer<typeof networkShape>;

/** `EPSILON` of training/train.py. */
const normEpsilon = 1e-5;

function modelMetadata(shape: NetworkShape): GgufMetadata {
  const entries: Array<[string, GgufValue]> = [
    ['general.architecture', stringValue('llama')],
    ['general.name', stringValue(shape.experts > 0 ? 'meshnode demo moe' : 'meshnode demo')],
    ['general.description', stringValue('A tiny model, trained from scratch on text the project generates')],
    ['general.license', stringValue('apache-2.0')],
    ['llama.vocab_size', uint32Value(vocabularySize)],
    ['llama.context_length', uint32Value(shape.context)],
    ['llama.embedding_length', uint32Value(shape.embedding)],
    ['llama.block_count', uint32Value(shape.layers)],
    ['llama.feed_forward_length', uint32Value(shape.feed_forward)],
    ['llama.attention.head_count', uint32Value(shape.heads)],
    ['llama.attention.head_count_kv', uint32Value(shape.heads)],
    ['llama.attention.layer_norm_rms_epsilon', float32Value(normEpsilon)],
    ['llama.rope.dimension_count', uint32Value(shape.embedding / shape.heads)],
    ['llama.rope.freq_base', float32Value(shape.rope_base)],
  ];
  if (shape.experts > 0) {
    entries.push(['llama.expert_count', uint32Value(shape.experts)]);
    entries.push(['llama.expert_used_count', uint32Value(shape.experts_used)]);
  }
  return new Map([...entries, ...tokenizerMetadata({ chatTemplate })]);
}

/**
 * Embedding and output hold one value thousands of times the others of its row, which would cost a
 * quantised block all its precision: they stay in half precision. Norms and router are small and exact.
 */
function storedType(name: string, tensor: FloatTensor): EncodableType {
  if (tensor.shape.length === 1 || name.includes('ffn_gate_inp')) {
    return 'F32';
  }
  return name === 'token_embd.weight' || name === 'output.weight' ? 'F16' : 'Q8_0';
}

function storedTensor(name: string, tensor: FloatTensor): TensorContent {
  const type = storedType(name, tensor);
  return {
    name,
    type,
    dimensions: tensor.shape.toReversed(),
    data: () => encodeTensor(type, tensor.values),
  };
}

const { positionals } = parseArgs({ allowPositionals: true });
const [weightsPath, modelPath] = positionals;
if (weightsPath === undefined || modelPath === undefined) {
  process.stderr.write('usage: node export-trained.ts WEIGHTS.safetensors OUT.gguf\n');
  process.exit(2);
}
const { metadata, tensors } = await readSafetensors(weightsPath);
const shape = networkShape.parse(JSON.parse(metadata['shape'] ?? '{}'));
await writeGguf(modelPath, {
  metadata: modelMetadata(shape),
  tensors: [...tensors].map(([name, tensor]) => storedTensor(name, tensor)),
});
process.stderr.write(`${modelPath}: ${(await stat(modelPath)).size} bytes\n`);
