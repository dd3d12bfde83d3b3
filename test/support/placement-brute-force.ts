// What the planner should find, by trying everything: all subsets of workers, all ways to cut the units. Written from the
// rules alone, without the planner's code for sizes, reach or layout. For small cases only.
import type { ModelDemand } from '../../src/models/model-demand.ts';
import type { Cluster, ClusterDevice, ClusterNode } from '../../src/placement/cluster.ts';

/** A device in llama.cpp's order, and whether it needs a unit. */
export interface TriedDevice {
  readonly peerId: string;
  readonly device: ClusterDevice;
  readonly place: 'cpu' | 'worker' | 'gpu';
  /** The host's share of RAM lies in it. */
  readonly holdsHost: boolean;
  readonly rttMs: number;
}

export interface TriedHost {
  readonly peerId: string;
  /** The least sum of round trips and stage costs, and whose it may be. */
  readonly costMs: number;
}

const capMs = 80;
const stageMs = 0.5;
const mostDevices = 15;

/** Bytes of the units from `first` to before `end` on this device, added up one by one. */
export function bytesOn(demand: ModelDemand, holdsHost: boolean, first: number, end: number): number {
  let bytes = holdsHost ? demand.embeddingBytes + demand.overheadBytes : 0;
  for (let unit = first; unit < end; unit++) {
    bytes += (demand.units[unit]?.weightsBytes ?? 0) + (demand.units[unit]?.kvBytes ?? 0);
  }
  if (end > first) {
    bytes += demand.computeBytes;
  }
  if (end > first && end === demand.units.length) {
    bytes += demand.outputComputeBytes - (holdsHost ? demand.tiedBytes : 0);
  }
  return bytes;
}

/** All ways to give `units` in order to `count` devices. */
export function allCuts(units: number, count: number): number[][] {
  if (count === 0) {
    return units === 0 ? [[]] : [];
  }
  return Array.from({ length: units + 1 }, (_, here) =>
    allCuts(units - here, count - 1).map((rest) => [here, ...rest]),
  ).flat();
}

/** The fullest device's share, for a way to cut; infinite if it is not allowed. */
export function largestFill(
  demand: ModelDemand,
  devices: readonly TriedDevice[],
  cut: readonly number[],
): number {
  let first = 0;
  let largest = 0;
  for (const [index, { device, place, holdsHost }] of devices.entries()) {
    const end = first + (cut[index] ?? 0);
    const bytes = bytesOn(demand, holdsHost, first, end);
    if (bytes > device.usableBytes || (place === 'worker' && end === first)) {
      return Number.POSITIVE_INFINITY;
    }
    largest = Math.max(largest, bytes / device.usableBytes);
    first = end;
  }
  return largest;
}

/** The least largestFill() of all cuts. */
export function leastFill(
  demand: ModelDemand,
  devices: readonly TriedDevice[],
  isAllowed: (cut: readonly number[]) => boolean = () => true,
): number {
  const fills = allCuts(demand.units.length, devices.length)
    .filter(isAllowed)
    .map((cut) => largestFill(demand, devices, cut));
  return Math.min(Number.POSITIVE_INFINITY, ...fills);
}

/** Devices of a node that hold layers. */
function holding(node: ClusterNode): { cpu: ClusterDevice[]; gpus: ClusterDevice[] } {
  const gpus = node.devices.filter(({ kind, usableBytes }) => kind !== 'cpu' && usableBytes > 0);
  const cpu = node.devices.filter(({ kind, usableBytes }) => kind === 'cpu' && usableBytes > 0);
  const mayOffload = node.cpuOffload && !gpus.some(({ kind }) => kind === 'metal');
  return { gpus, cpu: gpus.length === 0 || mayOffload ? cpu : [] };
}

/** The host's own devices before and after its workers', without and with its CPU. */
function ownChoices(node: ClusterNode): { before: TriedDevice[]; after: TriedDevice[] }[] {
  const { cpu, gpus } = holding(node);
  const own = (device: ClusterDevice, place: 'cpu' | 'gpu', holdsHost: boolean): TriedDevice => ({
    ...{ peerId: node.peerId, device, place, holdsHost, rttMs: 0 },
  });
  const after = gpus.map((device, index) => own(device, 'gpu', device.kind === 'metal' && index === 0));
  const before = cpu.map((device) => own(device, 'cpu', true));
  return [
    ...(gpus.length > 0 ? [{ before: [], after }] : []),
    ...(cpu.length > 0 ? [{ before, after }] : []),
  ];
}

function isPresent(node: ClusterNode): boolean {
  return node.role !== 'client' && !node.isSilent && ownChoices(node).length > 0;
}

function hasRam(node: ClusterNode, demand: ModelDemand): boolean {
  return node.devices
    .filter(({ kind }) => kind === 'cpu' || kind === 'metal')
    .every(({ usableBytes }) => usableBytes >= demand.embeddingBytes + demand.overheadBytes);
}

/** Peers that hold the model whole. */
export function allSolo(demand: ModelDemand, { nodes }: Cluster): string[] {
  return nodes
    .filter((node) => isPresent(node) && hasRam(node, demand))
    .filter((node) =>
      ownChoices(node).some(({ before, after }) => leastFill(demand, [...before, ...after]) <= 1),
    )
    .map(({ peerId }) => peerId);
}

/** The round trip that counts: the longest that anybody tells. */
export function rttBetween({ links }: Cluster, one: string, other: string): number | undefined {
  const told = links
    .filter(({ from, to }) => (from === one && to === other) || (from === other && to === one))
    .map(({ rttMs }) => rttMs);
  return told.length === 0 ? undefined : Math.max(...told);
}

/** The first member in the order of election for which any subset of workers holds the model. */
export function firstHost(demand: ModelDemand, cluster: Cluster): TriedHost | undefined {
  const hosts = cluster.nodes
    .filter((node) => isPresent(node) && node.canHost && node.rpcBuild !== undefined && hasRam(node, demand))
    .toSorted(
      (one, other) =>
        Number(other.hasFile) - Number(one.hasFile) ||
        memoryOf(other) - memoryOf(one) ||
        (one.peerId < other.peerId ? -1 : 1),
    );
  for (const node of hosts) {
    for (const own of ownChoices(node)) {
      const costs = subsets(lentTo(node, cluster))
        .filter((workers) => workers.length > 0 && workers.length + own.after.length <= mostDevices)
        .filter((workers) => leastFill(demand, [...own.before, ...workers, ...own.after]) <= 1)
        .map((workers) => workers.reduce((sum, { rttMs }) => sum + rttMs + stageMs, 0));
      if (costs.length > 0) {
        return { peerId: node.peerId, costMs: Math.min(...costs) };
      }
    }
  }
  return undefined;
}

function memoryOf(node: ClusterNode): number {
  const { cpu, gpus } = holding(node);
  return (gpus.length > 0 ? gpus : cpu).reduce((sum, { usableBytes }) => sum + usableBytes, 0);
}

function lentTo(host: ClusterNode, cluster: Cluster): TriedDevice[] {
  return cluster.nodes
    .filter((node) => node.peerId !== host.peerId && isPresent(node) && node.lends === host.rpcBuild)
    .flatMap((node) => {
      const rttMs = rttBetween(cluster, host.peerId, node.peerId) ?? Number.POSITIVE_INFINITY;
      const { cpu, gpus } = holding(node);
      return [...gpus, ...cpu].map(
        (device): TriedDevice => ({ peerId: node.peerId, device, place: 'worker', holdsHost: false, rttMs }),
      );
    })
    .filter(({ rttMs }) => rttMs <= capMs)
    .sort(
      (one, other) =>
        one.rttMs - other.rttMs || (one.peerId === other.peerId ? 0 : one.peerId < other.peerId ? -1 : 1),
    );
}

export function subsets<Item>(items: readonly Item[]): Item[][] {
  const [first, ...rest] = items;
  return first === undefined ? [[]] : subsets(rest).flatMap((chosen) => [chosen, [first, ...chosen]]);
}
