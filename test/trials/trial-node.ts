// A node of a trial: the program as it is, what it has said so far, and waiting for what must come about.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type JsonLine, meshnodeProgram, StartedProcess } from '../support/started-process.ts';

/** What a program is run by, itself included. */
type Command = readonly [command: string, ...args: string[]];

/** Longest wait for anything: then the trial itself has failed. */
const patienceMs = 60_000;

export class TrialNode {
  readonly name: string;
  readonly home: string;
  readonly #command: Command;
  apiUrl = '';
  peerId = '';
  #process: StartedProcess | undefined;

  private constructor(name: string, home: string, command: Command) {
    this.name = name;
    this.home = home;
    this.#command = command;
  }

  /** With an empty data folder; nothing runs yet. `command` is what the program is run by. */
  static async create(name: string, command: Command = [meshnodeProgram]): Promise<TrialNode> {
    return new TrialNode(name, await mkdtemp(join(tmpdir(), 'meshnode-trial-')), command);
  }

  /** Resolves once the node is part of its mesh and its models are loaded. */
  async launch(flags: readonly string[]): Promise<void> {
    const [command, ...args] = this.#command;
    this.#process = new StartedProcess(command, [
      ...args,
      ...[
        'serve',
        '--json',
        '--name',
        this.name,
        '--data-dir',
        this.home,
        '--port',
        '0',
        '--console-port',
        '0',
      ],
      ...['--threads', '1', ...flags],
    ]);
    this.apiUrl = String((await this.process.event('api'))['url']);
    this.peerId = String((await this.process.event('node'))['peerId']);
    await this.process.event('ready');
  }

  get process(): StartedProcess {
    if (this.#process === undefined) {
      throw new Error(`${this.name} was not started.`);
    }
    return this.#process;
  }

  /** Of a node that made its mesh: how another one joins. */
  async token(): Promise<string> {
    const { token } = await this.process.event('invite');
    return String(token);
  }

  /** How much it has said so far. */
  mark(): number {
    return this.process.lines.length;
  }

  /** What it has said of peers since a mark. */
  saidOfPeers(after = 0): JsonLine[] {
    return this.process.lines.slice(after).filter((line) => line['event'] === 'peer');
  }

  /** What it said last of a peer. */
  state(peerId: string): unknown {
    return this.saidOfPeers().findLast((line) => line['peerId'] === peerId)?.['state'];
  }

  /** When it says, after a mark, that a peer is in one of these states. */
  async peerIs(peerId: string, states: readonly string[], after: number): Promise<number> {
    const isSaid = (line: JsonLine): boolean =>
      line['peerId'] === peerId && states.includes(String(line['state']));
    await until(`${this.name} shows the victim as ${states.join(' or ')}`, async () =>
      this.saidOfPeers(after).some(isSaid),
    );
    return performance.now();
  }

  /** Ends it at once and deletes its folder. */
  async discard(): Promise<void> {
    await this.#process?.stop('SIGKILL');
    await rm(this.home, { recursive: true, force: true });
  }
}

/** Resolves once each of the nodes has told that all others have joined. */
export async function allJoined(nodes: readonly TrialNode[]): Promise<void> {
  await until('the mesh is whole', async () =>
    nodes.every((node) =>
      nodes.every(({ peerId }) => peerId === node.peerId || node.state(peerId) === 'joined'),
    ),
  );
}

export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!(await isSo())) {
    if (performance.now() > endMs) {
      throw new Error(`It did not come about that ${what}.`);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function inTime<T>(what: string, promise: Promise<T> | undefined): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`It did not come about that ${what}.`)), patienceMs);
  });
  try {
    return await Promise.race([promise ?? late, late]);
  } finally {
    clearTimeout(timer);
  }
}
