// A model cut over several machines: the first member in the order of election that has workers enough is its host.
import type { ModelDemand } from '../models/model-demand.ts';
import { placementLimits } from '../util/limits/placement.ts';
import { chooseWorkers } from './choose-workers.ts';
import type { ClusterNode, RoundTrips } from './cluster.ts';
import { holdsHostBytes, hostBytes, type OwnDevices, ownDevices } from './devices.ts';
import { hostOrder, hostRefusal, workersOf } from './elect-host.ts';
import type { LeftOutReason } from './left-out.ts';
import { type Split, splitOver, type WorkerDevice } from './split.ts';
import type { StageSizes } from './stage-sizes.ts';

export interface PipelineSearch {
  readonly found: { readonly host: ClusterNode; readonly split: Split } | undefined;
  /** Members that were asked before and cannot host, in order. */
  readonly refused: readonly RefusedHost[];
}

export interface RefusedHost {
  readonly node: ClusterNode;
  readonly reason: LeftOutReason;
  /** What it and its workers have, as many devices as a split takes. */
  readonly usableBytes: number;
  readonly deviceCount: number;
}

export function searchPipeline(
  nodes: readonly ClusterNode[],
  demand: ModelDemand,
  sizes: StageSizes,
  roundTrips: RoundTrips,
): PipelineSearch {
  const refused: RefusedHost[] = [];
  const { leastBytes } = sizes;
  for (const node of hostOrder(nodes)) {
    const reason = hostRefusal(node, demand);
    if (reason !== undefined) {
      refused.push({ node, reason, usableBytes: 0, deviceCount: 0 });
      continue;
    }
    const workers = workersOf(node, nodes, roundTrips, leastBytes);
    let refusal: RefusedHost | undefined;
    for (const own of ownDevices(node)) {
      const attempt = tryHost(own, workers, demand, sizes);
      if ('split' in attempt) {
        return { found: { host: node, split: attempt.split }, refused };
      }
      refusal = { node, ...attempt };
    }
    if (refusal !== undefined) {
      refused.push(refusal);
    }
  }
  return { found: undefined, refused };
}

function tryHost(
  own: OwnDevices,
  workers: readonly WorkerDevice[],
  demand: ModelDemand,
  sizes: StageSizes,
): { readonly split: Split } | Omit<RefusedHost, 'node'> {
  const devices = [...(own.cpu === undefined ? [] : [own.cpu]), ...own.gpus];
  const most = Math.max(0, placementLimits.devices - own.gpus.length);
  const usable = (of: readonly { readonly usableBytes: number }[]): number =>
    of.reduce((sum, { usableBytes }) => sum + usableBytes, 0);
  const lent = workers.map(({ device }) => device).sort((one, other) => other.usableBytes - one.usableBytes);
  const usableBytes = usable(devices) + usable(lent.slice(0, most));
  const deviceCount = devices.length + Math.min(most, lent.length);
  const isHostBytesCounted = devices.some((device) => holdsHostBytes(device, own));
  const neededBytes = sizes.wholeBytes - (isHostBytesCounted ? 0 : hostBytes(demand));
  if (lent.length === 0) {
    return { reason: { kind: 'no-workers' }, usableBytes, deviceCount };
  }
  if (most === 0 || (usableBytes < neededBytes && usable([...devices, ...lent]) >= neededBytes)) {
    return { reason: { kind: 'too-many-devices', most: placementLimits.devices }, usableBytes, deviceCount };
  }
  // Also spares the search where no search helps.
  if (usableBytes < neededBytes) {
    return { reason: { kind: 'too-little-together', usableBytes, neededBytes }, usableBytes, deviceCount };
  }
  const chosen = chooseWorkers(sizes, own, workers, most);
  const split = chosen === undefined ? undefined : splitOver(demand, sizes, own, chosen);
  return split === undefined
    ? { reason: { kind: 'no-cut', usableBytes }, usableBytes, deviceCount }
    : { split };
}
