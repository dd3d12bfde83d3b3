// Where facts of the machine come from: its commands, its files, what Node.js knows. Nothing else in
// this folder touches the machine, so tests hand in another one.
import { open, readdir } from 'node:fs/promises';
import os from 'node:os';
import { hardwareLimits } from '../../util/limits/engine.ts';
import { type RunCommand, runCommand } from '../run-command.ts';
import type { EngineDevice } from './engine-devices.ts';

export interface SystemSource {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  readonly cpuModel: string;
  readonly logicalCores: number;
  /** Cores the scheduler gives this process (affinity). */
  readonly availableCores: number;
  readonly totalMemoryBytes: number;
  readonly freeMemoryBytes: number;
  readonly run: RunCommand;
  /** The beginning of a file, at most hardwareLimits.fileBytes; undefined if it cannot be read. */
  readFile(path: string): Promise<string | undefined>;
  /** Names in a folder, at most hardwareLimits.folderEntries; none if it cannot be read. */
  listFolder(path: string): Promise<readonly string[]>;
  /**
   * GPUs as the engine sees them; none: it computes on the CPU. Undefined, absent or rejected: it cannot
   * tell, and what was detected stands.
   */
  readonly engineDevices?: (signal?: AbortSignal) => Promise<readonly EngineDevice[] | undefined>;
}

/** This machine, now. */
export function thisMachine(): SystemSource {
  const cpus = os.cpus();
  return {
    platform: process.platform,
    arch: process.arch,
    cpuModel: cpus[0]?.model.trim() || 'unknown CPU',
    logicalCores: Math.max(cpus.length, 1),
    availableCores: os.availableParallelism(),
    totalMemoryBytes: os.totalmem(),
    freeMemoryBytes: os.freemem(),
    run: runCommand,
    readFile,
    listFolder,
  };
}

async function readFile(path: string): Promise<string | undefined> {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(hardwareLimits.fileBytes);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    return buffer.toString('utf8', 0, bytesRead);
  } catch {
    return undefined;
  }
}

async function listFolder(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort().slice(0, hardwareLimits.folderEntries);
  } catch {
    return [];
  }
}
