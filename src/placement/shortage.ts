// Why a model is placed nowhere, in numbers, and what would help.
import type { ModelDemand } from '../models/model-demand.ts';
import { formatSize } from '../util/size.ts';
import { allAbsent, leftOutNode } from './absent.ts';
import type { ClusterNode, RoundTrips } from './cluster.ts';
import { usableBytesOf } from './devices.ts';
import type { LeftOut, LeftOutReason } from './left-out.ts';
import type { RefusedHost } from './pipeline.ts';
import type { LargestNode, NoPlan } from './plan.ts';
import { absenceOf } from './solo.ts';
import type { StageSizes } from './stage-sizes.ts';

export type Shortage = Pick<NoPlan, 'cause' | 'closest' | 'leftOut' | 'help'>;

/** `refused` are all members that live and serve; `alone` is one that holds the model whole, if a split was forced. */
export function explainShortage(
  nodes: readonly ClusterNode[],
  refused: readonly RefusedHost[],
  alone: string | undefined,
  demand: ModelDemand,
  sizes: StageSizes,
  roundTrips: RoundTrips,
): Shortage {
  const hosts = refused.filter(({ reason }) => reason.kind !== 'no-engine');
  const [first] = hosts;
  const closest = hosts.reduce(
    (best, host) => (best === undefined || host.usableBytes > best.usableBytes ? host : best),
    first,
  );
  const leftOut =
    closest === undefined
      ? nodes.map((node) => leftOutNode(node, absenceOf(node) ?? { kind: 'no-engine' }))
      : allAbsent(nodes, closest, roundTrips, sizes);
  return {
    cause: closest !== undefined ? 'no-split' : refused.length > 0 ? 'no-host' : 'nobody-serves',
    closest: closest && {
      nodeName: closest.node.name,
      reason: closest.reason,
      usableBytes: closest.usableBytes,
      deviceCount: closest.deviceCount,
    },
    leftOut,
    help: [
      ...(alone === undefined ? [] : [`It fits on ${alone} alone: ask for it without a forced split.`]),
      ...missingMemory(closest?.reason),
      ...helpOf(nodes, leftOut),
      `A smaller quantisation, a context shorter than ${demand.contextTokens} tokens, or fewer slots than ${demand.slots} need less.`,
    ],
  };
}

/** The living member with most memory, clients left out. */
export function largestNode(nodes: readonly ClusterNode[]): LargestNode | undefined {
  return nodes
    .filter((node) => absenceOf(node) === undefined)
    .map((node) => ({ nodeName: node.name, usableBytes: usableBytesOf(node) }))
    .reduce<LargestNode | undefined>(
      (best, node) => (best === undefined || node.usableBytes > best.usableBytes ? node : best),
      undefined,
    );
}

function missingMemory(reason: LeftOutReason | undefined): string[] {
  return reason?.kind === 'too-little-together'
    ? [`At least ${formatSize(reason.neededBytes - reason.usableBytes)} more usable memory in reach.`]
    : [];
}

/** What the owner of left out members can do, by reason. */
const remedies: Partial<Record<LeftOutReason['kind'], string>> = {
  silent: 'would be back if it is heard again',
  'no-engine': 'could take part with the native engine',
  'lends-nothing': 'could take part if it lent its devices (--worker)',
  'other-build': 'could take part with the build of the host',
  'rtt-unknown': 'could take part once the way to it is measured and short',
  'rtt-too-long': 'could take part if it were nearer',
};

function helpOf(nodes: readonly ClusterNode[], leftOut: readonly LeftOut[]): string[] {
  const bytesOf = new Map(nodes.map((node) => [node.peerId, usableBytesOf(node)] as const));
  const byKind = Map.groupBy(leftOut, ({ reason }) => reason.kind);
  return [...byKind].flatMap(([kind, members]) => {
    const remedy = remedies[kind];
    const bytes = members.reduce((sum, { peerId }) => sum + (bytesOf.get(peerId) ?? 0), 0);
    const names = members.map(({ nodeName }) => nodeName).join(', ');
    return remedy === undefined || bytes === 0 ? [] : [`${names} (${formatSize(bytes)} usable): ${remedy}.`];
  });
}
