// What node-llama-cpp has put on this machine: llama.cpp's source as a git bundle, and, in packages of their own, the
// libraries built from it and the modules for GPUs. Only looks; that a package is missing is an answer.
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** GPU modules by the package that brings them, in the order in which they are tried. */
const gpuModules = [
  { backend: 'cuda', suffix: '-cuda', runtime: 'CUDA 13', file: 'libggml-cuda.so' },
  { backend: 'cuda', suffix: '-cuda-ext', runtime: 'CUDA 12', file: 'libggml-cuda.so' },
  { backend: 'vulkan', suffix: '-vulkan', runtime: 'Vulkan', file: 'libggml-vulkan.so' },
] as const;

export type GpuBackend = (typeof gpuModules)[number]['backend'] | 'metal';

/** A backend that ggml loads beside its own for CPUs. */
export interface GpuModule {
  readonly backend: GpuBackend;
  /** What it needs of the system, for a person: `CUDA 13`. */
  readonly runtime: string;
  readonly path: string;
}

export interface RuntimePackage {
  /** Version of node-llama-cpp. */
  readonly version: string;
  /** Release of llama.cpp, e.g. `v0.5.0`. */
  readonly sourceRelease: string;
  /** The source, for git. */
  readonly bundlePath: string;
  /** Changes that were made to the source before the libraries were built, in order. */
  readonly patchPaths: readonly string[];
  /** Shared libraries built from the source; undefined: the package of this platform is not installed. */
  readonly librariesFolder: string | undefined;
  readonly gpuModules: readonly GpuModule[];
}

const packageShape = z.object({ version: z.string().regex(/^[\w.+-]{1,64}$/) });
const sourceShape = z.object({ tag: z.string().regex(/^[\w.+-]{1,64}$/) });

/** Undefined if node-llama-cpp, an optional dependency, is not installed. */
export async function findRuntimePackage(
  platform: { readonly os: NodeJS.Platform; readonly arch: string },
  resolvePackage: (name: string) => string | undefined = resolveInstalled,
): Promise<RuntimePackage | undefined> {
  const root = resolvePackage('node-llama-cpp');
  if (root === undefined) {
    return undefined;
  }
  try {
    const llama = join(root, 'llama');
    const { version } = packageShape.parse(await readJson(join(root, 'package.json')));
    const { tag } = sourceShape.parse(await readJson(join(llama, 'llama.cpp.info.json')));
    const patches = await names(join(llama, 'patches'));
    const libraries = librariesIn(platform, resolvePackage);
    return {
      version,
      sourceRelease: tag,
      bundlePath: join(llama, 'gitRelease.bundle'),
      patchPaths: patches
        .filter((name) => name.endsWith('.diff'))
        .sort()
        .map((name) => join(llama, 'patches', name)),
      librariesFolder: libraries,
      gpuModules: libraries === undefined ? [] : await findGpuModules(platform, resolvePackage),
    };
  } catch {
    return undefined; // Half an installation is none.
  }
}

function platformName({ os, arch }: { os: NodeJS.Platform; arch: string }): string {
  const system = { darwin: 'mac', win32: 'win' }[os as string] ?? os;
  return system === 'mac' && arch === 'arm64' ? 'mac-arm64-metal' : `${system}-${arch}`;
}

function librariesIn(
  platform: { os: NodeJS.Platform; arch: string },
  resolvePackage: (name: string) => string | undefined,
): string | undefined {
  const name = platformName(platform);
  const root = resolvePackage(`@node-llama-cpp/${name}`);
  return root === undefined ? undefined : join(root, 'bins', name);
}

async function findGpuModules(
  platform: { os: NodeJS.Platform; arch: string },
  resolvePackage: (name: string) => string | undefined,
): Promise<GpuModule[]> {
  if (platform.os !== 'linux') {
    return []; // Metal is among a Mac's own libraries.
  }
  const found = await Promise.all(
    gpuModules.map(async ({ backend, suffix, runtime, file }): Promise<GpuModule[]> => {
      const root = resolvePackage(`@node-llama-cpp/${platformName(platform)}${suffix}`);
      const path = root === undefined ? undefined : await findFile(join(root, 'bins'), file);
      return path === undefined ? [] : [{ backend, runtime, path }];
    }),
  );
  return found.flat();
}

/** Where in a package a module lies differs between packages. */
async function findFile(folder: string, name: string): Promise<string | undefined> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const entry = entries.find((one) => one.isFile() && one.name === name);
  return entry === undefined ? undefined : join(entry.parentPath, entry.name);
}

async function names(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, 'utf8'));
}

/** The folder of an installed package, undefined if there is none. */
function resolveInstalled(name: string): string | undefined {
  try {
    // Platform packages are dependencies of node-llama-cpp, and not everybody hoists them.
    const own = fileURLToPath(import.meta.resolve('node-llama-cpp'));
    const entry = name === 'node-llama-cpp' ? own : createRequire(own).resolve(name);
    return dirname(dirname(entry)); // Both have their entry in dist/.
  } catch {
    return undefined;
  }
}
