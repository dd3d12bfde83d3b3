// How much of each device models may take. Pure.
import { nodeLimits } from '../../util/limits/node.ts';
import type { DetectedDevice, Device } from './device.ts';

/**
 * What is free (or, where that is unknown, all there is), at most `maxVramBytes`, less the headroom.
 * `maxVramBytes` bounds all GPUs together, each by its share; on a machine without GPU it bounds the CPU.
 */
export function withUsableBytes(
  gpus: readonly DetectedDevice[],
  cpu: DetectedDevice,
  maxVramBytes: number | undefined,
): Device[] {
  const capped = gpus.length > 0 ? gpus : [cpu];
  const availableBytes = capped.reduce((sum, device) => sum + available(device), 0);
  const share = Math.min(1, (maxVramBytes ?? availableBytes) / Math.max(availableBytes, 1));
  return [...gpus, cpu].map((device) => ({
    ...device,
    usableBytes: afterHeadroom(available(device) * (capped.includes(device) ? share : 1)),
  }));
}

/** What is left of `bytes` beside nodeLimits.memoryHeadroom; whole and never negative. */
export function afterHeadroom(bytes: number): number {
  return Math.max(0, Math.floor(bytes * (1 - nodeLimits.memoryHeadroom)));
}

function available(device: DetectedDevice): number {
  return Math.max(0, Math.min(device.freeBytes ?? device.totalBytes, device.totalBytes));
}
