// What membership costs a node, and how fast news spreads, in meshes of ten to a thousand nodes: the real code in
// the simulator, over its model of gossipsub.
import { type Figures, measureMesh } from '../test/sim/figures.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';

/** Others: BENCH_SPREAD_SIZES=10,100. A thousand nodes take half an hour and gigabytes. */
const sizes = (process.env['BENCH_SPREAD_SIZES'] ?? '10,100,1000').split(',').map(Number);
const seed = 1;

export async function spread(): Promise<BenchResult> {
  const measured = sizes.map((size) => {
    process.stderr.write(`spread: ${size} nodes\n`);
    return measureMesh(size, seed);
  });
  return {
    name: 'spread',
    title: 'Membership of larger meshes, simulated',
    notes: [
      'Membership, records, digests and their timers are the real code; links take 5 to 25 ms; broadcast is the model that the bench `gossip` holds against real processes.',
      'Beats are left out: above 64 members each node beats eight neighbours once a second, however large the mesh is.',
      'Bytes: what one node sends in a quiet minute, on average over a round of announcements. Spread: from a change of a node to the median and the last node that knows it; medians of 5.',
      'The members know each other from the start, and have spread their announcements over the time between two: a mesh that has lived for long.',
      'Total: over all nodes, against the growth of N log N from the smallest mesh. Everybody hears of everybody, so at a fixed interval the total would grow with the square of N; above 16 members announcements become rarer in proportion, up to 15 minutes.',
    ],
    machine: describeMachine(),
    rows: measured.flatMap((figures) => rowsOf(figures, measured[0] ?? figures)),
  };
}

function rowsOf(figures: Figures, smallest: Figures): BenchRow[] {
  const { nodes, broadcastBytes, linkBytes, halfMs, allMs } = figures;
  const growth = totalOf(figures) / totalOf(smallest);
  const allowed = (nodes * Math.log(nodes)) / (smallest.nodes * Math.log(smallest.nodes));
  const bytes = (count: number): string => `${(count / 1000).toFixed(1)} kB`;
  return [
    {
      measure: `${nodes} nodes: one node a minute`,
      value: `broadcast ${bytes(broadcastBytes)}, digests ${bytes(linkBytes)}`,
      against: '',
      target: '',
      samples: [broadcastBytes, linkBytes],
    },
    {
      measure: `${nodes} nodes: a change is known`,
      value: `to half in ${halfMs.toFixed(0)} ms, to all in ${allMs.toFixed(0)} ms`,
      against: '',
      target: '',
      samples: [halfMs, allMs],
    },
    {
      measure: `${nodes} nodes: total bytes`,
      value: `${growth.toFixed(0)} x those of ${smallest.nodes}`,
      against: `N log N: ${allowed.toFixed(0)} x`,
      target: `<= ${allowed.toFixed(0)} x`,
      met: growth <= allowed * 1.001,
      samples: [growth],
    },
  ];
}

function totalOf({ nodes, broadcastBytes, linkBytes }: Figures): number {
  return nodes * (broadcastBytes + linkBytes);
}
