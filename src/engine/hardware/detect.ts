// Finds out what this machine can compute with. Asks every source that may know; one that is missing,
// slow or talks rubbish costs its own answer, never the others'.
import type { RunCommand } from '../run-command.ts';
import { amdFiles, parseAmdCard } from './amd-sysfs.ts';
import { parseAppleMemory, sysctlArgs } from './apple-sysctl.ts';
import { readContainerLimits } from './container.ts';
import type { DetectedDevice, Hardware } from './device.ts';
import { mergeEngineDevices } from './engine-devices.ts';
import { parseMemAvailable } from './meminfo.ts';
import { nvidiaSmiArgs, parseNvidiaSmi } from './nvidia-smi.ts';
import type { SystemSource } from './system-source.ts';
import { afterHeadroom, withUsableBytes } from './usable.ts';

export interface DetectOptions {
  /** The owner's bound for all GPUs together (`--max-vram`); without a GPU it bounds the CPU's memory. */
  readonly maxVramBytes?: number;
  readonly signal?: AbortSignal;
}

/** What the machine's memory holds, container limits counted. */
interface SystemMemory {
  readonly totalBytes: number;
  readonly freeBytes: number;
}

interface Found {
  readonly gpus: readonly DetectedDevice[];
  readonly notes: readonly string[];
}

const nothing: Found = { gpus: [], notes: [] };

/** Rejects only when the signal aborts, with its reason. */
export async function detectHardware(source: SystemSource, options: DetectOptions = {}): Promise<Hardware> {
  const { signal, maxVramBytes } = options;
  signal?.throwIfAborted();
  const container = await readContainerLimits(source);
  const memory = await readMemory(source, container);
  const found = await Promise.all([
    findNvidia(source, memory, signal),
    findAmd(source, memory),
    findApple(source, signal),
    listEngineDevices(source, signal),
  ]);
  signal?.throwIfAborted();
  const [nvidia, amd, apple, engine] = found;
  const detected = [nvidia, amd, apple].flatMap(({ gpus }) => gpus);
  const gpus = engine.listed === undefined ? detected : mergeEngineDevices(detected, engine.listed);
  const cpu: DetectedDevice = {
    id: 'cpu',
    kind: 'cpu',
    name: source.cpuModel,
    totalBytes: memory.totalBytes,
    freeBytes: memory.freeBytes,
    unified: gpus.some((gpu) => gpu.unified),
    source: 'system',
  };
  return {
    devices: withUsableBytes(gpus, cpu, maxVramBytes),
    cpu: {
      model: source.cpuModel,
      logicalCores: source.logicalCores,
      // Rounded down: a thread more than the quota makes all of them wait for the next period.
      allowedCores: Math.max(1, Math.floor(Math.min(source.availableCores, container.cores ?? Infinity))),
    },
    memory: {
      totalBytes: memory.totalBytes,
      usableBytes: afterHeadroom(memory.freeBytes),
      ...(memory.totalBytes < source.totalMemoryBytes ? { limitedBy: 'cgroup' as const } : {}),
    },
    notes: found.flatMap(({ notes }) => notes),
  };
}

async function readMemory(
  source: SystemSource,
  container: { readonly memoryBytes?: number; readonly memoryFreeBytes?: number },
): Promise<SystemMemory> {
  const availableBytes = parseMemAvailable((await source.readFile('/proc/meminfo')) ?? '');
  const totalBytes = Math.min(source.totalMemoryBytes, container.memoryBytes ?? Infinity);
  return {
    totalBytes,
    freeBytes: Math.min(
      totalBytes,
      availableBytes ?? source.freeMemoryBytes,
      container.memoryFreeBytes ?? Infinity,
    ),
  };
}

async function findNvidia(source: SystemSource, memory: SystemMemory, signal?: AbortSignal): Promise<Found> {
  if (source.platform === 'darwin') {
    return nothing;
  }
  const { output, notes } = await ask(source.run, 'nvidia-smi', nvidiaSmiArgs, signal);
  const gpus = parseNvidiaSmi(output).map((gpu): DetectedDevice => {
    const { totalBytes, freeBytes } = gpu.memory ?? memory;
    return {
      id: gpu.uuid,
      kind: 'cuda',
      name: gpu.name,
      totalBytes,
      ...(freeBytes === undefined ? {} : { freeBytes }),
      unified: gpu.memory === undefined,
      source: 'nvidia-smi',
    };
  });
  return { gpus, notes };
}

async function findAmd(source: SystemSource, memory: SystemMemory): Promise<Found> {
  const names = await source.listFolder('/sys/class/drm');
  // `card0` is a GPU, `card0-HDMI-A-1` one of its plugs.
  const cards = await Promise.all(
    names.filter((name) => /^card\d{1,4}$/.test(name)).map((card) => readAmdCard(source, card)),
  );
  const gpus = cards.flatMap((gpu): DetectedDevice[] => {
    if (gpu === undefined) {
      return [];
    }
    const bound = gpu.unified ? memory : { totalBytes: gpu.totalBytes, freeBytes: gpu.totalBytes };
    return [
      {
        ...gpu,
        kind: 'rocm',
        totalBytes: Math.min(gpu.totalBytes, bound.totalBytes),
        freeBytes: Math.min(gpu.freeBytes ?? gpu.totalBytes, bound.freeBytes),
        source: 'sysfs',
      },
    ];
  });
  return { gpus, notes: [] };
}

async function readAmdCard(source: SystemSource, card: string): Promise<ReturnType<typeof parseAmdCard>> {
  const files = await Promise.all(
    amdFiles.map(async (file) => [file, await source.readFile(`/sys/class/drm/${card}/device/${file}`)]),
  );
  return parseAmdCard(card, Object.fromEntries(files));
}

/** Only Apple silicon: an Intel Mac's GPU is too small, or unknown to sysctl. */
async function findApple(source: SystemSource, signal?: AbortSignal): Promise<Found> {
  if (source.platform !== 'darwin' || source.arch !== 'arm64') {
    return nothing;
  }
  const { output } = await ask(source.run, 'sysctl', sysctlArgs, signal);
  const totalBytes = parseAppleMemory(output);
  if (totalBytes === undefined) {
    return { gpus: [], notes: ['sysctl does not tell how much memory Metal may use.'] };
  }
  const gpu = { id: 'metal', kind: 'metal', name: source.cpuModel, totalBytes, unified: true } as const;
  return { gpus: [{ ...gpu, source: 'sysctl' }], notes: [] };
}

async function listEngineDevices(source: SystemSource, signal?: AbortSignal) {
  try {
    return { listed: await source.engineDevices?.(signal), notes: [] };
  } catch {
    return { listed: undefined, notes: ['The engine could not list its devices.'] };
  }
}

/** What a command printed, even if it then failed: sysctl prints the names it knows all the same. */
async function ask(
  run: RunCommand,
  command: string,
  args: readonly string[],
  signal?: AbortSignal,
): Promise<{ output: string; notes: string[] }> {
  const result = await run(command, args, signal);
  switch (result.outcome) {
    case 'done':
      return { output: result.stdout, notes: [] };
    case 'failed':
      return { output: result.stdout, notes: [`${command} failed: ${result.reason}`] };
    case 'missing':
      return { output: '', notes: [] };
  }
}
