// What this machine can compute with, as the rest of the node sees it. Types only.

export type DeviceKind = 'cuda' | 'rocm' | 'metal' | 'vulkan' | 'cpu';

/** A device with memory that holds models. */
export interface Device {
  /** Stable as long as the hardware is: `GPU-...` (NVIDIA's UUID), `amd-` and the bus address, `metal`, `cpu`, `engine-` and its place. */
  readonly id: string;
  readonly kind: DeviceKind;
  readonly name: string;
  readonly totalBytes: number;
  /** Not in use now; absent where the system does not tell. */
  readonly freeBytes?: number;
  /** What may be planned with: see usable.ts. */
  readonly usableBytes: number;
  /** Its memory is the machine's own: never add it to that of another unified device. */
  readonly unified: boolean;
  /** Who told: `nvidia-smi`, `sysfs`, `sysctl`, `engine`, `system`. */
  readonly source: string;
}

/** A device before it is decided how much of it may be used. */
export type DetectedDevice = Omit<Device, 'usableBytes'>;

export interface Hardware {
  /** GPUs in the order of their drivers; the last one is always the CPU. */
  readonly devices: readonly Device[];
  readonly cpu: Cpu;
  readonly memory: Memory;
  /** What was found but could not be read, each one sentence for a person. */
  readonly notes: readonly string[];
}

export interface Cpu {
  readonly model: string;
  readonly logicalCores: number;
  /** Cores this process may keep busy: affinity and the container's quota counted. At least 1. */
  readonly allowedCores: number;
}

export interface Memory {
  /** What the machine, or its container, has. */
  readonly totalBytes: number;
  /** What is left of it now, less the headroom. */
  readonly usableBytes: number;
  /** Set if a container's limit, not the machine, bounds the total. */
  readonly limitedBy?: 'cgroup';
}
