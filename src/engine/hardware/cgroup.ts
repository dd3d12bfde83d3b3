// Reads Linux' control group files, version 1 and 2: where a process is, and what bounds it. Pure.
import { hardwareLimits } from '../../util/limits/engine.ts';
import { parseBytes } from './system-text.ts';

/** Folders whose limits apply to a process, the nearest first, each list up to the root of its hierarchy. */
export interface CgroupFolders {
  readonly unified: readonly string[];
  readonly memory: readonly string[];
  readonly cpu: readonly string[];
}

const root = '/sys/fs/cgroup';

/**
 * From /proc/self/cgroup. In a container the paths may be the host's and not exist below the mount; the
 * walk up then ends at the root, which is the container's own group.
 */
export function parseCgroupFolders(procSelfCgroup: string): CgroupFolders {
  const paths = new Map<string, string>();
  for (const line of procSelfCgroup.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    for (const controller of controllers?.split(',') ?? []) {
      paths.set(controller, path ?? '/');
    }
  }
  return {
    unified: foldersUpwards(root, paths.get('')),
    memory: foldersUpwards(`${root}/memory`, paths.get('memory')),
    cpu: foldersUpwards(`${root}/cpu`, paths.get('cpu')),
  };
}

/** `mount/a/b`, `mount/a`, `mount`. A path that climbs out of the hierarchy gives the mount alone. */
function foldersUpwards(mount: string, path = '/'): string[] {
  const names = path.split('/').filter((name) => name !== '');
  if (names.includes('..') || names.length > hardwareLimits.cgroupDepth) {
    return [mount];
  }
  return [...names.map((_, index) => [mount, ...names.slice(0, names.length - index)].join('/')), mount];
}

/** Bytes, from memory.max, memory.high or memory.limit_in_bytes; undefined if there is no limit. */
export function parseMemoryLimit(text: string | undefined): number | undefined {
  // `max` in version 2; in version 1 a number near 2^63, which parseBytes takes for absurd.
  return parseBytes(text);
}

/**
 * Bytes in use that cannot be taken back: all, less the file pages that were not used lately (of a model
 * file that was mapped, most of all). `stat` is memory.stat of either version.
 */
export function parseMemoryUsed(usage: string | undefined, stat: string | undefined): number {
  const inactive = parseBytes(/^(?:total_)?inactive_file (\d+)$/m.exec(totalsFirst(stat ?? ''))?.[1]) ?? 0;
  return Math.max(0, (parseBytes(usage) ?? 0) - inactive);
}

/** Version 1 has both `inactive_file` and, for the whole subtree, `total_inactive_file`. */
function totalsFirst(stat: string): string {
  return /^total_inactive_file .*$/m.exec(stat)?.[0] ?? stat;
}

/** Cores, with a fraction, from cpu.max (`quota period` or `max period`); undefined if there is no limit. */
export function parseCpuMax(text: string | undefined): number | undefined {
  const [quota, period] = (text ?? '').trim().split(/\s+/);
  return parseCpuQuota(quota, period);
}

/** Cores, with a fraction, from cpu.cfs_quota_us (-1: none) and cpu.cfs_period_us. */
export function parseCpuQuota(quota: string | undefined, period: string | undefined): number | undefined {
  const [quotaUs, periodUs] = [quota, period].map((text) => parseBytes(text));
  return quotaUs === undefined || periodUs === undefined || periodUs === 0 ? undefined : quotaUs / periodUs;
}
