// Whether a mesh keeps its nodes alive while every core of the machine is busy: nobody may fall silent or be held dead.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { markdownTable } from '../support/markdown-table.ts';
import { progress, type TrialResult } from './trial.ts';
import { allJoined, TrialNode } from './trial-node.ts';

const nodeCount = 5;
const saturatedMs = 10 * 60_000;
const transports = ['quic', 'tcp'] as const;
/** Endless work: so many processes for each core, beside which the nodes have to find their time. */
const burnersPerCore = 2;
const burner = 'for (;;) { Math.sqrt(Math.random()); }';

/** A mesh over each transport, side by side. */
export async function trialSaturation(forMs: number = saturatedMs): Promise<TrialResult> {
  const meshes: TrialMesh[] = [];
  try {
    for (const transport of transports) {
      meshes.push(await TrialMesh.start(transport));
    }
    await burning(forMs);
    const rows = meshes.map(({ transport, silences, deaths }) => {
      return [transport, `${forMs / 60_000} min`, String(nodeCount), String(silences), String(deaths)];
    });
    return {
      held: meshes.every(({ deaths }) => deaths === 0),
      report: [
        markdownTable([['over', 'time', 'nodes', 'fell silent for somebody', 'held dead'], ...rows]),
        '',
        `Both meshes at once; ${burnersPerCore} processes for each of the ${availableParallelism()} cores compute without end meanwhile. Nobody`,
        'may be held dead; who is silent for somebody gets no requests from it until its next word.',
      ].join('\n'),
    };
  } finally {
    await Promise.all(meshes.map((mesh) => mesh.end()));
  }
}

/** Five nodes that know each other, and what they have said of each other since. */
class TrialMesh {
  readonly transport: (typeof transports)[number];
  readonly #nodes: TrialNode[] = [];
  readonly #marks = new Map<TrialNode, number>();

  private constructor(transport: (typeof transports)[number]) {
    this.transport = transport;
  }

  static async start(transport: (typeof transports)[number]): Promise<TrialMesh> {
    const mesh = new TrialMesh(transport);
    try {
      for (let index = 0; index < nodeCount; index++) {
        const [first] = mesh.#nodes;
        const join = first === undefined ? [] : ['--join', await first.token()];
        const node = await TrialNode.create(`n${index}`);
        mesh.#nodes.push(node);
        await node.launch(['--transport', transport, ...join]);
      }
      await allJoined(mesh.#nodes);
    } catch (cause) {
      await mesh.end();
      throw cause;
    }
    for (const node of mesh.#nodes) {
      mesh.#marks.set(node, node.mark());
    }
    return mesh;
  }

  get silences(): number {
    return this.#count('suspect');
  }

  get deaths(): number {
    return this.#count('dead');
  }

  async end(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.discard()));
  }

  #count(state: string): number {
    const said = this.#nodes.flatMap((node) => node.saidOfPeers(this.#marks.get(node)));
    return said.filter((line) => line['state'] === state).length;
  }
}

async function burning(forMs: number): Promise<void> {
  const burners = Array.from({ length: burnersPerCore * availableParallelism() }, () =>
    spawn(process.execPath, ['-e', burner], { stdio: 'ignore' }),
  );
  try {
    for (let leftMs = forMs; leftMs > 0; leftMs -= 60_000) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(60_000, leftMs)));
      progress(`saturated: ${Math.max(0, leftMs - 60_000) / 60_000} minutes left`);
    }
  } finally {
    for (const child of burners) {
      child.kill('SIGKILL');
    }
  }
}
