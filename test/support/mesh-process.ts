// Real nodes in one mesh, for the tests that attack it: their tables, their memory and how quickly they answer each
// other, asked for over the management API as their owner would.
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { NodeClient } from '../../src/cli/node-client.ts';
import type { PeerView } from '../../src/console/mesh-port.ts';
import { MeshFolder } from '../../src/node/mesh-folder.ts';
import type { Issuer } from '../../src/trust/certificate.ts';
import { createInvite, type InviteOptions } from '../../src/trust/invite.ts';
import { KeyPair, keyText } from '../../src/trust/keys.ts';
import { nodeLimits } from '../../src/util/limits/node.ts';
import { systemRandom } from '../../src/util/random.ts';
import { type JsonLine, meshnodeProgram, runMeshnode, StartedProcess } from './started-process.ts';

export type Path = 'quic' | 'tcp';

/** What a table says of a node, without what changes by itself. */
export type TableRow = Pick<PeerView, 'peerId' | 'name' | 'role' | 'state' | 'models'>;

const never = new AbortController().signal;

/** A node with a data folder of its own; it can be started again. */
export class MeshProcess {
  readonly home: string;
  readonly name: string;
  /** Added to the environment of what is started from now on. */
  environment: Readonly<Record<string, string>> = {};
  #process: StartedProcess | undefined;
  #client: NodeClient | undefined;
  #peerId = '';
  #addresses: readonly string[] = [];

  private constructor(home: string, name: string) {
    this.home = home;
    this.name = name;
  }

  /** With an empty data folder; nothing runs yet. */
  static async create(name: string): Promise<MeshProcess> {
    return new MeshProcess(await mkdtemp(join(tmpdir(), 'meshnode-hostile-')), name);
  }

  /** As create and start; nothing is left if it does not start. */
  static async started(name: string, ...flags: readonly string[]): Promise<MeshProcess> {
    const made = await MeshProcess.create(name);
    try {
      await made.start(...flags);
      return made;
    } catch (cause) {
      await made.discard();
      throw cause;
    }
  }

  /** With a copy of another node's folder, its key too: what nobody should do with a folder in use. */
  static async copied(original: MeshProcess, name: string): Promise<MeshProcess> {
    const made = await MeshProcess.create(name);
    await cp(original.home, made.home, { recursive: true });
    return made;
  }

  /** Resolves once the node is part of its mesh, or rejects with what it printed. */
  async start(...flags: readonly string[]): Promise<void> {
    const started = this.launch('--json', '--log-level', 'warn', ...flags);
    const { peerId, addresses } = await started.event('node');
    await started.event('ready');
    this.#peerId = String(peerId);
    this.#addresses = addresses as string[];
    this.#client = await NodeClient.find(this.home);
  }

  /** As a user starts it. */
  launch(...flags: readonly string[]): StartedProcess {
    const ports = ['--port', '0', '--console-port', '0'];
    this.#process = new StartedProcess(
      meshnodeProgram,
      ['--name', this.name, '--data-dir', this.home, ...ports, ...flags],
      { environment: this.environment },
    );
    return this.#process;
  }

  get process(): StartedProcess {
    return required(this.#process, `${this.name} was started`);
  }

  get client(): NodeClient {
    return required(this.#client, `${this.name} runs`);
  }

  get peerId(): string {
    return this.#peerId;
  }

  get isAlive(): boolean {
    return this.process.child.exitCode === null && this.process.child.signalCode === null;
  }

  /** Multiaddr with the peer id. */
  address(path: Path): string {
    const kind = path === 'quic' ? '/udp/' : '/tcp/';
    return required(
      this.#addresses.find((address) => address.includes(kind)),
      `${this.name} listens on ${path}`,
    );
  }

  peers(): Promise<readonly PeerView[]> {
    return this.client.peers(never);
  }

  /** The others in its table, but `except`, by peer id. */
  async table(except: ReadonlySet<string> = new Set()): Promise<TableRow[]> {
    return (await this.peers())
      .filter(({ peerId }) => !except.has(peerId))
      .map(({ peerId, name, role, state, models }) => ({ peerId, name, role, state, models }))
      .sort((a, b) => (a.peerId < b.peerId ? -1 : 1));
  }

  /** Resolves once its table holds these peers in this state, and nobody else. */
  async shows(others: readonly MeshProcess[], state: TableRow['state'] = 'joined'): Promise<void> {
    const wanted = others.map(({ peerId }) => `${peerId} ${state}`).sort();
    await vi.waitFor(
      async () => {
        const shown = (await this.table()).map((row) => `${row.peerId} ${row.state}`);
        expect(shown).toEqual(wanted);
      },
      { timeout: 15_000, interval: 50 },
    );
  }

  /** One round trip to a peer, measured by this node itself; Infinity if it took too long. */
  async rttTo(peer: string): Promise<number> {
    const signal = AbortSignal.timeout(nodeLimits.shownRttMs);
    const measured = await this.client.ping(peer, 1, signal, { throughput: false }).catch(() => undefined);
    return measured?.paths[0]?.rttMs.p50 ?? Number.POSITIVE_INFINITY;
  }

  /** Resident memory; from now on the peak counts anew (Linux). */
  async residentBytes(): Promise<number> {
    await writeFile(`/proc/${this.process.pid}/clear_refs`, '5');
    return this.#memory('VmRSS');
  }

  /** The most resident memory that it had since it was last asked for the present one. */
  peakBytes(): Promise<number> {
    return this.#memory('VmHWM');
  }

  async #memory(field: 'VmRSS' | 'VmHWM'): Promise<number> {
    const status = await readFile(`/proc/${this.process.pid}/status`, 'utf8');
    return 1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]);
  }

  /** A command beside the node. */
  run(...args: readonly string[]): ReturnType<typeof runMeshnode> {
    return runMeshnode([...args, '--data-dir', this.home]);
  }

  /** The values that a command beside the node prints for programs, if it succeeds. */
  async json<Value = JsonLine>(...args: readonly string[]): Promise<Value[]> {
    const { exitCode, stdout, stderr } = await this.run(...args, '--json');
    if (exitCode !== 0) {
      throw new Error(`meshnode ${args.join(' ')} ended with ${exitCode}: ${stderr}`);
    }
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Value);
  }

  /** What a failed join must not have left behind. */
  async leftovers(): Promise<string[]> {
    const names = await readdir(this.home);
    return names.filter((name) => ['mesh.json', 'mesh.key', 'run.json', 'listen-port'].includes(name));
  }

  /** The key of its mesh, if this node made it. */
  async meshIssuer(): Promise<Issuer & { readonly key: KeyPair }> {
    const seed = required(await new MeshFolder(this.home).meshKey(), `${this.name} holds the mesh key`);
    const key = KeyPair.fromSeed(seed);
    return { meshId: keyText(key.publicKey), key };
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  /** Ends the node at once and deletes its folder. */
  async discard(): Promise<void> {
    await this.#process?.stop('SIGKILL');
    await rm(this.home, { recursive: true, force: true });
  }
}

/** A node that made a mesh, and one that joined it: they know each other. */
export async function startedPair(): Promise<[founder: MeshProcess, member: MeshProcess]> {
  const founder = await MeshProcess.started('ada');
  try {
    const { token } = await founder.process.event('invite');
    const member = await MeshProcess.started('bee', '--join', String(token));
    await Promise.all([founder.shows([member]), member.shows([founder])]);
    return [founder, member];
  } catch (cause) {
    await founder.discard();
    throw cause;
  }
}

/** An invite as `issuer` would make it, whatever it is worth. */
export function inviteBy(
  issuer: Issuer,
  addresses: readonly string[],
  { nowMs = Date.now(), ...options }: Partial<InviteOptions> & { nowMs?: number } = {},
): string {
  const terms = { role: 'serve', ttlMs: 60_000, maxUses: 1, strict: false } as const;
  return createInvite({ issuer, addresses, ...terms, ...options }, { random: systemRandom, nowMs }).token;
}

export function freshKey(): KeyPair {
  return KeyPair.fromSeed(systemRandom.bytes(32));
}

/** A mesh key that no node has. */
export function strangeIssuer(): Issuer {
  const key = freshKey();
  return { meshId: keyText(key.publicKey), key };
}

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) {
    throw new Error(`It was expected that ${what}.`);
  }
  return value;
}
