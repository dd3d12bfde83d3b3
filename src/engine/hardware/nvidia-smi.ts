// Reads what nvidia-smi prints of the GPUs. Pure.
import { hardwareLimits } from '../../util/limits/engine.ts';
import { parseName } from './system-text.ts';

export const nvidiaSmiArgs = [
  '--query-gpu=index,uuid,name,memory.total,memory.free',
  '--format=csv,noheader,nounits',
] as const;

const MiB = 1024 * 1024;

/** One GPU. `memory` absent: it has none of its own and uses the machine's (GB10, GH200, Jetson). */
export interface NvidiaGpu {
  readonly uuid: string;
  readonly name: string;
  readonly memory?: { readonly totalBytes: number; readonly freeBytes?: number };
}

/** The GPUs of the output, at most hardwareLimits.devices; lines that describe none are passed over. */
export function parseNvidiaSmi(output: string): NvidiaGpu[] {
  return output
    .split('\n')
    .flatMap((line) => parseLine(line) ?? [])
    .slice(0, hardwareLimits.devices);
}

function parseLine(line: string): NvidiaGpu | undefined {
  // Fields are parted by a comma and a space, so a decimal comma stays inside its field; a name may hold both.
  const fields = line.trim().split(/,\s+/);
  const [index, uuid] = fields;
  const name = parseName(fields.slice(2, -2).join(', '));
  const [totalText, freeText] = fields.slice(-2);
  if (fields.length < 5 || index === undefined || !/^\d{1,4}$/.test(index) || name === undefined) {
    return undefined;
  }
  if (uuid === undefined || !/^(GPU|MIG)-[\w-/]{1,128}$/.test(uuid)) {
    return undefined;
  }
  if (isNotSupported(totalText)) {
    return { uuid, name };
  }
  const totalBytes = parseMebibytes(totalText);
  if (totalBytes === undefined || totalBytes === 0) {
    return undefined;
  }
  const freeBytes = parseMebibytes(freeText);
  return {
    uuid,
    name,
    memory: {
      totalBytes,
      ...(freeBytes === undefined ? {} : { freeBytes: Math.min(freeBytes, totalBytes) }),
    },
  };
}

/** The driver's words for "this GPU has no such figure". Others, as `[Unknown Error]`, mean a broken GPU. */
function isNotSupported(field: string | undefined): boolean {
  return /^\[?(N\/A|Not Supported)\]?$/i.test(field ?? '');
}

/** Whole MiB; a fraction of one or two digits, with point or comma, is dropped: three could be thousands. */
function parseMebibytes(field: string | undefined): number | undefined {
  const whole = /^(\d{1,9})(?:[.,]\d{1,2})?$/.exec(field ?? '')?.[1];
  const bytes = whole === undefined ? undefined : Number(whole) * MiB;
  return bytes !== undefined && bytes <= hardwareLimits.deviceBytes ? bytes : undefined;
}
