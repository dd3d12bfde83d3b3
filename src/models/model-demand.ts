// What a model asks of the devices that hold it, cut where llama.cpp can cut it: layer by layer, then the output. Pure
// arithmetic over the tensor table; who holds what is decided by placement/.
import type { GgufTensor } from './gguf.ts';
import { computeMemory, type MemoryDemand, processBytes } from './memory-estimate.ts';
import type { ModelFiles } from './model-files.ts';
import { describeModel, kvBytesPerTokenOfLayers, type ModelInfo } from './model-info.ts';

/** The least that a device can hold of a model. */
export interface UnitDemand {
  readonly weightsBytes: number;
  readonly kvBytes: number;
  /** Weights that are read for each generated token: of experts only the share that is used. */
  readonly activeBytes: number;
}

export interface ModelDemand {
  readonly name: string;
  /** SHA-256 of the files, if known. */
  readonly digest?: string;
  /** The repeating layers in order, then the output (norm and head; where the head is tied, a copy of the token table). */
  readonly units: readonly UnitDemand[];
  /** Token table and the like: llama.cpp keeps them in the RAM of the host, whatever holds the layers. */
  readonly embeddingBytes: number;
  /** Of the output unit: bytes that are in the token table already, and shared where both lie in one memory. */
  readonly tiedBytes: number;
  /** Buffers of every device that holds any unit. */
  readonly computeBytes: number;
  /** Buffers more of the device that holds the output. */
  readonly outputComputeBytes: number;
  /** The process at the host, in its RAM. */
  readonly overheadBytes: number;
  /** Tokens of one slot, and slots: what the key-value cache is counted for. */
  readonly contextTokens: number;
  readonly slots: number;
  /** Whether layers hold experts of which each token uses some. */
  readonly isMixture: boolean;
}

export interface DemandOptions extends MemoryDemand {
  readonly name: string;
  readonly digest?: string;
}

/** Input layers of llama.cpp: tables that are looked up. The norm behind them weighs a few KiB. */
const inputTensor = /^(?:token_embd|token_embd_norm|position_embd|token_types|per_layer_token_embd)\./;
/** Factors of the rotation: every device that holds layers has its own copy. */
const sharedTensor = /^rope_/;
const layerTensor = /^(?:enc\.|dec\.)?blk\.(\d+)\./;
const expertTensor = /_(?:ch)?exps\./;

/** Counts what the model asks for with `options.parallel` slots of `options.contextTokens` each. */
export function modelDemand(model: ModelFiles, options: DemandOptions): ModelDemand {
  const info = describeModel(model);
  const { name, digest, contextTokens, parallel, kvElementBytes } = options;
  const weights = weighTensors(
    model.files.flatMap((file) => file.tensors),
    info,
  );
  const cachedTokens = contextTokens * parallel;
  const kvBytes = kvBytesPerTokenOfLayers(info, kvElementBytes).map((bytes) =>
    Math.ceil(bytes * cachedTokens),
  );
  const { layersBytes, outputBytes } = computeMemory(info, cachedTokens);
  return {
    name,
    ...(digest !== undefined && { digest }),
    units: weights.units.map(({ weightsBytes, activeBytes }, index) => ({
      weightsBytes,
      kvBytes: kvBytes[index] ?? 0,
      activeBytes: Math.ceil(activeBytes),
    })),
    embeddingBytes: weights.embeddingBytes,
    tiedBytes: weights.tiedBytes,
    computeBytes: layersBytes + weights.sharedBytes,
    outputComputeBytes: outputBytes,
    overheadBytes: processBytes,
    contextTokens,
    slots: parallel,
    isMixture: info.experts !== undefined,
  };
}

interface Weights {
  readonly units: { weightsBytes: number; activeBytes: number }[];
  embeddingBytes: number;
  tiedBytes: number;
  sharedBytes: number;
}

function weighTensors(tensors: readonly GgufTensor[], { layerCount, experts }: ModelInfo): Weights {
  const output = { weightsBytes: 0, activeBytes: 0 };
  const layers = Array.from({ length: layerCount }, () => ({ weightsBytes: 0, activeBytes: 0 }));
  const weights: Weights = { units: [...layers, output], embeddingBytes: 0, tiedBytes: 0, sharedBytes: 0 };
  // A file may say more experts are used than there are; no token reads more than all of them.
  const usedShare = experts === undefined ? 1 : Math.min(1, experts.used / experts.count);
  for (const { name, sizeBytes } of tensors) {
    if (inputTensor.test(name)) {
      weights.embeddingBytes += sizeBytes;
    } else if (sharedTensor.test(name)) {
      weights.sharedBytes += sizeBytes;
    } else {
      const unit = layers[layerOf(name, layerCount)] ?? output;
      unit.weightsBytes += sizeBytes;
      unit.activeBytes += sizeBytes * (expertTensor.test(name) ? usedShare : 1);
    }
  }
  if (!tensors.some(({ name }) => name === 'output.weight')) {
    const tied = tensors.find(({ name }) => name === 'token_embd.weight')?.sizeBytes ?? 0;
    output.weightsBytes += tied;
    output.activeBytes += tied;
    weights.tiedBytes = tied;
  }
  return weights;
}

/** Which layer a tensor belongs to, -1 if none. Blocks beyond the last layer count with it: they weigh all the same. */
function layerOf(name: string, layerCount: number): number {
  const [, block] = layerTensor.exec(name) ?? [];
  return block === undefined ? -1 : Math.min(Number(block), layerCount - 1);
}
