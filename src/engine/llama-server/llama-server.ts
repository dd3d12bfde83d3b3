// The engine `llama-server`: llama.cpp's own server, one supervised process a model, over a unix socket with a key that
// nobody else has. Preferred where its program is there: it batches, and does what the embedded engine cannot.
import { availableParallelism } from 'node:os';
import { modelDemand } from '../../models/model-demand.ts';
import { type ModelFiles, readModelFiles } from '../../models/model-files.ts';
import { describeModel, type ModelInfo } from '../../models/model-info.ts';
import { asMeshnodeError, MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { Engine, LoadedModel, LoadOptions, ModelFile } from '../engine.ts';
import type { NativePrograms } from '../native/find-programs.ts';
import { supervise } from '../supervisor.ts';
import type { LlamaServerComponents } from './components.ts';
import { fitModel } from './fit-model.ts';
import { type ServedUse, ServerModel } from './server-model.ts';
import { startServer } from './server-run.ts';

/** Makes the engine. Nothing is looked for before it is asked whether it is available. */
export function createLlamaServerEngine(components: LlamaServerComponents): Engine {
  return {
    name: 'llama-server',
    available: () => availability(components),
    load: (model, options) => loadModel(components, model, options),
  };
}

async function availability(components: LlamaServerComponents): ReturnType<Engine['available']> {
  try {
    const { programs, passedOver } = await components.findPrograms();
    if (programs !== undefined) {
      return { ok: true };
    }
    const [first] = passedOver;
    const reason = first === undefined ? 'llama-server is not built.' : `${first.path}: ${first.reason}`;
    return { ok: false, reason, hint: 'Run `meshnode engine build`; `meshnode engine status` says more.' };
  } catch (thrown) {
    const { message, hint } = asMeshnodeError(thrown);
    components.log.warn({ message, hint }, 'the native engine cannot be used');
    return { ok: false, reason: message, hint };
  }
}

async function loadModel(
  components: LlamaServerComponents,
  file: ModelFile,
  options: LoadOptions,
): Promise<LoadedModel> {
  const { clock, random, log } = components;
  const files = await readModelFiles(file.path);
  const info = describeModel(files);
  const use = useOf(file.name, info);
  const memory = await components.usableMemory(options.signal);
  const { usableBytes, ...fit } = fitModel(info, options, memory);
  const shared = {
    modelPath: file.path,
    alias: file.name,
    ...{ use, ...fit },
    threads: options.threads ?? defaultThreads(),
    promptCacheBytes: Math.min(engineLimits.promptCacheBytes, usableBytes * engineLimits.promptCacheShare),
  };
  const supervised = await supervise({
    name: `llama-server/${file.name}`,
    start: async (signal) => {
      options.onProgress?.({ stage: 'starting' });
      // Each time: what was found before the last crash may have been built again or moved.
      const { llamaServer } = await requirePrograms(components, signal);
      const { weightsBytes } = info;
      const onProgress = (fraction: number): void => options.onProgress?.({ stage: 'loading', fraction });
      return startServer(components, { llamaServer, launch: shared, weightsBytes, onProgress }, signal);
    },
    clock,
    random,
    log,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  return new ServerModel(file.name, use, supervised, { clock, random, activeBytes: activeBytesOf(files) });
}

/** Weights that one token needs, all layers together. */
function activeBytesOf(files: ModelFiles): number {
  const { units } = modelDemand(files, { name: '', contextTokens: 1, parallel: 1 });
  return units.reduce((sum, { activeBytes }) => sum + activeBytes, 0);
}

async function requirePrograms(
  components: LlamaServerComponents,
  signal?: AbortSignal,
): Promise<NativePrograms> {
  const { programs } = await components.findPrograms(signal);
  if (programs === undefined) {
    throw new MeshnodeError('engine_missing', 'llama-server is not built.', {
      hint: 'Run `meshnode engine build`.',
    });
  }
  return programs;
}

function useOf(name: string, { uses }: ModelInfo): ServedUse {
  if (uses.has('embedding')) {
    return 'embed';
  }
  if (uses.has('rerank')) {
    return 'rank';
  }
  if (!uses.has('completion')) {
    throw new MeshnodeError('model_failed', `${name} is no model that can be asked anything.`);
  }
  return 'generate';
}

/** One thread less than there are cores: see the embedded engine, whose threads spin in the same way. */
function defaultThreads(): number {
  return Math.max(1, availableParallelism() - 1);
}
