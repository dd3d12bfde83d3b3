// How a llama-server is started: its arguments and its environment. Pure; what a request may ask of it is not here.
import { engineLimits } from '../../util/limits/engine.ts';
import { MiB } from '../../util/limits/units.ts';
import { engineEnvironment } from '../engine-environment.ts';
import type { ServedSize } from './choose-size.ts';

/** Which layers go to GPUs: all, as many as fit, or none because there is no GPU. */
export type Offload = 'all' | 'fitting' | 'none';

export interface Launch {
  readonly modelPath: string;
  /** By which requests call the model. */
  readonly alias: string;
  readonly use: 'generate' | 'embed' | 'rank';
  readonly size: ServedSize;
  readonly threads: number;
  readonly offload: Offload;
  /** What is to stay free on each GPU, bytes, if layers are fitted. */
  readonly freePerGpuBytes: number;
  /** Where it listens. */
  readonly socketPath: string;
  /** Memory that the cache of prompts which no slot holds any more may take, bytes. */
  readonly promptCacheBytes: number;
}

/** The command line. Everything that decides over files, other models or pages is off, whatever its default is. */
export function serverArguments(launch: Launch): string[] {
  const { modelPath, alias, use, size, threads, offload, socketPath } = launch;
  return [
    ...['--model', modelPath, '--alias', alias, '--host', socketPath],
    // Each slot has its own part of the context: what one request takes no other has to go without.
    ...[
      '--ctx-size',
      String(size.contextTokens * size.slots),
      '--parallel',
      String(size.slots),
      '--no-kv-unified',
    ],
    ...['--threads', String(threads), '--threads-batch', String(threads)],
    ...['--threads-http', String(size.slots + engineLimits.serverThreads)],
    ...offloadArguments[offload],
    ...(offload === 'fitting' ? ['--fit-target', String(Math.ceil(launch.freePerGpuBytes / MiB))] : []),
    ...['--ctx-checkpoints', String(engineLimits.contextCheckpoints)],
    ...['--cache-ram', String(Math.floor(launch.promptCacheBytes / MiB))],
    ...['--metrics', '--no-slots', '--no-webui', '--offline', '--jinja', '--log-colors', 'off'],
    ...(use === 'generate' ? generationArguments(offload !== 'none') : listArguments(use, size)),
  ];
}

/** llama.cpp's own fitting looks at what is free on each GPU; where all fits it would only take time. */
const offloadArguments: Readonly<Record<Offload, readonly string[]>> = {
  all: ['--n-gpu-layers', 'all', '--fit', 'off'],
  fitting: ['--n-gpu-layers', 'auto', '--fit', 'on'],
  none: ['--n-gpu-layers', '0', '--fit', 'off'],
};

/** Between two batches of a prompt the server hears of cancels, and other answers go on: a CPU takes smaller ones. */
function generationArguments(hasGpu: boolean): string[] {
  const batch = String(hasGpu ? engineLimits.gpuBatchTokens : engineLimits.cpuBatchTokens);
  return ['--batch-size', batch, '--ubatch-size', batch];
}

/** A text to embed or rank is computed in one batch. */
function listArguments(use: 'embed' | 'rank', { contextTokens }: ServedSize): string[] {
  const batch = String(contextTokens);
  return [
    '--embeddings',
    ...(use === 'rank' ? ['--reranking'] : []),
    '--batch-size',
    batch,
    '--ubatch-size',
    batch,
  ];
}

/**
 * The whole environment: what engines see, the key (arguments are seen by every user of the machine), and no
 * debugger: on an abort ggml would start one, which takes seconds.
 */
export function serverEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  key: string,
): Record<string, string> {
  return { ...engineEnvironment(environment), LLAMA_API_KEY: key, GGML_NO_BACKTRACE: '1' };
}
