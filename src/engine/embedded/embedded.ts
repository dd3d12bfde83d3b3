// The embedded engine: node-llama-cpp, one process of ours per model. The default when nothing else is
// there, because it needs no compiler; what it cannot do cleanly it refuses by name.
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { MeshnodeError } from '../../util/errors.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import type { Engine, LoadedModel, LoadOptions, ModelFile } from '../engine.ts';
import { supervise } from '../supervisor.ts';
import type { EmbeddedEngineComponents } from './components.ts';
import { EmbeddedModel } from './embedded-model.ts';
import type { RuntimeDevice } from './runtime.ts';
import { startWorker, WorkerRun } from './worker-run.ts';

/** Makes the embedded engine. Nothing native is touched before a model is loaded. */
export function createEmbeddedEngine(components: EmbeddedEngineComponents): Engine {
  return {
    name: 'embedded',
    available: async () => (isInstalled() ? { ok: true } : { ok: false, ...notInstalled }),
    load: (model, options) => loadModel(components, model, options),
  };
}

/**
 * The GPUs that node-llama-cpp would compute on, asked in a process of its own; none if it computes on the
 * CPU, undefined if it cannot run here.
 */
export async function embeddedDevices(
  components: EmbeddedEngineComponents,
  signal: AbortSignal,
): Promise<RuntimeDevice[] | undefined> {
  if (!isInstalled()) {
    return undefined;
  }
  const run = new WorkerRun(startWorker(components, workerPath(), 'devices'), components);
  const patience = new AbortController();
  const giveUp = components.clock.after(engineLimits.startTimeoutMs, () =>
    patience.abort(new MeshnodeError('engine_timeout', 'The runtime does not list its devices in time.')),
  );
  try {
    const either = AbortSignal.any([signal, patience.signal]);
    for await (const message of run.job((job) => ({ type: 'devices', job }), either)) {
      if (message.type === 'devices') {
        return message.devices;
      }
    }
    return undefined;
  } catch (cause) {
    if (!signal.aborted) {
      components.log.warn({ err: cause }, 'the embedded engine could not list its devices');
    }
    return undefined;
  } finally {
    giveUp.cancel();
    await run.stop();
  }
}

const notInstalled = {
  reason: 'The optional dependency node-llama-cpp is not installed.',
  hint: 'Run `npm install` again without --omit=optional.',
};

async function loadModel(
  components: EmbeddedEngineComponents,
  file: ModelFile,
  options: LoadOptions,
): Promise<LoadedModel> {
  if (!isInstalled()) {
    throw new MeshnodeError('engine_missing', notInstalled.reason, { hint: notInstalled.hint });
  }
  const command = {
    type: 'load',
    path: file.path,
    parallel: options.parallel ?? engineLimits.parallel,
    ...(options.contextTokens === undefined ? {} : { contextTokens: options.contextTokens }),
    ...(options.maxMemoryBytes === undefined ? {} : { maxMemoryBytes: options.maxMemoryBytes }),
    threads: options.threads ?? defaultThreads(),
  } as const;
  const supervised = await supervise({
    name: `embedded/${file.name}`,
    start: async (signal) => {
      options.onProgress?.({ stage: 'starting' });
      const run = new WorkerRun(startWorker(components, workerPath(), file.name), components);
      await run.load(command, signal, (fraction) => options.onProgress?.({ stage: 'loading', fraction }));
      return run;
    },
    clock: components.clock,
    random: components.random,
    log: components.log,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  return new EmbeddedModel(file.name, supervised, components);
}

/**
 * One thread less than there are cores: llama.cpp's threads wait for each other spinning, and with none left
 * for the node and the rest of the machine they fall to a fraction of their speed.
 */
function defaultThreads(): number {
  return Math.max(1, availableParallelism() - 1);
}

function isInstalled(): boolean {
  try {
    import.meta.resolve('node-llama-cpp');
    return true;
  } catch {
    return false;
  }
}

/** The process's program: its source when run unbuilt, else the bundle beside ours. */
function workerPath(): string {
  const name = import.meta.url.endsWith('.ts') ? './worker.ts' : './embedded-worker.mjs';
  return fileURLToPath(new URL(name, import.meta.url));
}
