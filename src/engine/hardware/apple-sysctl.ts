// Reads what macOS' sysctl says of the memory that Metal may use. Pure.
import { parseBytes } from './system-text.ts';

/** Older systems lack the second name: sysctl then fails, but still prints the first. */
export const sysctlArgs = ['hw.memsize', 'iogpu.wired_limit_mb'] as const;

const GiB = 2 ** 30;
const MiB = 2 ** 20;

/** What Metal may use of an Apple silicon machine's memory, bytes; undefined if the output does not tell. */
export function parseAppleMemory(output: string): number | undefined {
  const memoryBytes = parseBytes(/^hw\.memsize: (\d+)$/m.exec(output)?.[1]);
  if (memoryBytes === undefined) {
    return undefined;
  }
  const limitBytes = parseBytes(/^iogpu\.wired_limit_mb: (\d+)$/m.exec(output)?.[1], MiB);
  // 0 is the system's own choice.
  return limitBytes === undefined || limitBytes === 0
    ? defaultWorkingSet(memoryBytes)
    : Math.min(limitBytes, memoryBytes);
}

/**
 * Metal's `recommendedMaxWorkingSetSize`, which only Metal itself tells. As llama.cpp logs it: two thirds
 * on small machines (10922 of 16384 MiB, 21845 of 32768), three quarters from 36 GiB on (27648 of 36864,
 * 49152 of 65536, 73728 of 98304). Newer systems were seen to allow 84 % of 128 GiB; we stay below, and
 * the engine's own figure wins where there is one.
 */
function defaultWorkingSet(memoryBytes: number): number {
  return Math.floor(memoryBytes >= 36 * GiB ? (memoryBytes * 3) / 4 : (memoryBytes * 2) / 3);
}
