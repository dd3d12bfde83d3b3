// Reads what Linux' amdgpu driver says of a GPU in /sys/class/drm/cardN/device. Pure.
import { parseBytes, parseName } from './system-text.ts';

/** The files read of one card's folder. */
export const amdFiles = [
  'vendor',
  'device',
  'uevent',
  'product_name',
  'mem_info_vram_total',
  'mem_info_vram_used',
  'mem_info_gtt_total',
  'mem_info_gtt_used',
] as const;

export type AmdFiles = Partial<Record<(typeof amdFiles)[number], string>>;

/** One GPU. `unified`: its memory is the machine's, reached through the GTT. */
export interface AmdGpu {
  readonly id: string;
  readonly name: string;
  readonly totalBytes: number;
  readonly freeBytes?: number;
  readonly unified: boolean;
}

/**
 * An APU boots with 256 MiB to 1 GiB carved out of the machine's memory as "VRAM" and reaches the rest
 * through the GTT. No discrete GPU that computes has so little. A larger carve-out, set by the owner in
 * the firmware, is memory that nothing else uses: it counts like a discrete GPU's.
 */
const largestCarveOutBytes = 2 ** 30;

/** Undefined if the card is not AMD's, or its driver tells no memory. */
export function parseAmdCard(card: string, files: AmdFiles): AmdGpu | undefined {
  const vramBytes = parseBytes(files.mem_info_vram_total);
  if (files.vendor?.trim() !== '0x1002' || vramBytes === undefined) {
    return undefined;
  }
  const gttBytes = parseBytes(files.mem_info_gtt_total) ?? 0;
  const unified = vramBytes <= largestCarveOutBytes && gttBytes > vramBytes;
  const totalBytes = unified ? gttBytes : vramBytes;
  const usedBytes = parseBytes(unified ? files.mem_info_gtt_used : files.mem_info_vram_used);
  if (totalBytes === 0) {
    return undefined;
  }
  return {
    id: `amd-${/^PCI_SLOT_NAME=([\da-f:.]{1,32})$/im.exec(files.uevent ?? '')?.[1] ?? card}`,
    name: parseName(files.product_name) ?? parseName(`AMD GPU ${files.device ?? ''}`) ?? card,
    totalBytes,
    ...(usedBytes === undefined ? {} : { freeBytes: Math.max(0, totalBytes - usedBytes) }),
    unified,
  };
}
