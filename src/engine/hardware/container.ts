// What the container around this process, if there is one, leaves of memory and cores. Linux only; on
// other systems the files are not there and nothing is bounded.
import {
  parseCgroupFolders,
  parseCpuMax,
  parseCpuQuota,
  parseMemoryLimit,
  parseMemoryUsed,
} from './cgroup.ts';
import type { SystemSource } from './system-source.ts';

export interface ContainerLimits {
  /** Smallest limit of this process' groups. */
  readonly memoryBytes?: number;
  /** Smallest rest of any limit: a sibling in an outer group may have used most of it. */
  readonly memoryFreeBytes?: number;
  /** Smallest quota, in cores with a fraction. */
  readonly cores?: number;
}

export async function readContainerLimits(source: SystemSource): Promise<ContainerLimits> {
  const groups = parseCgroupFolders((await source.readFile('/proc/self/cgroup')) ?? '');
  const [memory, cores] = await Promise.all([
    Promise.all([
      ...groups.unified.map((folder) =>
        readMemory(source, folder, ['memory.max', 'memory.high'], 'memory.current'),
      ),
      ...groups.memory.map((folder) =>
        readMemory(source, folder, ['memory.limit_in_bytes'], 'memory.usage_in_bytes'),
      ),
    ]),
    Promise.all([
      ...groups.unified.map(async (folder) => parseCpuMax(await source.readFile(`${folder}/cpu.max`))),
      ...groups.cpu.map(async (folder) =>
        parseCpuQuota(
          await source.readFile(`${folder}/cpu.cfs_quota_us`),
          await source.readFile(`${folder}/cpu.cfs_period_us`),
        ),
      ),
    ]),
  ]);
  return {
    ...smallest(
      'memoryBytes',
      memory.map((group) => group?.limitBytes),
    ),
    ...smallest(
      'memoryFreeBytes',
      memory.map((group) => group?.freeBytes),
    ),
    ...smallest('cores', cores),
  };
}

/** A group's limit and what is left of it; undefined if it has none. */
async function readMemory(
  source: SystemSource,
  folder: string,
  limitFiles: readonly string[],
  usageFile: string,
): Promise<{ limitBytes: number; freeBytes: number } | undefined> {
  const limits = await Promise.all(
    limitFiles.map(async (file) => parseMemoryLimit(await source.readFile(`${folder}/${file}`))),
  );
  const limitBytes = minimum(limits);
  if (limitBytes === undefined) {
    return undefined;
  }
  const usedBytes = parseMemoryUsed(
    await source.readFile(`${folder}/${usageFile}`),
    await source.readFile(`${folder}/memory.stat`),
  );
  return { limitBytes, freeBytes: Math.max(0, limitBytes - usedBytes) };
}

function smallest<Name extends keyof ContainerLimits>(
  name: Name,
  values: readonly (number | undefined)[],
): { readonly [name in Name]?: number } {
  const value = minimum(values);
  return value === undefined ? {} : ({ [name]: value } as { [name in Name]: number });
}

function minimum(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
