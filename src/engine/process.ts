// One child process, a module of ours or a foreign program: starting it, what it printed last, and ending
// its whole tree. It restarts nothing (supervisor.ts) and knows no engine.
import type { ChildProcess, Serializable } from 'node:child_process';
import type { Readable } from 'node:stream';
import { Emitter } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { MeshnodeError } from '../util/errors.ts';
import { engineLimits } from '../util/limits/engine.ts';
import type { Logger } from '../util/logging.ts';
import { guardedSpawn, signalGroup } from './guarded-spawn.ts';
import { processResidentBytes } from './process-facts.ts';
import { LineSplitter, LogTail } from './process-output.ts';
import type { ProcessRegistry } from './process-registry.ts';

/** How a process ended: one of `code` and `signal` is set, as the program itself ended. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last it printed, standard output and error as they came; at most engineLimits.logTailBytes. */
  readonly logTail: string;
}

export interface EngineProcess {
  /** Also the id of its process group. */
  readonly pid: number;
  /** Resolves when it has ended and its output and messages have been read. Never rejects. */
  readonly exited: Promise<ProcessExit>;
  /** SIGTERM to the whole tree, and after engineLimits.stopMs SIGKILL. Idempotent. */
  stop(): Promise<ProcessExit>;
  /** SIGKILL to the whole tree, now. */
  kill(): void;
  /** Memory it holds, bytes; undefined after its end, and where the system does not tell. */
  residentBytes(): Promise<number | undefined>;
}

export interface OwnProcess extends EngineProcess {
  /** Sends a message (structured clone). False if the process can no longer be reached. */
  send(message: unknown): boolean;
  /** Adds a listener for its messages; the returned function removes it. */
  onMessage(listener: (message: unknown) => void): () => void;
}

interface ProcessOptions {
  /** What logs and errors call it. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Where it is recorded, so that the next node can find it if this one is lost. */
  readonly registry?: ProcessRegistry;
}

export interface OwnProcessOptions extends ProcessOptions {
  /** A module that calls `exitWithParent()` (child-side.ts) first. */
  readonly modulePath: string;
  readonly args?: readonly string[];
  /** The whole environment. Absent: ours. */
  readonly env?: Record<string, string>;
}

export interface ForeignProcessOptions extends ProcessOptions {
  /** A path, or a name to be found on the PATH of `env`. */
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment; the shell that guards it adds PWD. */
  readonly env: Record<string, string>;
  readonly cwd?: string;
  /** Called for each line it prints; longer ones than engineLimits.logLineChars come in pieces. */
  readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void;
}

/** Starts a module of ours with this Node.js. Throws `engine_unavailable` if the system starts no process. */
export function startOwnProcess(options: OwnProcessOptions): OwnProcess {
  const child = guardedSpawn(process.execPath, [options.modulePath, ...(options.args ?? [])], {
    env: options.env ?? process.env,
    channel: true,
  });
  return new RunningProcess(child, options);
}

/**
 * Starts a foreign program. A command that does not exist ends with code 127, as in a shell. Throws
 * `engine_unavailable` if the system starts no process (too many, or no such working folder).
 */
export function startForeignProcess(options: ForeignProcessOptions): EngineProcess {
  const child = guardedSpawn(options.command, options.args, {
    env: options.env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    channel: false,
  });
  const { onLine } = options;
  if (onLine !== undefined) {
    forwardLines(child.stdout, (line) => onLine(line, 'stdout'));
    forwardLines(child.stderr, (line) => onLine(line, 'stderr'));
  }
  return new RunningProcess(child, options);
}

/** How a process ended, for a sentence: `ended with exit code 3`. */
export function describeExit(exit: ProcessExit): string {
  return exit.signal === null ? `ended with exit code ${exit.code}` : `was ended by ${exit.signal}`;
}

class RunningProcess implements OwnProcess {
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  readonly #clock: Clock;
  readonly #messages: Emitter<unknown>;
  #alive = true;
  #stopping: Promise<ProcessExit> | undefined;

  constructor(child: ChildProcess, options: ProcessOptions) {
    const log = options.log.child({ process: options.name });
    // Also keeps a failed spawn or send from becoming an uncaught exception.
    child.on('error', (cause) => log.warn({ err: cause }, 'the process reports an error'));
    if (child.pid === undefined) {
      throw new MeshnodeError('engine_unavailable', `The process of ${options.name} could not be started.`);
    }
    this.pid = child.pid;
    this.#child = child;
    this.#clock = options.clock;
    this.#messages = new Emitter((cause) => log.error({ err: cause }, 'a listener for messages failed'));
    child.on('message', (message) => this.#messages.emit(message));
    child.stdio[3]?.on('error', () => {}); // Ours to hold open, nothing else.
    options.registry?.add(this.pid, options.name);
    log.debug({ pid: this.pid }, 'started');
    this.exited = this.#untilExit();
    void this.exited.then(({ code, signal }) => {
      options.registry?.remove(this.pid);
      log.debug({ pid: this.pid, code, signal }, 'ended');
    });
  }

  stop(): Promise<ProcessExit> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  kill(): void {
    this.#signal('SIGKILL');
  }

  async residentBytes(): Promise<number | undefined> {
    return this.#alive ? processResidentBytes(this.pid) : undefined;
  }

  send(message: unknown): boolean {
    if (!this.#child.connected) {
      return false;
    }
    // The callback takes the error of a process that dies meanwhile: its end is told by `exited`.
    this.#child.send(message as Serializable, () => {});
    return true;
  }

  onMessage(listener: (message: unknown) => void): () => void {
    return this.#messages.listen(listener);
  }

  async #stop(): Promise<ProcessExit> {
    this.#signal('SIGTERM');
    const timer = this.#clock.after(engineLimits.stopMs, () => this.kill());
    try {
      return await this.exited;
    } finally {
      timer.cancel();
    }
  }

  /** Only while the process lives: afterwards its id may be somebody else's. */
  #signal(signal: NodeJS.Signals): void {
    if (this.#alive) {
      signalGroup(this.pid, signal);
    }
  }

  async #untilExit(): Promise<ProcessExit> {
    const child = this.#child;
    const tail = new LogTail();
    child.stdout?.on('data', (chunk: Buffer) => tail.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => tail.add(chunk));
    const allRead = Promise.all([once(child, 'close'), child.channel && once(child, 'disconnect')]);
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      child.once('exit', (...how) => {
        // What it left behind, the watcher above all. The group's id is not reused while any of it lives.
        this.#signal('SIGKILL');
        this.#alive = false;
        resolve(how);
      });
    });
    child.stdio[3]?.destroy();
    await this.#atMost(engineLimits.logDrainMs, allRead);
    child.stdout?.destroy();
    child.stderr?.destroy();
    return { code, signal, logTail: tail.text() };
  }

  #atMost(waitMs: number, task: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(waitMs, resolve);
      void task.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}

function once(child: ChildProcess, event: 'close' | 'disconnect'): Promise<void> {
  return new Promise((resolve) => child.once(event, () => resolve()));
}

function forwardLines(stream: Readable | null, onLine: (line: string) => void): void {
  const splitter = new LineSplitter(onLine);
  stream?.on('data', (chunk: Buffer) => splitter.add(chunk));
  stream?.once('end', () => splitter.end());
}
