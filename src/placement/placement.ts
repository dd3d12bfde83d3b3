// Where a model runs: whole on one machine if any holds it, else cut over several. Pure: the same cluster, in whatever
// order it is told, gives every node the same plan. Who acts on a plan is decided elsewhere.
import type { ModelDemand } from '../models/model-demand.ts';
import { idleDevices, idleMembers, leftOutNode } from './absent.ts';
import { type Cluster, type ClusterNode, comparePeerIds, RoundTrips } from './cluster.ts';
import type { LeftOut } from './left-out.ts';
import { searchPipeline } from './pipeline.ts';
import type { Placement, Plan, SoloPlan } from './plan.ts';
import { explainShortage, largestNode } from './shortage.ts';
import { placementAt, soloPlacements, soloRefusal } from './solo.ts';
import { StageSizes } from './stage-sizes.ts';

export interface PlacementOptions {
  /** Cut the model even if a node holds it whole (`--split`). */
  readonly splitForced?: boolean;
  /** Nodes that shall each hold it whole. */
  readonly replicas?: number;
}

/** Plans where a model runs. Takes nothing into account that is not handed in. */
export function planPlacement(demand: ModelDemand, cluster: Cluster, options: PlacementOptions = {}): Plan {
  const { splitForced = false, replicas = 1 } = options;
  const nodes = cluster.nodes.toSorted(comparePeerIds);
  const sizes = new StageSizes(demand);
  const fitting = soloPlacements(nodes, demand, sizes);
  if (fitting.length > 0 && !splitForced) {
    return soloPlan(nodes, fitting, Math.max(1, replicas), demand, sizes);
  }
  const roundTrips = new RoundTrips(cluster.links);
  const { found, refused } = searchPipeline(nodes, demand, sizes, roundTrips);
  const base = { demand, neededBytes: sizes.wholeBytes, largest: largestNode(nodes) };
  if (found === undefined) {
    const alone = fitting[0]?.nodeName;
    const { leftOut, ...shortage } = explainShortage(nodes, refused, alone, demand, sizes, roundTrips);
    return { mode: 'none', ...base, ...shortage, leftOut, notes: [] };
  }
  const { host, split } = found;
  return {
    mode: 'pipeline',
    ...base,
    isForced: splitForced && fitting.length > 0,
    host: placementAt(host, split),
    passedOver: refused.map(({ node, reason }) => leftOutNode(node, reason)),
    leftOut: inOrder([
      ...idleMembers(nodes, host, split, roundTrips, sizes),
      ...idleDevices(nodes, host.peerId, split, sizes),
    ]),
    notes: demand.isMixture
      ? ['A mixture of experts is cut by layers like any other model; cutting it by experts comes later.']
      : [],
  };
}

function soloPlan(
  nodes: readonly ClusterNode[],
  fitting: readonly Placement[],
  wanted: number,
  demand: ModelDemand,
  sizes: StageSizes,
): SoloPlan {
  const [replicas, candidates] = [fitting.slice(0, wanted), fitting.slice(wanted)];
  const chosen = new Set(replicas.map(({ peerId }) => peerId));
  const able = new Set(candidates.map(({ peerId }) => peerId));
  const others = nodes.filter(({ peerId }) => !chosen.has(peerId));
  return {
    mode: 'solo',
    demand,
    neededBytes: sizes.wholeBytes,
    replicas,
    candidates,
    leftOut: inOrder([
      ...others.map((node) =>
        leftOutNode(node, able.has(node.peerId) ? { kind: 'not-needed' } : soloRefusal(node, demand, sizes)),
      ),
      ...replicas.flatMap(({ peerId, split }) => idleDevices(nodes, peerId, split, sizes)),
    ]),
    notes:
      replicas.length < wanted
        ? [`${wanted} replicas were asked for; ${replicas.length} of the members can hold one.`]
        : [],
  };
}

function inOrder(leftOut: readonly LeftOut[]): LeftOut[] {
  return leftOut.toSorted(
    (one, other) => comparePeerIds(one, other) || (one.device?.index ?? -1) - (other.device?.index ?? -1),
  );
}
