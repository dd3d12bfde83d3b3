// The file in the data folder that names every process this node started, and the sweep that reads what
// the last node left there. It kills only what is provably the process it wrote down: a reused id is not.
import { open } from 'node:fs/promises';
import * as z from 'zod';
import { background } from '../util/async.ts';
import { type Clock, sleep } from '../util/clock.ts';
import { systemErrorCode } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';
import type { Logger } from '../util/logging.ts';
import { replaceFile } from '../util/replace-file.ts';
import { signalGroup } from './guarded-spawn.ts';
import { processIdentity } from './process-facts.ts';

export interface ProcessRegistry {
  /** Records a process that was just started and leads its own group. */
  add(pid: number, name: string): void;
  /** Forgets a process that has ended. */
  remove(pid: number): void;
  /** Resolves once the file says what was recorded so far. */
  written(): Promise<void>;
}

/** What the registry asks of the system; tests hand in their own. */
export interface ProcessSystem {
  readonly ownPid: number;
  /** See process-facts.ts. */
  identify(pid: number): Promise<string | undefined>;
  /** SIGKILL to a process and its group. */
  killGroup(pid: number): void;
}

const machine: ProcessSystem = {
  ownPid: process.pid,
  identify: processIdentity,
  killGroup: (pid) => signalGroup(pid, 'SIGKILL'),
};

export interface RegistryOptions {
  /** The file; only one running node may use it. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly system?: ProcessSystem;
}

// Ids above 1 only: as a group, 1 and 0 would mean everybody.
const recordSchema = z.object({
  pid: z.int().min(2),
  identity: z.string().min(1).max(256),
  name: z.string().max(256),
});
const fileSchema = z.object({
  owner: recordSchema.omit({ name: true }),
  processes: z.array(recordSchema).max(engineLimits.recordedProcesses),
});

type ProcessRecord = z.infer<typeof recordSchema>;

/**
 * Kills what a dead node left running, resolves when that is gone (or engineLimits.stopMs has passed),
 * and starts an empty record for this node. Never rejects: a sweep that cannot be is logged.
 */
export async function openProcessRegistry(options: RegistryOptions): Promise<ProcessRegistry> {
  const system = options.system ?? machine;
  try {
    await sweep(options, system);
  } catch (cause) {
    options.log.warn(
      { err: cause, path: options.path },
      'could not look for processes left by the last node',
    );
  }
  const registry = new FileRegistry(options, system);
  registry.save();
  await registry.written();
  return registry;
}

async function sweep({ path, clock, log }: RegistryOptions, system: ProcessSystem): Promise<void> {
  const file = await readRecordFile(path);
  if (file === undefined || (await isAlive(file.owner, system))) {
    return;
  }
  const killed: ProcessRecord[] = [];
  for (const record of file.processes) {
    if (record.pid !== system.ownPid && (await isAlive(record, system))) {
      system.killGroup(record.pid);
      killed.push(record);
      log.warn({ pid: record.pid, process: record.name }, 'ended a process that the last node left running');
    }
  }
  const deadlineMs = clock.monotonicMs() + engineLimits.stopMs;
  for (const record of killed) {
    while (clock.monotonicMs() < deadlineMs && (await isAlive(record, system))) {
      await sleep(clock, engineLimits.sweepPollMs);
    }
  }
}

async function isAlive(
  record: Pick<ProcessRecord, 'pid' | 'identity'>,
  system: ProcessSystem,
): Promise<boolean> {
  return (await system.identify(record.pid)) === record.identity;
}

/** Undefined if there is none; throws if it is no such file, or too large to be one. */
async function readRecordFile(path: string): Promise<z.infer<typeof fileSchema> | undefined> {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(engineLimits.recordedProcessesBytes);
    const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
    return fileSchema.parse(JSON.parse(buffer.toString('utf8', 0, bytesRead)));
  } catch (cause) {
    if (systemErrorCode(cause) === 'ENOENT') {
      return undefined;
    }
    throw cause;
  }
}

class FileRegistry implements ProcessRegistry {
  readonly #path: string;
  readonly #log: Logger;
  readonly #system: ProcessSystem;
  readonly #names = new Map<number, string>();
  readonly #records = new Map<number, ProcessRecord>();
  #identifying = new Set<Promise<void>>();
  #writing: Promise<void> = Promise.resolve();

  constructor({ path, log }: RegistryOptions, system: ProcessSystem) {
    this.#path = path;
    this.#log = log;
    this.#system = system;
  }

  add(pid: number, name: string): void {
    if (this.#names.size >= engineLimits.recordedProcesses) {
      this.#log.warn({ pid, process: name }, 'too many processes to remember this one');
      return;
    }
    this.#names.set(pid, name);
    const task = this.#identify(pid, name).finally(() => this.#identifying.delete(task));
    this.#identifying.add(task);
    background(task, 'recording a process', this.#log);
  }

  remove(pid: number): void {
    this.#names.delete(pid);
    if (this.#records.delete(pid)) {
      this.save();
    }
  }

  async written(): Promise<void> {
    await Promise.allSettled(this.#identifying);
    await this.#writing;
  }

  /** Writes the file after the writes before it. Its failure is logged: the guard still holds. */
  save(): void {
    this.#writing = this.#writing
      .then(() => this.#write())
      .catch((cause) => this.#log.warn({ err: cause, path: this.#path }, 'could not record processes'));
  }

  async #identify(pid: number, name: string): Promise<void> {
    const identity = await this.#system.identify(pid);
    // It may have ended, and its id been forgotten or given to a newer one, while we asked.
    if (identity !== undefined && this.#names.get(pid) === name) {
      this.#records.set(pid, { pid, identity, name });
      this.save();
    }
  }

  async #write(): Promise<void> {
    const { ownPid } = this.#system;
    const owner = { pid: ownPid, identity: (await this.#system.identify(ownPid)) ?? 'unknown' };
    await replaceFile(this.#path, JSON.stringify({ owner, processes: [...this.#records.values()] }));
  }
}
