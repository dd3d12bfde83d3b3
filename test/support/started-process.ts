// Real processes under test or measurement: the bundled program as a user starts it, and the double of an
// OpenAI server. Each is ended by whoever started it; all keep to loopback.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The launcher of the checkout. */
export const meshnodeProgram = join(root, 'bin/meshnode');

/** Nodes under test keep to this machine, several at once. */
const onLoopback = { MESHNODE_BIND: '127.0.0.1', MESHNODE_LISTEN_PORT: '0' };

export type JsonLine = Record<string, unknown>;

export interface ProcessOptions {
  /** Added to the environment. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A process whose standard output is read line by line. */
export class StartedProcess {
  readonly child: ChildProcess;
  readonly pid: number;
  /** Exit code, or the signal's name. */
  readonly exited: Promise<number | string>;
  /** Lines of standard output that were JSON objects, so far. */
  readonly lines: JsonLine[] = [];
  stdout = '';
  stderr = '';
  #waiters = new Set<() => void>();
  #ended = false;

  constructor(command: string, args: readonly string[], options: ProcessOptions = {}) {
    this.child = spawn(command, args, { env: { ...process.env, ...onLoopback, ...options.environment } });
    this.pid = this.child.pid ?? Number.NaN;
    this.child.stderr?.on('data', (chunk) => {
      this.stderr += String(chunk);
    });
    if (this.child.stdout !== null) {
      createInterface({ input: this.child.stdout }).on('line', (line) => this.#receive(line));
    }
    this.exited = once(this.child, 'close').then(([code, signal]) => {
      this.#ended = true;
      this.#wake();
      return code ?? signal;
    });
  }

  /** The first line that satisfies `wanted`, already there or to come. Rejects if the process ends without. */
  async line(wanted: (line: JsonLine) => boolean): Promise<JsonLine> {
    for (let next = 0; ; ) {
      for (; next < this.lines.length; next++) {
        const line = this.lines[next];
        if (line !== undefined && wanted(line)) {
          return line;
        }
      }
      if (this.#ended) {
        throw new Error(`The process ended too early. It printed:\n${this.stdout}\n${this.stderr}`);
      }
      await new Promise<void>((resolve) => this.#waiters.add(resolve));
    }
  }

  /** The first event of a kind, with these fields. */
  event(event: string, fields: JsonLine = {}): Promise<JsonLine> {
    return this.line(
      (line) =>
        line['event'] === event && Object.entries(fields).every(([name, value]) => line[name] === value),
    );
  }

  /** Ends it with a signal, if it still runs, and waits for its end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string> {
    if (!this.#ended) {
      this.child.kill(signal);
    }
    return this.exited;
  }

  #receive(line: string): void {
    this.stdout += `${line}\n`;
    if (line.startsWith('{')) {
      this.lines.push(JSON.parse(line) as JsonLine);
      this.#wake();
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters) {
      waiter();
    }
    this.#waiters.clear();
  }
}

/** A started node with a data folder of its own. */
export interface StartedNode {
  readonly process: StartedProcess;
  readonly home: string;
  /** Base URL for OpenAI clients. */
  readonly apiUrl: string;
  /** The API's address without `/v1`. */
  readonly origin: string;
  /** Stops the node and deletes its folder. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts `meshnode serve --json` on free ports; resolves once the API answers. */
export async function startNode(
  flags: readonly string[],
  options: ProcessOptions = {},
): Promise<StartedNode> {
  const home = await mkdtemp(join(tmpdir(), 'meshnode-'));
  const process = new StartedProcess(
    meshnodeProgram,
    ['serve', '--json', '--port', '0', '--console-port', '0', '--data-dir', home, ...flags],
    options,
  );
  const stop = async (signal?: NodeJS.Signals): Promise<void> => {
    await process.stop(signal);
    await rm(home, { recursive: true, force: true });
  };
  try {
    const apiUrl = String((await process.event('api'))['url']);
    const { origin } = new URL(apiUrl);
    await (await fetch(`${origin}/health`)).arrayBuffer();
    return { process, home, apiUrl, origin, stop };
  } catch (cause) {
    await stop('SIGKILL');
    throw cause;
  }
}

/** Starts the double as a process; flags: test/fixtures/double-openai-server-main.ts. */
export async function startDoubleServer(
  flags: readonly string[],
): Promise<{ process: StartedProcess; origin: string }> {
  const main = join(root, 'test/fixtures/double-openai-server-main.ts');
  const started = new StartedProcess(process.execPath, [main, ...flags]);
  const { port } = await started.line((line) => line['port'] !== undefined);
  return { process: started, origin: `http://127.0.0.1:${String(port)}` };
}

/** Runs a command of the launcher to its end. `input` is its standard input, closed at once if absent. */
export async function runMeshnode(
  args: readonly string[],
  options: ProcessOptions & { input?: string } = {},
): Promise<{ exitCode: number | string; stdout: string; stderr: string }> {
  const started = new StartedProcess(meshnodeProgram, args, options);
  started.child.stdin?.end(options.input ?? '');
  const exitCode = await started.exited;
  return { exitCode, stdout: started.stdout, stderr: started.stderr };
}

/** Processes below `pid`, at any depth, by /proc (Linux). */
export async function descendants(pid: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const name of await readdir('/proc')) {
    const stat = /^\d+$/.test(name) ? await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '') : '';
    const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
    if (parent !== undefined) {
      parents.set(Number(name), Number(parent));
    }
  }
  const below = (ancestor: number): number[] =>
    [...parents].filter(([, parent]) => parent === ancestor).flatMap(([child]) => [child, ...below(child)]);
  return below(pid);
}

/** Resolves once none of the processes runs any more; rejects after `timeoutMs`, naming those that do. */
export async function allGone(pids: readonly number[], timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const alive = await runningAmong(pids);
    if (alive.length === 0) {
      return;
    }
    if (performance.now() > deadlineMs) {
      throw new Error(`Still running: ${alive.join(', ')}`);
    }
    await wait(20);
  }
}

/** A zombie has ended; only its parent has not noticed. */
async function runningAmong(pids: readonly number[]): Promise<number[]> {
  const states = await Promise.all(
    pids.map(async (pid) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
    }),
  );
  return pids.filter((_, index) => states[index] !== '' && states[index] !== 'Z');
}
