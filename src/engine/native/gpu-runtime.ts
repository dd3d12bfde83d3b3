// Whether a GPU's module can be loaded here: which libraries of the system it needs are missing, and what brings them.
import type { RunCommand } from '../run-command.ts';
import type { GpuModule } from './runtime-package.ts';

export interface ModuleAnswer {
  readonly module: GpuModule;
  /** Libraries that are not there; none: it can be loaded. */
  readonly missing: readonly string[];
  /** What brings them, one sentence; absent if nothing is missing. */
  readonly hint?: string;
}

/** Asks the linker. Where it cannot be asked nothing is held missing. Rejects only when the signal aborts. */
export async function checkModule(
  module: GpuModule,
  run: RunCommand,
  signal?: AbortSignal,
): Promise<ModuleAnswer> {
  const result = await run('ldd', [module.path], signal);
  const missing = result.outcome === 'missing' ? [] : missingLibraries(result.stdout);
  return missing.length === 0 ? { module, missing } : { module, missing, hint: hintFor(missing) };
}

/** Reads what `ldd` prints; our own libraries lie beside the programs, not beside the module. */
export function missingLibraries(printed: string): string[] {
  const names = [...printed.matchAll(/^\s*(\S{1,128}) => not found$/gm)].flatMap(([, name]) => name ?? []);
  return [...new Set(names)].filter((name) => !name.startsWith('libggml'));
}

/** NVIDIA's driver and the runtime are two packages; either may be what is missing. */
function hintFor(missing: readonly string[]): string {
  const toolkit = missing
    .map((name) => /^lib(?:cudart|cublas\w*)\.so\.(\d{1,3})/.exec(name)?.[1])
    .find((version) => version !== undefined);
  const wanted = [
    ...(missing.some((name) => name.startsWith('libcuda.so'))
      ? ["NVIDIA's driver, which brings libcuda"]
      : []),
    ...(toolkit === undefined
      ? []
      : [
          `the CUDA ${toolkit} runtime (packages cuda-cudart-${toolkit}-0 and libcublas-${toolkit}-0 of NVIDIA; the compiler is not needed)`,
        ]),
    ...(missing.some((name) => name.startsWith('libvulkan.so'))
      ? ["Vulkan's loader (Debian, Ubuntu: libvulkan1; Fedora: vulkan-loader) and the driver of the GPU"]
      : []),
  ];
  return wanted.length === 0
    ? `Install what brings ${missing.join(', ')}.`
    : `Install ${wanted.join(', and ')}.`;
}
