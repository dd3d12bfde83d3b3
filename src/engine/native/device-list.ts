// The devices that llama-server says it can compute on. Pure.
import { hardwareLimits } from '../../util/limits/engine.ts';
import { MiB } from '../../util/limits/units.ts';
import type { EngineDevice } from '../hardware/engine-devices.ts';

/** A device with the name by which llama.cpp calls it (`CUDA0`), and the product's. */
export interface NativeDevice extends EngineDevice {
  readonly product: string;
}

const line = /^\s+(\w{1,32}): (.{1,256}) \((\d{1,9}) MiB, (\d{1,9}) MiB free\)\s*$/gm;

/** Reads what `llama-server --list-devices` prints. No devices: it computes on the CPU. */
export function parseDeviceList(printed: string): NativeDevice[] {
  return [...printed.matchAll(line)]
    .slice(0, hardwareLimits.devices)
    .map(([, name = '', product = '', total = '', free = '']) => ({
      ...{ name, product, totalBytes: Number(total) * MiB, freeBytes: Number(free) * MiB },
    }))
    .filter(({ totalBytes }) => totalBytes > 0); // Libraries for matrices count as devices on a Mac.
}
