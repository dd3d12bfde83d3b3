// The parts of a node that touch the machine: engines, model store, memory, attached servers. The one
// place where serving's ports meet the real things; tests hand other parts to the node.
import { realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createEmbeddedEngine } from '../engine/embedded/embedded.ts';
import type { Engine } from '../engine/engine.ts';
import { detectHardware } from '../engine/hardware/detect.ts';
import type { Device, Hardware } from '../engine/hardware/device.ts';
import { thisMachine } from '../engine/hardware/system-source.ts';
import type { LlamaServerComponents } from '../engine/llama-server/components.ts';
import { createLlamaServerEngine } from '../engine/llama-server/llama-server.ts';
import { buildText } from '../engine/native/program-version.ts';
import { attachOpenAiUrl } from '../engine/openai-url/openai-url.ts';
import { openProcessRegistry } from '../engine/process-registry.ts';
import { isLoopbackHost } from '../http/loopback.ts';
import { ModelDigests } from '../models/digest.ts';
import { Hub } from '../models/hub.ts';
import { HubCache } from '../models/hub-cache.ts';
import { readHubSettings } from '../models/hub-settings.ts';
import { estimateMemory } from '../models/memory-estimate.ts';
import { readModelFiles } from '../models/model-files.ts';
import { describeModel } from '../models/model-info.ts';
import { type ResolvedModel, resolveModel } from '../models/resolve-model.ts';
import { ModelStore } from '../models/store.ts';
import type { MemoryFit, ServingOptions, ServingPorts } from '../serving/ports.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';
import { downloadLimits } from '../util/limits/models.ts';
import type { Logger } from '../util/logging.ts';
import type { Random } from '../util/random.ts';
import type { Environment } from './config.ts';
import type { NodeConfig } from './config-schema.ts';
import { NativeEngine } from './native-engine.ts';

/** What a node needs of its machine. */
export interface NodeParts {
  /** Engines that load files, the preferred one first. */
  readonly engines: readonly Engine[];
  readonly ports: ServingPorts;
  detectHardware(signal?: AbortSignal): Promise<Hardware>;
  /** Build of the programs that compute with others' devices and lend ours; undefined: they are not there. */
  rpcBuild(signal?: AbortSignal): Promise<string | undefined>;
  /** Resolves once nothing is written any more; the folder may be given free then. */
  close(): Promise<void>;
}

export interface PartsContext {
  readonly config: NodeConfig;
  readonly environment: Environment;
  readonly dataDir: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** The models that ship with the project. Built, this file lies one folder below the root. */
export const demoFolder = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../models/demo' : '../models/demo', import.meta.url),
);

/** The model store of this machine, which the command line uses too, running node or not. */
export async function openModelStore(
  dataDir: string,
  parts: Pick<PartsContext, 'clock' | 'random' | 'log'>,
): Promise<{ hub: Hub; store: ModelStore }> {
  const settings = await readHubSettings();
  const hub = new Hub({
    ...parts,
    limits: downloadLimits,
    settings,
    cache: new HubCache(settings.cacheFolder),
  });
  const usageFile = join(dataDir, 'model-usage.json');
  return { hub, store: new ModelStore({ ...parts, hub, demoFolder, usageFile }) };
}

/** The machine's own parts. Ends processes that a dead node left behind before anything is started. */
export async function machineParts(context: PartsContext): Promise<NodeParts> {
  const { config, environment, dataDir, clock, random, log } = context;
  const registry = await openProcessRegistry({ path: join(dataDir, 'processes.json'), clock, log });
  const engineParts = { clock, random, log, registry };
  const { hub, store } = await openModelStore(dataDir, context);
  const digests = new ModelDigests(join(dataDir, 'digests.json'), log);
  const native = new NativeEngine(config, environment);
  const withEngine = () => native.machine(engineParts);
  const bound = (heldBytes: number) =>
    config.maxVram === undefined ? {} : { maxVramBytes: Math.max(0, config.maxVram - heldBytes) };
  const serverParts = { ...llamaServerParts(context, native), registry };
  await rm(serverParts.runFolder, { recursive: true, force: true }); // Sockets of a node that was killed.
  const attachKey = attachKeyOf(config, environment);
  if (attachKey !== undefined) {
    warnOfOpenWires(config.attach, log);
  }
  return {
    engines: enginesOf(config, serverParts),
    detectHardware: (signal) =>
      detectHardware(withEngine(), { ...bound(0), ...(signal === undefined ? {} : { signal }) }),
    rpcBuild: async (signal) => {
      const { programs } = await native.search(signal);
      return programs?.rpcServer === undefined ? undefined : buildText(programs.build);
    },
    close: () => registry.written(),
    ports: {
      resolve: async (reference, options) => {
        const model = await resolveModel(reference, { hub, demoFolder }, options);
        await store.markUsed(model);
        return model;
      },
      identity: ({ path }) => realpath(path),
      digest: async (model, signal) =>
        model.hubSha256 ??
        (await digests.compute(
          model.files.map(({ path }) => path),
          { signal },
        )),
      fit: async (model, options, heldBytes, signal) => {
        const within = { ...bound(heldBytes), signal };
        const quick = await memoryFit(model, options, await detectHardware(thisMachine(), within));
        // Asking the engine starts a process that loads the native runtime: only if it may change the answer.
        return quick.neededBytes <= quick.usableBytes
          ? quick
          : memoryFit(model, options, await detectHardware(withEngine(), within));
      },
      demand: async (model, loaded) =>
        estimateMemory(describeModel(await readModelFiles(model.path)), loaded).totalBytes,
      attach: (url, signal) =>
        attachOpenAiUrl({
          url,
          ...(attachKey === undefined ? {} : { apiKey: attachKey }),
          clock,
          random,
          log,
          signal,
        }),
    },
  };
}

/** What the llama-server engine of a data folder needs. */
export function llamaServerParts(
  { environment, dataDir, clock, random, log }: Omit<PartsContext, 'config'>,
  native: NativeEngine,
): LlamaServerComponents {
  return {
    ...{ clock, random, log, environment },
    runFolder: join(dataDir, 'run'),
    findPrograms: (signal) => native.search(signal),
    usableMemory: async (signal) => {
      const options = signal === undefined ? {} : { signal };
      const { devices } = await detectHardware(native.machine({ clock, random, log }), options);
      const gpus = devices.filter(({ kind }) => kind !== 'cpu');
      return { gpus: gpus.length, gpuBytes: usableBytesOf(gpus), totalBytes: usableBytesOf(devices) };
    },
  };
}

/** The engines that a configuration allows for model files, the preferred one first. */
export function enginesOf(
  { engine }: Pick<NodeConfig, 'engine'>,
  parts: LlamaServerComponents,
): readonly Engine[] {
  const native = createLlamaServerEngine(parts);
  const embedded = createEmbeddedEngine(parts);
  return { auto: [native, embedded], 'llama-server': [native], embedded: [embedded] }[engine];
}

/**
 * The key of attached servers, from the variable that the configuration names. Throws `config_invalid`, also
 * if more than one server would get to know it.
 */
export function attachKeyOf(
  { attach, attachKeyEnv }: NodeConfig,
  environment: Environment,
): string | undefined {
  if (attachKeyEnv === undefined) {
    return undefined;
  }
  const key = environment[attachKeyEnv];
  if (key === undefined || key === '') {
    throw new MeshnodeError('config_invalid', `The environment variable ${attachKeyEnv} is not set.`, {
      hint: 'Set it to the key of the attached servers, or leave --attach-key out.',
    });
  }
  const origins = [...new Set(attach.map((url) => new URL(url).origin))];
  if (origins.length > 1) {
    throw new MeshnodeError(
      'config_invalid',
      `The key of --attach-key would be sent to ${origins.length} servers: ${origins.join(', ')}.`,
      { hint: 'Attach the server that the key is for alone, or leave --attach-key out.' },
    );
  }
  return key;
}

/** A key that crosses a network unencrypted can be read on the way. */
function warnOfOpenWires(urls: readonly string[], log: Logger): void {
  for (const { protocol, hostname, origin } of urls.map((url) => new URL(url))) {
    if (protocol === 'http:' && !isLoopbackHost(hostname)) {
      log.warn({ url: origin }, 'the key of the attached server is sent over http, unencrypted: use https');
    }
  }
}

/** The least that is worth loading: where no context is asked for, the engine takes what memory allows. */
async function memoryFit(
  model: ResolvedModel,
  options: ServingOptions,
  hardware: Hardware,
): Promise<MemoryFit> {
  const info = describeModel(await readModelFiles(model.path));
  const contextTokens = options.contextTokens ?? engineLimits.minContext;
  const { totalBytes } = estimateMemory(info, { contextTokens, parallel: options.parallel ?? 1 });
  return { neededBytes: totalBytes, usableBytes: usableBytesOf(hardware.devices), contextTokens };
}

/** What one model can be spread over: every device, but memory that several share only once. */
export function usableBytesOf(devices: readonly Device[]): number {
  const shared = devices.filter(({ unified }) => unified).map(({ usableBytes }) => usableBytes);
  const own = devices.filter(({ unified }) => !unified).map(({ usableBytes }) => usableBytes);
  return Math.max(0, ...shared) + own.reduce((sum, bytes) => sum + bytes, 0);
}
