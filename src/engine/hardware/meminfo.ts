// Reads Linux' /proc/meminfo. Pure.
import { parseBytes } from './system-text.ts';

/** Bytes that can be had without swapping, caches counted as free; undefined if the text does not tell. */
export function parseMemAvailable(meminfo: string): number | undefined {
  return parseBytes(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1], 1024);
}
