// Which nodes hold a model whole, the best first, and why the others do not.
import type { ModelDemand } from '../models/model-demand.ts';
import { type ClusterNode, comparePeerIds } from './cluster.ts';
import { hostBytes, lackingRamBytes, ownDevices, usableBytesOf } from './devices.ts';
import { estimateSpeed } from './estimate.ts';
import type { LeftOutReason } from './left-out.ts';
import type { Placement } from './plan.ts';
import { type Split, splitOver } from './split.ts';
import type { StageSizes } from './stage-sizes.ts';

/**
 * Nodes on which the model fits: those that have its file, then the fastest (known before unknown), then those with
 * most memory, then by peer id.
 */
export function soloPlacements(
  nodes: readonly ClusterNode[],
  demand: ModelDemand,
  sizes: StageSizes,
): Placement[] {
  return nodes
    .filter((node) => absenceOf(node) === undefined)
    .flatMap((node) => {
      const split = splitOnOne(node, demand, sizes);
      return split === undefined ? [] : [{ node, placement: placementAt(node, split) }];
    })
    .sort(
      (one, other) =>
        Number(other.node.hasFile) - Number(one.node.hasFile) ||
        speedOf(other.placement) - speedOf(one.placement) ||
        usableBytesOf(other.node) - usableBytesOf(one.node) ||
        comparePeerIds(one.node, other.node),
    )
    .map(({ placement }) => placement);
}

/** Unknown comes last: any known speed is above 0. */
function speedOf({ estimate }: Placement): number {
  return estimate.tokensPerSecond ?? 0;
}

/** A placement and its speed. */
export function placementAt({ peerId, name, hasFile }: ClusterNode, split: Split): Placement {
  return { peerId, nodeName: name, hasFile, split, estimate: estimateSpeed(split.stages) };
}

/** Why a node serves nothing at all; undefined if it does. */
export function absenceOf(node: ClusterNode): LeftOutReason | undefined {
  if (node.role === 'client') {
    return { kind: 'client' };
  }
  if (node.isSilent) {
    return { kind: 'silent' };
  }
  return usableBytesOf(node) === 0 ? { kind: 'no-devices' } : undefined;
}

/** Why a node does not hold the model whole, given that it does not. */
export function soloRefusal(node: ClusterNode, demand: ModelDemand, sizes: StageSizes): LeftOutReason {
  const ramBytes = lackingRamBytes(node, demand);
  return (
    absenceOf(node) ??
    (ramBytes !== undefined && ramBytes < usableBytesOf(node)
      ? { kind: 'ram-too-small', usableBytes: ramBytes, neededBytes: hostBytes(demand) }
      : { kind: 'cannot-hold-it', usableBytes: usableBytesOf(node), neededBytes: sizes.wholeBytes })
  );
}

function splitOnOne(node: ClusterNode, demand: ModelDemand, sizes: StageSizes): Split | undefined {
  if (lackingRamBytes(node, demand) !== undefined) {
    return undefined;
  }
  for (const own of ownDevices(node)) {
    const split = splitOver(demand, sizes, own, []);
    if (split !== undefined) {
      return split;
    }
  }
  return undefined;
}
