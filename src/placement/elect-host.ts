// Who may host a split, in which order members are tried, and who may lend a host a device.
import type { ModelDemand } from '../models/model-demand.ts';
import { placementLimits } from '../util/limits/placement.ts';
import { type ClusterNode, comparePeerIds, type RoundTrips } from './cluster.ts';
import { hostBytes, hostingBytesOf, lackingRamBytes, placementDevices } from './devices.ts';
import type { LeftOutReason } from './left-out.ts';
import { absenceOf } from './solo.ts';
import type { WorkerDevice } from './split.ts';

/**
 * Members that live and serve, in the order in which they are asked to host: those that have the file, then those with
 * most memory of GPUs (RAM where there is none), then by peer id.
 */
export function hostOrder(nodes: readonly ClusterNode[]): ClusterNode[] {
  return nodes
    .filter((node) => absenceOf(node) === undefined)
    .map((node) => ({ node, bytes: hostingBytesOf(node) }))
    .sort(
      (one, other) =>
        Number(other.node.hasFile) - Number(one.node.hasFile) ||
        other.bytes - one.bytes ||
        comparePeerIds(one.node, other.node),
    )
    .map(({ node }) => node);
}

/** Whether it computes with others' devices: the native engine does, in a build that it names. */
export function canHost(node: ClusterNode): boolean {
  return node.canHost && node.rpcBuild !== undefined;
}

/** What keeps a member from hosting, whoever lends to it; undefined if nothing does. */
export function hostRefusal(node: ClusterNode, demand: ModelDemand): LeftOutReason | undefined {
  if (!canHost(node)) {
    return { kind: 'no-engine' };
  }
  const usableBytes = lackingRamBytes(node, demand);
  return usableBytes === undefined
    ? undefined
    : { kind: 'ram-too-small', usableBytes, neededBytes: hostBytes(demand) };
}

/** What keeps a member from lending to this host; undefined if nothing does. */
export function workerRefusal(
  node: ClusterNode,
  host: ClusterNode,
  roundTrips: RoundTrips,
): LeftOutReason | undefined {
  const absence = absenceOf(node);
  if (absence !== undefined) {
    return absence;
  }
  if (node.lends === undefined) {
    return { kind: node.canHost ? 'lends-nothing' : 'no-engine' };
  }
  if (host.rpcBuild !== node.lends) {
    return { kind: 'other-build', build: node.lends, hostBuild: host.rpcBuild ?? 'none' };
  }
  const rttMs = roundTrips.between(node.peerId, host.peerId);
  if (rttMs === undefined) {
    return { kind: 'rtt-unknown' };
  }
  const capMs = placementLimits.rttCapMs;
  return rttMs > capMs ? { kind: 'rtt-too-long', rttMs, capMs } : undefined;
}

/** Devices lent to a host that hold at least `leastBytes`, nearest first, then by peer id and place in the node. */
export function workersOf(
  host: ClusterNode,
  nodes: readonly ClusterNode[],
  roundTrips: RoundTrips,
  leastBytes: number,
): WorkerDevice[] {
  return nodes
    .filter((node) => node !== host && workerRefusal(node, host, roundTrips) === undefined)
    .flatMap((node) => {
      const rttMs = roundTrips.between(node.peerId, host.peerId) ?? Number.POSITIVE_INFINITY;
      return placementDevices(node).map((device) => ({ device, rttMs }));
    })
    .filter(({ device }) => device.usableBytes >= leastBytes)
    .sort(
      (one, other) =>
        one.rttMs - other.rttMs ||
        comparePeerIds(one.device, other.device) ||
        one.device.index - other.device.index,
    );
}
