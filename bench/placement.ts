// How long a plan takes: a hundred nodes and a model of a hundred layers, in the cases that cost the planner most.
import type { ModelDemand } from '../src/models/model-demand.ts';
import type { Cluster, ClusterLink } from '../src/placement/cluster.ts';
import { type PlacementOptions, planPlacement } from '../src/placement/placement.ts';
import { seededRandom } from '../src/util/random.ts';
import { demandOf, modelShapes } from '../test/support/model-shapes.ts';
import { device, member } from '../test/support/uneven-clusters.ts';
import { type BenchResult, type BenchRow, describeMachine } from './support/report.ts';
import { median } from './support/statistics.ts';

const nodeCount = 100;
const runs = 100;
const targetMs = 50;

export async function placement(): Promise<BenchResult> {
  const model = demandOf({ ...modelShapes.llama70b, layers: 100 }, 8192);
  const [smallest, scarce] = [3, 12];
  return {
    name: 'placement',
    title: 'Planning where a model runs',
    notes: [
      `${nodeCount} nodes of one card, every pair of them measured; a model of 100 layers (70 B, 4 bits, made longer). ${runs} plans each, the first included.`,
      'Many hosts: cards of 3 GB, of which 15 never hold it, so that every node is tried as the host.',
      'No cut: memory suffices in sum, but heavy layers leave a rest on each card: every node is searched as the host, to the end.',
    ],
    machine: describeMachine(),
    rows: [
      measure('whole on one node', model, randomCluster([24, 96])),
      measure('cut over several', model, randomCluster([8, 24])),
      measure('cut, forced', model, randomCluster([24, 96]), { splitForced: true }),
      measure('none: many hosts, too little', model, randomCluster([smallest, smallest])),
      measure('none: no cut', lumpy(model), randomCluster([scarce, scarce])),
    ],
  };
}

/** Cards between these GiB. */
function randomCluster([least, most]: readonly [number, number]): Cluster {
  const random = seededRandom(1);
  const between = (low: number, high: number): number => low + random.float() * (high - low);
  const nodes = Array.from({ length: nodeCount }, (_, index) =>
    member(`node-${index}`, [device('cuda', between(least, most), 500e9), device('cpu', 64, 40e9)]),
  );
  const links = nodes.flatMap(({ peerId: from }, index) =>
    nodes.slice(index + 1).map(({ peerId: to }): ClusterLink => ({ from, to, rttMs: between(0.3, 100) })),
  );
  return { nodes, links };
}

/**
 * The same with light layers first and heavy ones after: 15 cards of 10.8 GiB have room for all of them in sum, but the
 * heavy ones leave much of each card empty, which only the search finds out.
 */
function lumpy(demand: ModelDemand): ModelDemand {
  const half = demand.units.length / 2;
  const sized = (gibibytes: number): number => gibibytes * 1024 ** 3;
  const units = demand.units.map((unit, index) => ({
    ...unit,
    weightsBytes: sized(index < half ? 0.9 : 2.15),
  }));
  return { ...demand, units };
}

function measure(
  name: string,
  demand: ModelDemand,
  cluster: Cluster,
  options: PlacementOptions = {},
): BenchRow {
  const samples = Array.from({ length: runs }, () => {
    const startMs = performance.now();
    planPlacement(demand, cluster, options);
    return performance.now() - startMs;
  });
  const [middle, longest] = [median(samples), Math.max(...samples)];
  return {
    measure: name,
    value: `p50 ${middle.toFixed(1)} ms, max ${longest.toFixed(1)} ms`,
    against: planPlacement(demand, cluster, options).mode,
    target: `max < ${targetMs} ms`,
    met: longest < targetMs,
    samples,
  };
}
