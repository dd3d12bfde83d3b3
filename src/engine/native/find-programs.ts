// Finds llama-server and the RPC server on this machine: where the configuration says, among what was built, on the
// PATH, in this order. A program counts only if it starts and is of the release that node-llama-cpp carries.
import { access, constants } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { MeshnodeError } from '../../util/errors.ts';
import type { RunCommand } from '../run-command.ts';
import { arrangePrograms } from './arrange.ts';
import { BuildFolder, type FinishedBuild } from './build-folder.ts';
import { type NativeDevice, parseDeviceList } from './device-list.ts';
import { checkModule, type ModuleAnswer } from './gpu-runtime.ts';
import { thisPlatform } from './platform.ts';
import { type ProgramBuild, parseProgramVersion, releaseOfTag } from './program-version.ts';
import type { GpuBackend, GpuModule, RuntimePackage } from './runtime-package.ts';

export interface NativePrograms {
  readonly origin: 'configured' | 'built' | 'path';
  /** Paths. The RPC server lies beside the model server; undefined: it does not, and this node can lend nothing. */
  readonly llamaServer: string;
  readonly rpcServer: string | undefined;
  readonly build: ProgramBuild;
  /** What it was arranged for; undefined for programs of somebody else, whose devices tell. */
  readonly backend: GpuBackend | 'cpu' | undefined;
  /** GPUs that it computes on; none: on the CPU. Undefined: it did not tell in time. */
  readonly devices: readonly NativeDevice[] | undefined;
}

/** A program that was found and is not used. */
export interface PassedOver {
  readonly path: string;
  /** One sentence. */
  readonly reason: string;
}

export interface NativeSearch {
  readonly programs: NativePrograms | undefined;
  readonly passedOver: readonly PassedOver[];
  /** GPU modules that the packages bring, and what each lacks. */
  readonly modules: readonly ModuleAnswer[];
}

export interface SearchOptions {
  /** The user's cache folder for builds. */
  readonly cacheFolder: string;
  readonly package: RuntimePackage | undefined;
  /** llama-server's path, if the user has said it. */
  readonly configuredPath: string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Runs tools of the system. */
  readonly run: RunCommand;
  /** Runs programs that are no part of the system, and see as little of the environment as they need. */
  readonly runProgram: RunCommand;
  readonly signal?: AbortSignal;
}

/** Looks in the three places. Rejects `config_invalid` if what is configured does not work, or with the signal's reason. */
export async function findPrograms(options: SearchOptions): Promise<NativeSearch> {
  const { run, signal, configuredPath } = options;
  const modules = await Promise.all(
    (options.package?.gpuModules ?? []).map((module) => checkModule(module, run, signal)),
  );
  const passedOver: PassedOver[] = [];
  const search = (programs: NativePrograms | undefined): NativeSearch => ({ programs, passedOver, modules });
  if (configuredPath !== undefined) {
    const answer = await examine('configured', resolve(configuredPath), undefined, options);
    if ('reason' in answer) {
      throw new MeshnodeError(
        'config_invalid',
        `The configured llama-server cannot be used: ${answer.reason}`,
        {
          hint: 'Correct or remove --llama-server; `meshnode engine build` makes one that fits.',
        },
      );
    }
    return search(answer);
  }
  for (const build of await finishedBuilds(options)) {
    const answer = await examineBuild(build, modules, options);
    if ('reason' in answer) {
      passedOver.push({ path: build.folder, reason: answer.reason });
    } else {
      return search(answer);
    }
  }
  const onPath = await programOnPath('llama-server', options.environment);
  if (onPath !== undefined) {
    const answer = await examine('path', onPath, undefined, options);
    if ('reason' in answer) {
      passedOver.push({ path: onPath, reason: answer.reason });
    } else {
      return search(answer);
    }
  }
  return search(undefined);
}

async function finishedBuilds({ package: source, cacheFolder }: SearchOptions): Promise<FinishedBuild[]> {
  return source === undefined ? [] : new BuildFolder(cacheFolder).list(source.version, thisPlatform);
}

async function examineBuild(
  build: FinishedBuild,
  modules: readonly ModuleAnswer[],
  options: SearchOptions,
): Promise<NativePrograms | { reason: string }> {
  const source = build.manifest.isFull ? { librariesFolder: undefined } : options.package;
  if (source === undefined || (!build.manifest.isFull && source.librariesFolder === undefined)) {
    return { reason: 'The libraries that it was built against are no longer installed.' };
  }
  // The packages' modules fit their own libraries only.
  const usable = build.manifest.isFull ? [] : modules.filter(({ missing }) => missing.length === 0);
  for (const { module } of usable) {
    const answer = await examineArranged(build, source, module, options);
    // That it does not tell in time proves nothing: a driver may take long to wake.
    if ('devices' in answer && answer.devices?.length !== 0) {
      return answer;
    }
  }
  return examineArranged(build, source, undefined, options);
}

/** The programs with the module of a GPU, or without any. A module may load and find nothing that it can drive. */
async function examineArranged(
  build: FinishedBuild,
  source: Pick<RuntimePackage, 'librariesFolder'>,
  module: GpuModule | undefined,
  options: SearchOptions,
): Promise<NativePrograms | { reason: string }> {
  const backend = module?.backend ?? (thisPlatform === 'darwin-arm64' ? 'metal' : 'cpu');
  const name = module === undefined ? backend : module.runtime.toLowerCase().replaceAll(' ', '-');
  try {
    const target = join(build.folder, name);
    const folder = await arrangePrograms({ programs: build.programs, target, source, module });
    return await examine('built', join(folder, 'llama-server'), backend, options);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    return { reason: `Its folder cannot be set up: ${message}.` };
  }
}

/** Starts a program to ask what it is and what it can compute on. */
async function examine(
  origin: NativePrograms['origin'],
  llamaServer: string,
  backend: NativePrograms['backend'],
  { runProgram: run, signal, package: source }: SearchOptions,
): Promise<NativePrograms | { reason: string }> {
  if (!(await isExecutable(llamaServer))) {
    return { reason: `${llamaServer} is no program that can be run.` };
  }
  const version = await run(llamaServer, ['--version'], signal);
  if (version.outcome !== 'done') {
    const why = version.outcome === 'failed' ? version.reason : 'it cannot be run';
    const cure = origin === 'built' ? '; `meshnode engine build --again` makes another' : '';
    return { reason: `It does not start (${why})${cure}.` };
  }
  const build = parseProgramVersion(`${version.stdout}\n${version.stderr}`);
  if (build === undefined) {
    return { reason: 'It does not say its version as llama-server of this time does.' };
  }
  const wanted = source === undefined ? undefined : releaseOfTag(source.sourceRelease);
  if (wanted !== undefined && build.release !== wanted) {
    return { reason: `It is llama.cpp ${build.release}; this meshnode works with ${wanted}.` };
  }
  const rpcServer = join(dirname(llamaServer), 'ggml-rpc-server');
  return {
    origin,
    llamaServer,
    rpcServer: (await isExecutable(rpcServer)) ? rpcServer : undefined,
    build,
    backend,
    devices: await listDevices(llamaServer, run, signal),
  };
}

/** The GPUs that a llama-server computes on, and what is free of them now; undefined if it does not tell. */
export async function listDevices(
  llamaServer: string,
  run: RunCommand,
  signal?: AbortSignal,
): Promise<NativeDevice[] | undefined> {
  const result = await run(llamaServer, ['--list-devices'], signal);
  return result.outcome === 'done' ? parseDeviceList(result.stdout) : undefined;
}

/** The first program of that name on the PATH. Relative entries are passed over: they mean another one in each folder. */
async function programOnPath(
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  const folders = (environment['PATH'] ?? '').split(delimiter).filter((folder) => isAbsolute(folder));
  for (const folder of folders) {
    const path = join(folder, name);
    if (await isExecutable(path)) {
      return path;
    }
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
