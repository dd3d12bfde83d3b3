// One model over the devices of a host and its workers: who holds which units, and the flags that make llama.cpp do
// exactly that.
import type { ModelDemand } from '../models/model-demand.ts';
import { holdsHostBytes, type OwnDevices, type PlacementDevice } from './devices.ts';
import { layOut } from './lay-out.ts';
import type { StageBytes, StageSizes } from './stage-sizes.ts';

/** A device that takes part, and the units it holds. */
export interface Stage extends StageBytes {
  readonly device: PlacementDevice;
  /** `cpu` and `gpu` are the host's own. */
  readonly place: 'cpu' | 'worker' | 'gpu';
  /** Round trip of a worker to its host; 0 for the host's own. */
  readonly rttMs: number;
  readonly firstUnit: number;
  /** The one after its last. */
  readonly endUnit: number;
  /** Weights that it reads for each token. */
  readonly activeBytes: number;
  /** Share of its usable bytes that is taken. */
  readonly fill: number;
}

/** A lent device that a host can reach. */
export interface WorkerDevice {
  readonly device: PlacementDevice;
  readonly rttMs: number;
}

export interface Split {
  /** In the order of the units. */
  readonly stages: readonly Stage[];
  /** Devices of the host that hold nothing. */
  readonly unused: readonly PlacementDevice[];
  /** `-ngl`: units that the CPU does not hold. Layers count one each, and so does the output. */
  readonly gpuLayers: number;
  /** `--tensor-split`: units for each device, workers first, the host's GPUs last; sums to `gpuLayers`. */
  readonly tensorSplit: readonly number[];
}

/**
 * Lays the model out over the host's own devices and these workers, each of which gets at least one unit. The order is
 * llama.cpp's: its CPU has the first units, then come RPC devices, then its GPUs. All are filled alike, but a CPU beside
 * GPUs gets only what the others cannot hold. Undefined if it does not fit.
 */
export function splitOver(
  demand: ModelDemand,
  sizes: StageSizes,
  own: OwnDevices,
  workers: readonly WorkerDevice[],
): Split | undefined {
  const places = [
    ...(own.cpu === undefined ? [] : [{ device: own.cpu, place: 'cpu' as const, rttMs: 0 }]),
    ...workers.map((worker) => ({ ...worker, place: 'worker' as const })),
    ...own.gpus.map((device) => ({ device, place: 'gpu' as const, rttMs: 0 })),
  ].map((placed) => ({ ...placed, holdsHost: holdsHostBytes(placed.device, own) }));
  const layOutWith = (mostOnCpu: number | undefined): number[] | undefined =>
    layOut(
      sizes,
      places.map(({ device, place, holdsHost }) => ({
        usableBytes: device.usableBytes,
        holdsHost,
        leastUnits: place === 'worker' ? 1 : 0,
        mostUnits: place === 'cpu' ? mostOnCpu : undefined,
      })),
    );
  const isBesideGpus = own.cpu !== undefined && own.gpus.length > 0;
  const counts = isBesideGpus ? withLeast(layOutWith, sizes.unitCount) : layOutWith(undefined);
  if (counts === undefined) {
    return undefined;
  }
  let end = 0;
  const all = places.map(({ holdsHost, ...placed }, index): Stage => {
    const first = end;
    end += counts[index] ?? 0;
    const bytes = sizes.bytes(first, end, holdsHost);
    const activeBytes = demand.units.slice(first, end).reduce((sum, unit) => sum + unit.activeBytes, 0);
    const fill = bytes.totalBytes / placed.device.usableBytes;
    return { ...placed, firstUnit: first, endUnit: end, ...bytes, activeBytes, fill };
  });
  const isUsed = ({ firstUnit, endUnit }: Stage): boolean => endUnit > firstUnit;
  const offloaded = all.filter(({ place }) => place !== 'cpu');
  const tensorSplit = offloaded.map(({ firstUnit, endUnit }) => endUnit - firstUnit);
  return {
    stages: all.filter(isUsed),
    unused: all.filter((stage) => !isUsed(stage)).map(({ device }) => device),
    gpuLayers: tensorSplit.reduce((sum, count) => sum + count, 0),
    tensorSplit,
  };
}

/** The layout with the least on the CPU: beside GPUs it is the slowest by far, and takes only what they cannot hold. */
function withLeast(
  layOutWith: (mostOnCpu: number) => number[] | undefined,
  unitCount: number,
): number[] | undefined {
  let [tooFew, enough] = [-1, unitCount];
  let counts = layOutWith(enough);
  // What fits with fewer fits with more, so halving finds the least.
  while (counts !== undefined && enough - tooFew > 1) {
    const most = (tooFew + enough) >> 1;
    const fitting = layOutWith(most);
    [tooFew, enough, counts] = fitting === undefined ? [most, enough, counts] : [tooFew, most, fitting];
  }
  return counts;
}
