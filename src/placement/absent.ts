// Who takes no part in a plan, and why: one reason for each member, and one for each device of those that do take part.
import { placementLimits } from '../util/limits/placement.ts';
import type { ClusterNode, RoundTrips } from './cluster.ts';
import { type PlacementDevice, placementDevices } from './devices.ts';
import { workerRefusal, workersOf } from './elect-host.ts';
import type { LeftOut, LeftOutReason } from './left-out.ts';
import type { RefusedHost } from './pipeline.ts';
import type { Split } from './split.ts';
import type { StageSizes } from './stage-sizes.ts';

export function leftOutNode({ peerId, name }: ClusterNode, reason: LeftOutReason): LeftOut {
  return { peerId, nodeName: name, reason };
}

/** Devices that hold nothing, of the host and the other nodes that take part. */
export function idleDevices(
  nodes: readonly ClusterNode[],
  hostId: string,
  { stages }: Split,
  { leastBytes }: StageSizes,
): LeftOut[] {
  const taking = new Set([hostId, ...stages.map(({ device }) => device.peerId)]);
  const isUsed = (idle: PlacementDevice): boolean =>
    stages.some(({ device }) => device.peerId === idle.peerId && device.index === idle.index);
  return nodes
    .filter(({ peerId }) => taking.has(peerId))
    .flatMap(placementDevices)
    .filter((device) => !isUsed(device))
    .map((device) => leftOutDevice(device, smallness(device, leastBytes) ?? { kind: 'not-needed' }));
}

/** Members that are no part of the split, judged as workers of its host. */
export function idleMembers(
  nodes: readonly ClusterNode[],
  host: ClusterNode,
  split: Split,
  roundTrips: RoundTrips,
  sizes: StageSizes,
): LeftOut[] {
  const taking = new Set(split.stages.map(({ device }) => device.peerId));
  return nodes
    .filter((node) => node !== host && !taking.has(node.peerId))
    .map((node) => leftOutNode(node, refusalOf(node, host, roundTrips, sizes) ?? { kind: 'not-needed' }));
}

/** All members, judged as workers of the host that came closest to a plan and does not reach it. */
export function allAbsent(
  nodes: readonly ClusterNode[],
  { node: host, reason }: RefusedHost,
  roundTrips: RoundTrips,
  sizes: StageSizes,
): LeftOut[] {
  const most = placementLimits.devices - placementDevices(host).filter(({ kind }) => kind !== 'cpu').length;
  const largest = workersOf(host, nodes, roundTrips, sizes.leastBytes)
    .sort((one, other) => other.device.usableBytes - one.device.usableBytes)
    .slice(0, Math.max(0, most));
  const counted = new Set(largest.map(({ device }) => device.peerId));
  return nodes.map((node) => {
    if (node === host) {
      return leftOutNode(node, reason);
    }
    const spare: LeftOutReason = counted.has(node.peerId)
      ? { kind: 'not-enough' }
      : { kind: 'too-many-devices', most: placementLimits.devices };
    return leftOutNode(node, refusalOf(node, host, roundTrips, sizes) ?? spare);
  });
}

function refusalOf(
  node: ClusterNode,
  host: ClusterNode,
  roundTrips: RoundTrips,
  { leastBytes }: StageSizes,
): LeftOutReason | undefined {
  const refusal = workerRefusal(node, host, roundTrips);
  if (refusal !== undefined) {
    return refusal;
  }
  const [largest] = placementDevices(node).sort((one, other) => other.usableBytes - one.usableBytes);
  return largest === undefined ? { kind: 'no-devices' } : smallness(largest, leastBytes);
}

function smallness({ usableBytes }: PlacementDevice, leastBytes: number): LeftOutReason | undefined {
  return usableBytes < leastBytes ? { kind: 'too-small', usableBytes, neededBytes: leastBytes } : undefined;
}

function leftOutDevice({ peerId, nodeName, name, index }: PlacementDevice, reason: LeftOutReason): LeftOut {
  return { peerId, nodeName, device: { name, index }, reason };
}
