// The native engine of this machine as the node and the commands see it: where its programs are, remembered once they
// are found, and what they compute on.

import type { EmbeddedEngineComponents } from '../engine/embedded/components.ts';
import { embeddedDevices } from '../engine/embedded/embedded.ts';
import type { EngineDevice } from '../engine/hardware/engine-devices.ts';
import { type SystemSource, thisMachine } from '../engine/hardware/system-source.ts';
import { findPrograms, listDevices, type NativeSearch } from '../engine/native/find-programs.ts';
import { findRuntimePackage } from '../engine/native/runtime-package.ts';
import { runCommand } from '../engine/run-command.ts';
import type { Environment } from './config.ts';
import type { NodeConfig } from './config-schema.ts';
import { engineCacheFolder } from './paths.ts';

export class NativeEngine {
  readonly #configuredPath: string | undefined;
  readonly #environment: Environment;
  #found: NativeSearch | undefined;

  constructor({ llamaServer }: Pick<NodeConfig, 'llamaServer'>, environment: Environment) {
    this.#configuredPath = llamaServer;
    this.#environment = environment;
  }

  /** Looks again as long as nothing was found: it may be built while a node runs. Rejects as `findPrograms`. */
  async search(signal?: AbortSignal): Promise<NativeSearch> {
    if (this.#found?.programs !== undefined) {
      return this.#found;
    }
    this.#found = await findPrograms({
      cacheFolder: engineCacheFolder(),
      package: await findRuntimePackage({ os: process.platform, arch: process.arch }),
      configuredPath: this.#configuredPath,
      environment: this.#environment,
      run: runCommand,
      ...(signal === undefined ? {} : { signal }),
    });
    return this.#found;
  }

  /** GPUs and what is free of them now, as the engine that would be used sees them; undefined: it cannot tell. */
  async devices(
    embedded: EmbeddedEngineComponents,
    signal: AbortSignal,
  ): Promise<readonly EngineDevice[] | undefined> {
    // What is configured and does not work is told where it is used.
    const programs = await this.search(signal).then(
      (found) => found.programs,
      () => undefined,
    );
    return programs === undefined
      ? embeddedDevices(embedded, signal)
      : listDevices(programs.llamaServer, runCommand, signal);
  }

  /** The machine, with the engine's own word on its GPUs. */
  machine(embedded: EmbeddedEngineComponents): SystemSource {
    return {
      ...thisMachine(),
      engineDevices: (signal) => this.devices(embedded, signal ?? new AbortController().signal),
    };
  }
}
