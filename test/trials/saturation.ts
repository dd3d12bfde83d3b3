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

export async function trialSaturation(forMs: number = saturatedMs): Promise<TrialResult> {
  const rows: string[][] = [];
  for (const transport of transports) {
    const { silences, deaths } = await saturated(transport, forMs);
    rows.push([transport, `${forMs / 60_000} min`, String(nodeCount), String(silences), String(deaths)]);
  }
  return {
    held: rows.every(([, , , , deaths]) => deaths === '0'),
    report: [
      markdownTable([['over', 'time', 'nodes', 'fell silent for somebody', 'held dead'], ...rows]),
      '',
      `${burnersPerCore} processes for each of the ${availableParallelism()} cores compute without end meanwhile. Nobody`,
      'may be held dead; who is silent for somebody gets no requests from it until its next word.',
    ].join('\n'),
  };
}

async function saturated(
  transport: (typeof transports)[number],
  forMs: number,
): Promise<{ silences: number; deaths: number }> {
  const nodes: TrialNode[] = [];
  try {
    for (let index = 0; index < nodeCount; index++) {
      const node = await TrialNode.create(`n${index}`);
      const join = nodes[0] === undefined ? [] : ['--join', await nodes[0].token()];
      nodes.push(node);
      await node.launch(['--transport', transport, ...join]);
    }
    await allJoined(nodes);
    const marks = new Map(nodes.map((node) => [node, node.mark()]));
    await burning(forMs, transport);
    const said = nodes.flatMap((node) => node.saidOfPeers(marks.get(node)));
    const count = (state: string): number => said.filter((line) => line['state'] === state).length;
    return { silences: count('suspect'), deaths: count('dead') };
  } finally {
    await Promise.all(nodes.map((node) => node.discard()));
  }
}

async function burning(forMs: number, transport: string): Promise<void> {
  const burners = Array.from({ length: burnersPerCore * availableParallelism() }, () =>
    spawn(process.execPath, ['-e', burner], { stdio: 'ignore' }),
  );
  try {
    for (let leftMs = forMs; leftMs > 0; leftMs -= 60_000) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(60_000, leftMs)));
      progress(`saturated ${transport}: ${Math.max(0, leftMs - 60_000) / 60_000} minutes left`);
    }
  } finally {
    for (const child of burners) {
      child.kill('SIGKILL');
    }
  }
}
