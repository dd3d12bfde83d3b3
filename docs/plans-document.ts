// docs/PLANS.md: named clusters and the plan that each gets, as the command prints it. Pure.
import { planLines } from '../src/cli/plan-text.ts';
import type { Cluster, ClusterNode } from '../src/placement/cluster.ts';
import { planPlacement } from '../src/placement/placement.ts';
import { formatSize } from '../src/util/size.ts';
import { markdownTable } from '../test/support/markdown-table.ts';
import { type UnevenCluster, unevenClusters } from '../test/support/uneven-clusters.ts';

export function plansMarkdown(): string {
  return [
    '# Plans',
    '',
    'Made from `test/support/uneven-clusters.ts` by `npm run docs`: do not edit.',
    '',
    'Where models run in unequal meshes, as the planner (`src/placement/`) decides it. Shapes of models are real, in 4',
    'bits; **machines, round trips and bandwidths are invented**. A tenth of each memory is left to the machine. Layers',
    'count from 0; the output is a unit of its own.',
    '',
    ...unevenClusters.flatMap(section),
  ].join('\n');
}

function section({ title, about, demand, cluster, options }: UnevenCluster): string[] {
  return [
    `## ${title}`,
    '',
    about,
    '',
    clusterTable(cluster),
    '',
    '```',
    ...planLines(planPlacement(demand, cluster, options)),
    '```',
    '',
  ];
}

function clusterTable(cluster: Cluster): string {
  return markdownTable([
    ['node', 'role', 'has the file', 'hosts with', 'lends with', 'usable', 'round trips, ms'],
    ...cluster.nodes.map((node) => [
      node.isSilent ? `${node.name} (silent)` : node.name,
      node.role,
      node.hasFile ? 'yes' : '',
      node.canHost ? (node.rpcBuild ?? '') : '',
      node.lends ?? '',
      node.devices.map(({ name, usableBytes }) => `${name}: ${formatSize(usableBytes)}`).join(', '),
      roundTripsText(node, cluster),
    ]),
  ]);
}

/** Each pair once, at the first of the two. */
function roundTripsText({ peerId }: ClusterNode, { nodes, links }: Cluster): string {
  const nameOf = (id: string): string => nodes.find((node) => node.peerId === id)?.name ?? id;
  return links
    .filter(({ from }) => from === peerId)
    .map(({ to, rttMs }) => `${nameOf(to)} ${Number(rttMs.toFixed(1))}`)
    .join(', ');
}
