// Brings the engine's own list of GPUs and the detected ones together. Pure.
import { hardwareLimits } from '../../util/limits/engine.ts';
import type { DetectedDevice, DeviceKind } from './device.ts';
import { parseName } from './system-text.ts';

/** A GPU as an engine lists it: by backend (`CUDA0`), by name, or several as one (`NAME + NAME`). */
export interface EngineDevice {
  readonly name: string;
  readonly totalBytes: number;
  readonly freeBytes?: number;
}

/**
 * The engine decides which GPUs there are, since it computes on them, and how much memory each has. The
 * detected ones lend id, name and kind. Where the engine gives one sum for several, and all of them were
 * detected, the detected figures are the finer ones.
 */
export function mergeEngineDevices(
  detected: readonly DetectedDevice[],
  listed: readonly EngineDevice[],
): DetectedDevice[] {
  const unmatched = [...detected];
  return listed.slice(0, hardwareLimits.devices).flatMap((device, index) => {
    const names = device.name.split(' + ');
    const matches = names.flatMap((name) => takeMatch(unmatched, name) ?? []);
    if (names.length > 1 && matches.length === names.length) {
      return matches;
    }
    const [match] = names.length === 1 ? matches : [];
    return [{ ...(match ?? unknownDevice(device, index)), ...memoryOf(device), source: 'engine' }];
  });
}

/** Takes the device out that the engine means: the one of that name, else the next of that backend. */
function takeMatch(unmatched: DetectedDevice[], name: string): DetectedDevice | undefined {
  const byName = unmatched.findIndex((device) => device.name.toLowerCase() === name.toLowerCase());
  const kind = backendKind(name);
  const byKind = unmatched.findIndex((device) => kind === 'vulkan' || device.kind === kind);
  const index = byName === -1 && kind !== undefined ? byKind : byName;
  return index === -1 ? undefined : unmatched.splice(index, 1)[0];
}

function unknownDevice(device: EngineDevice, index: number): Omit<DetectedDevice, 'totalBytes'> {
  const name = parseName(device.name) ?? 'GPU';
  const kind = backendKind(name) ?? kindByVendor(name);
  return { id: `engine-${index}`, kind, name, unified: kind === 'metal', source: 'engine' };
}

function memoryOf({ totalBytes, freeBytes }: EngineDevice): Pick<DetectedDevice, 'totalBytes' | 'freeBytes'> {
  const total = clampBytes(totalBytes);
  return {
    totalBytes: total,
    ...(freeBytes === undefined ? {} : { freeBytes: Math.min(clampBytes(freeBytes), total) }),
  };
}

function clampBytes(bytes: number): number {
  return Number.isFinite(bytes) ? Math.max(0, Math.min(Math.floor(bytes), hardwareLimits.deviceBytes)) : 0;
}

/** The kind behind a name as ggml gives it to its devices, e.g. `CUDA0`; undefined for other names. */
function backendKind(name: string): DeviceKind | undefined {
  const backend = /^(cuda|rocm|metal|mtl|vulkan)\d*$/i.exec(name)?.[1]?.toLowerCase();
  return backend === 'mtl' ? 'metal' : (backend as DeviceKind | undefined);
}

/** A product's name tells its usual backend; Vulkan drives everything else. */
function kindByVendor(name: string): DeviceKind {
  return /nvidia/i.test(name) ? 'cuda' : /^apple/i.test(name) ? 'metal' : 'vulkan';
}
