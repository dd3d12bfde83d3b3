// The units of placement: which devices of a node hold layers, and where the host's own share of RAM is counted.
import type { ModelDemand } from '../models/model-demand.ts';
import type { ClusterNode } from './cluster.ts';

/** A device that may hold units of a model. */
export interface PlacementDevice {
  readonly peerId: string;
  readonly nodeName: string;
  readonly name: string;
  readonly kind: string;
  /** Place among the node's devices. */
  readonly index: number;
  readonly usableBytes: number;
  readonly bandwidthBytes: number | undefined;
}

/** A node's devices as the host of a model sees its own. */
export interface OwnDevices {
  /** Holds the first layers: the CPU of a node without GPU, or beside its GPUs where that is allowed. */
  readonly cpu: PlacementDevice | undefined;
  /** Hold the last layers. */
  readonly gpus: readonly PlacementDevice[];
}

const isCpu = ({ kind }: { readonly kind: string }): boolean => kind === 'cpu';
/** Apple's GPUs compute in the machine's own RAM: what is in it is counted against them, and the CPU adds none. */
const isUnified = ({ kind }: { readonly kind: string }): boolean => kind === 'metal';

/** Devices that a node holds layers on, GPUs in order first. What has no memory holds none. */
export function placementDevices(node: ClusterNode): PlacementDevice[] {
  const devices = node.devices
    .map((device, index) => ({
      peerId: node.peerId,
      nodeName: node.name,
      name: device.name,
      kind: device.kind,
      index,
      usableBytes: device.usableBytes,
      // Nothing reads at no speed: such a figure is no measurement.
      bandwidthBytes: (device.bandwidthBytes ?? 0) > 0 ? device.bandwidthBytes : undefined,
    }))
    .filter(({ usableBytes }) => usableBytes > 0);
  const gpus = devices.filter((device) => !isCpu(device));
  const cpu = devices.filter(isCpu).slice(0, 1);
  return [...gpus, ...(gpus.length === 0 || (node.cpuOffload && !gpus.some(isUnified)) ? cpu : [])];
}

/**
 * What a node may use as a host, the choice to be tried first at the front: its GPUs alone, then with its CPU beside
 * them, since layers in RAM are the slowest.
 */
export function ownDevices(node: ClusterNode): OwnDevices[] {
  const devices = placementDevices(node);
  const gpus = devices.filter((device) => !isCpu(device));
  const cpu = devices.find(isCpu);
  if (devices.length === 0) {
    return [];
  }
  return [
    ...(gpus.length > 0 ? [{ cpu: undefined, gpus }] : []),
    ...(cpu === undefined ? [] : [{ cpu, gpus }]),
  ];
}

/** Bytes that a node may plan with for layers. */
export function usableBytesOf(node: ClusterNode): number {
  return placementDevices(node).reduce((sum, device) => sum + device.usableBytes, 0);
}

/** By which hosts are compared: memory of GPUs, or RAM where there is none. */
export function hostingBytesOf(node: ClusterNode): number {
  const [first] = ownDevices(node);
  const { cpu, gpus } = first ?? { cpu: undefined, gpus: [] };
  return [...(cpu === undefined ? [] : [cpu]), ...gpus].reduce(
    (sum, { usableBytes }) => sum + usableBytes,
    0,
  );
}

/** What a host keeps in RAM beside the units, whatever holds those. */
export function hostBytes({ embeddingBytes, overheadBytes }: ModelDemand): number {
  return embeddingBytes + overheadBytes;
}

/** Whether the host's share of RAM lies in this device's own memory. */
export function holdsHostBytes(device: PlacementDevice, { cpu, gpus }: OwnDevices): boolean {
  return device === cpu || (isUnified(device) && device === gpus[0]);
}

/** Usable RAM of a node that is too small for what a host keeps there; undefined if it suffices or nobody told. */
export function lackingRamBytes(node: ClusterNode, demand: ModelDemand): number | undefined {
  const neededBytes = hostBytes(demand);
  return node.devices
    .filter((device) => isCpu(device) || isUnified(device))
    .map(({ usableBytes }) => usableBytes)
    .find((usableBytes) => usableBytes < neededBytes);
}
