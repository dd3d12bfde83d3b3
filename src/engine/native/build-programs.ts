// `meshnode engine build`: makes llama-server and the RPC server from the source that node-llama-cpp carries, against
// the libraries that it brings; all of llama.cpp where it brings none. One build serves every GPU variant: the
// packages' libraries are the same but for the modules that drive GPUs, and those are loaded.
import { statfs } from 'node:fs/promises';
import { availableParallelism, freemem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../../util/clock.ts';
import { MeshnodeError, systemErrorCode } from '../../util/errors.ts';
import { nativeLimits } from '../../util/limits/native.ts';
import { MiB } from '../../util/limits/units.ts';
import type { Logger } from '../../util/logging.ts';
import { makeFolder } from '../../util/make-folder.ts';
import { formatSize } from '../../util/size.ts';
import type { RunCommand } from '../run-command.ts';
import { arrangePrograms } from './arrange.ts';
import { BuildFolder, type FinishedBuild } from './build-folder.ts';
import { type BuildStep, runStep } from './build-step.ts';
import { thisPlatform } from './platform.ts';
import { buildText, parseProgramVersion } from './program-version.ts';
import type { RuntimePackage } from './runtime-package.ts';
import { findToolchain, type Toolchain } from './toolchain.ts';

export interface BuildProgress {
  /** `waiting`: another process builds the same. */
  readonly stage: 'waiting' | 'unpacking' | 'configuring' | 'compiling' | 'checking';
  /** 0 to 1 within the stage, if known. */
  readonly fraction?: number;
}

export interface BuildComponents {
  readonly clock: Clock;
  readonly log: Logger;
  readonly run: RunCommand;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Bytes that may still be written into a folder. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

export interface BuildOptions {
  /** The user's cache folder for builds. */
  readonly cacheFolder: string;
  readonly package: RuntimePackage | undefined;
  /** Build although there is a complete build. */
  readonly again?: boolean;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: BuildProgress) => void;
}

export interface BuildResult extends FinishedBuild {
  /** It was there already, or another process has made it meanwhile. */
  readonly wasThere: boolean;
}

/** How llama.cpp is built whole: for the CPU of any machine of this kind, each chosen when it is loaded. */
const fullBuildFlags = [
  ...['-DBUILD_SHARED_LIBS=ON', '-DGGML_BACKEND_DL=ON', '-DGGML_RPC=ON', '-DGGML_NATIVE=OFF'],
  ...['-DLLAMA_BUILD_TESTS=OFF', '-DLLAMA_BUILD_EXAMPLES=OFF', '-DLLAMA_BUILD_UI=OFF'],
  ...['-DLLAMA_USE_PREBUILT_UI=OFF', '-DLLAMA_OPENSSL=OFF', '-DGGML_CCACHE=OFF'],
];

/**
 * Builds unless that is done. Rejects `engine_missing` naming the tools or the package that are missing,
 * `disk_full`, `engine_build_failed`, or with the reason of the signal; nothing but the old builds is left then.
 */
export async function buildPrograms(
  components: BuildComponents,
  options: BuildOptions,
): Promise<BuildResult> {
  const { cacheFolder, signal, onProgress } = options;
  const source = options.package;
  if (source === undefined) {
    throw new MeshnodeError('engine_missing', 'node-llama-cpp, which carries the source, is not installed.', {
      hint: 'Run `npm install` again without --omit=optional.',
    });
  }
  const toolchain = await requireToolchain(components, signal);
  const folder = new BuildFolder(cacheFolder);
  const isFull = source.librariesFolder === undefined;
  const key = { package: source.version, platform: thisPlatform, compiler: toolchain.compiler, isFull };
  const name = folder.nameOf(key);
  try {
    const lock = await folder.lock(name, {
      clock: components.clock,
      signal,
      onWait: () => onProgress?.({ stage: 'waiting' }),
    });
    try {
      const finished = options.again === true ? undefined : await folder.read(name);
      if (finished !== undefined) {
        return { ...finished, wasThere: true };
      }
      const work = { ...options, source, toolchain, folder, name };
      try {
        return { ...(await build(components, work)), wasThere: false };
      } catch (failure) {
        await folder.removeUnfinished(name);
        throw failure;
      }
    } finally {
      lock.release();
    }
  } catch (cause) {
    throw systemErrorCode(cause) === 'ENOSPC' || systemErrorCode(cause) === 'EDQUOT'
      ? diskFull(cacheFolder)
      : cause;
  }
}

async function requireToolchain(components: BuildComponents, signal: AbortSignal): Promise<Toolchain> {
  if (process.platform === 'win32') {
    throw new MeshnodeError('engine_missing', 'The native engine is not built on Windows yet.', {
      hint: 'The embedded engine works there; or attach a server with --attach URL.',
    });
  }
  const { run, environment } = components;
  const answer = await findToolchain(
    { platform: process.platform, run, chosenCompiler: environment['CXX'] },
    signal,
  );
  if (!answer.ok) {
    throw new MeshnodeError(
      'engine_missing',
      `A build needs ${answer.missing.join(' and ')}, not found here.`,
      {
        hint: answer.hint,
      },
    );
  }
  return answer.toolchain;
}

interface Work extends BuildOptions {
  readonly source: RuntimePackage;
  readonly toolchain: Toolchain;
  readonly folder: BuildFolder;
  readonly name: string;
}

async function build(components: BuildComponents, work: Work): Promise<FinishedBuild> {
  const { clock } = components;
  const { source, toolchain, folder, name, onProgress } = work;
  const isFull = source.librariesFolder === undefined;
  await requireSpace(
    work.cacheFolder,
    isFull ? nativeLimits.fullBuildFreeBytes : nativeLimits.freeBytes,
    components.freeBytes ?? freeBytesAt,
  );
  const startMs = clock.monotonicMs();
  const workFolder = await folder.emptyWorkFolder(name);
  const timeLimit = AbortSignal.timeout(nativeLimits.buildMs);
  const signal = AbortSignal.any([work.signal, timeLimit]);
  const run = (step: Omit<BuildStep, 'cwd' | 'env'>): Promise<void> =>
    runStep(
      { ...step, cwd: workFolder, env: stepEnvironment(components.environment) },
      { ...components, signal },
    );

  onProgress?.({ stage: 'unpacking' });
  const tree = join(workFolder, 'source');
  await run({
    name: 'unpacking the source',
    command: 'git',
    args: ['clone', '--quiet', '-c', 'advice.detachedHead=false', source.bundlePath, tree],
  });
  for (const patch of source.patchPaths) {
    await run({ name: 'patching the source', command: 'git', args: ['-C', tree, 'apply', patch] });
  }

  onProgress?.({ stage: 'configuring' });
  const objects = join(workFolder, 'objects');
  const installed = join(workFolder, 'installed');
  await run({
    name: 'configuring',
    command: 'cmake',
    args: [
      ...['-G', toolchain.generator, '-B', objects, '-DCMAKE_BUILD_TYPE=Release'],
      `-DCMAKE_CXX_COMPILER=${toolchain.compilerCommand}`,
      `-DCMAKE_INSTALL_PREFIX=${installed}`,
      ...(source.librariesFolder === undefined
        ? ['-S', tree, ...fullBuildFlags, ...originPath]
        : ['-S', programsFolder(), `-DSOURCE=${tree}`, `-DLIBRARIES=${source.librariesFolder}`]),
    ],
  });

  onProgress?.({ stage: 'compiling', fraction: 0 });
  await run({
    name: 'compiling',
    command: 'cmake',
    args: [
      '--build',
      objects,
      '--parallel',
      String(compilers()),
      '--target',
      'llama-server',
      'ggml-rpc-server',
      'ggml-rpc',
    ],
    onLine: (line) => {
      const fraction = compiledFraction(line);
      if (fraction !== undefined) {
        onProgress?.({ stage: 'compiling', fraction });
      }
    },
  });

  onProgress?.({ stage: 'checking' });
  const programs = join(objects, 'bin');
  const arranged = await arrangePrograms({
    programs,
    target: join(workFolder, 'checked'),
    source,
    module: undefined,
  });
  const version = await components.run(join(arranged, 'llama-server'), ['--version'], signal);
  const build =
    version.outcome === 'done' ? parseProgramVersion(`${version.stdout}\n${version.stderr}`) : undefined;
  if (build === undefined) {
    const reason = version.outcome === 'failed' ? version.reason : 'it does not say its version';
    throw new MeshnodeError('engine_build_failed', `llama-server was built but does not start: ${reason}.`);
  }
  return folder.finish(name, programs, {
    format: 1,
    package: source.version,
    source: source.sourceRelease,
    platform: thisPlatform,
    compiler: toolchain.compiler.slice(0, 256),
    build: buildText(build),
    isFull,
    seconds: Math.round((clock.monotonicMs() - startMs) / 100) / 10,
  });
}

/** So that what is built whole finds its libraries wherever the folder is. */
const originPath = [
  '-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON',
  `-DCMAKE_INSTALL_RPATH=${process.platform === 'darwin' ? '@loader_path' : '$ORIGIN'}`,
];

/** The build's own description: beside the source of this file, or beside the bundle. */
function programsFolder(): string {
  const name = import.meta.url.endsWith('.ts') ? './programs' : './native-programs';
  return fileURLToPath(new URL(name, import.meta.url));
}

/** One compiler takes about a gigabyte for llama-server's sources. */
function compilers(): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(freemem() / (1024 * MiB))));
}

/** Ninja says `[3/71]`, make `[  4%]`. */
export function compiledFraction(line: string): number | undefined {
  const [, done, all, percent] = /^\[\s*(?:(\d+)\/(\d+)|(\d+)%)\]/.exec(line) ?? [];
  if (percent !== undefined) {
    return Number(percent) / 100;
  }
  return done === undefined || Number(all) === 0 ? undefined : Number(done) / Number(all);
}

/** The user's environment, but nothing that would turn git to another repository or make it ask. */
function stepEnvironment(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept = Object.entries(environment).filter(([name]) => !name.startsWith('GIT_'));
  const own = {
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    LC_ALL: 'C',
  };
  return {
    ...Object.fromEntries(kept.filter((pair): pair is [string, string] => pair[1] !== undefined)),
    ...own,
  };
}

async function requireSpace(
  folder: string,
  neededBytes: number,
  freeBytes: (folder: string) => Promise<number>,
): Promise<void> {
  await makeFolder(folder);
  const free = await freeBytes(folder);
  if (free < neededBytes) {
    throw diskFull(
      folder,
      `A build needs ${formatSize(neededBytes)}; ${formatSize(free)} are free in ${folder}.`,
    );
  }
}

async function freeBytesAt(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

function diskFull(folder: string, message = `The disk ran full in ${folder}.`): MeshnodeError {
  return new MeshnodeError('disk_full', message, {
    hint: 'Free some space there, or set XDG_CACHE_HOME to a folder that has it, then run `meshnode engine build` again.',
  });
}
