// The llama-server engine as tests use it: the programs of the user's cache, one thread, demo models, and the id of
// the process at hand.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LoadedModel, LoadOptions } from '../../src/engine/engine.ts';
import { createLlamaServerEngine } from '../../src/engine/llama-server/llama-server.ts';
import { findPrograms, type NativeSearch } from '../../src/engine/native/find-programs.ts';
import { findRuntimePackage } from '../../src/engine/native/runtime-package.ts';
import { runCommand } from '../../src/engine/run-command.ts';
import { engineCacheFolder } from '../../src/node/paths.ts';
import { systemClock } from '../../src/util/clock.ts';
import { silentLogger } from '../../src/util/logging.ts';
import { systemRandom } from '../../src/util/random.ts';
import { demoModelPath } from './demo-models.ts';

const GiB = 1024 ** 3;

let search: Promise<NativeSearch> | undefined;

/** The programs that `meshnode engine build` made, which the test command runs first. */
export function nativeSearch(): Promise<NativeSearch> {
  search ??= findRuntimePackage({ os: process.platform, arch: process.arch }).then((source) =>
    findPrograms({
      cacheFolder: engineCacheFolder(),
      package: source,
      configuredPath: undefined,
      environment: process.env,
      run: runCommand,
      runProgram: runCommand,
    }),
  );
  return search;
}

export interface LoadedLlamaServer {
  readonly model: LoadedModel;
  /** The model's process now: another one after each crash. */
  pid(): number;
}

/** Loads a demo model, or the file at `path`. The caller unloads it. */
export async function loadLlamaServer(
  name: string,
  options: LoadOptions & { path?: string; environment?: NodeJS.ProcessEnv; runFolder?: string } = {},
): Promise<LoadedLlamaServer> {
  const pids: number[] = [];
  const registry = { add: (pid: number) => pids.push(pid), remove: () => {}, written: async () => {} };
  const { path = demoModelPath(name), environment = process.env, runFolder, ...load } = options;
  const engine = createLlamaServerEngine({
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    registry,
    environment,
    findPrograms: nativeSearch,
    usableMemory: async () => ({ gpus: 0, gpuBytes: 0, totalBytes: 2 * GiB }),
    runFolder: runFolder ?? (await mkdtemp(join(tmpdir(), 'meshnode-test-'))),
  });
  const model = await engine.load({ name, path }, { threads: 1, ...load });
  return { model, pid: () => pids.at(-1) ?? Number.NaN };
}
