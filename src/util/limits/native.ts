// Limits: Building llama.cpp's programs on this machine.
import { MiB } from './units.ts';

export const nativeLimits = {
  /** Time for the whole build: a full one takes six minutes on two cores, and a Raspberry Pi has slower ones. */
  buildMs: 60 * 60_000,
  /** How often a build that waits for another one looks whether that one has ended. */
  lockPollMs: 500,
  /** Space that source, objects and programs need at their largest: measured 230 MiB, of a full build 900 MiB. */
  freeBytes: 400 * MiB,
  fullBuildFreeBytes: 1500 * MiB,
  /** Bytes of the file that says what was built. */
  manifestBytes: 64 * 1024,
  /** Lines of a failed step's output that its error tells. */
  errorLines: 3,
  /** Folders of other builds that are looked at. */
  builds: 64,
} as const;
