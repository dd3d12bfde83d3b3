// The native engine of this machine as the node and the commands see it: where its programs are, remembered once they
// are found, and what they compute on.

import { access } from 'node:fs/promises';
import type { EmbeddedEngineComponents } from '../engine/embedded/components.ts';
import { embeddedDevices } from '../engine/embedded/embedded.ts';
import { engineEnvironment } from '../engine/engine-environment.ts';
import type { EngineDevice } from '../engine/hardware/engine-devices.ts';
import { type SystemSource, thisMachine } from '../engine/hardware/system-source.ts';
import { findPrograms, listDevices, type NativeSearch } from '../engine/native/find-programs.ts';
import { findRuntimePackage } from '../engine/native/runtime-package.ts';
import { commandRunner, type RunCommand, runCommand } from '../engine/run-command.ts';
import { raceSignal } from '../util/async.ts';
import type { Environment } from './config.ts';
import type { NodeConfig } from './config-schema.ts';
import { engineCacheFolder } from './paths.ts';

export class NativeEngine {
  readonly #configuredPath: string | undefined;
  readonly #environment: Environment;
  readonly #runProgram: RunCommand;
  #found: NativeSearch | undefined;
  #searching: Promise<NativeSearch> | undefined;

  constructor({ llamaServer }: Pick<NodeConfig, 'llamaServer'>, environment: Environment) {
    this.#configuredPath = llamaServer;
    this.#environment = environment;
    this.#runProgram = commandRunner(engineEnvironment(environment));
  }

  /**
   * What was found is remembered as long as it is there and has told its devices: it may be built, built again or
   * removed while a node runs. Rejects as `findPrograms`, or with the signal's reason.
   */
  async search(signal?: AbortSignal): Promise<NativeSearch> {
    const programs = this.#found?.programs;
    if (
      this.#found !== undefined &&
      programs?.devices !== undefined &&
      (await isThere(programs.llamaServer))
    ) {
      return this.#found;
    }
    // One for all who ask meanwhile: a search sets folders up.
    this.#searching ??= this.#search().finally(() => {
      this.#searching = undefined;
    });
    return raceSignal(this.#searching, signal);
  }

  async #search(): Promise<NativeSearch> {
    this.#found = await findPrograms({
      cacheFolder: engineCacheFolder(),
      package: await findRuntimePackage({ os: process.platform, arch: process.arch }),
      configuredPath: this.#configuredPath,
      environment: this.#environment,
      run: runCommand,
      runProgram: this.#runProgram,
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
      : listDevices(programs.llamaServer, this.#runProgram, signal);
  }

  /** The machine, with the engine's own word on its GPUs. */
  machine(embedded: EmbeddedEngineComponents): SystemSource {
    return {
      ...thisMachine(),
      engineDevices: (signal) => this.devices(embedded, signal ?? new AbortController().signal),
    };
  }
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
