// Which lent devices a host takes: those that hold what its own do not, at the least cost a token, exactly.
import { placementLimits } from '../util/limits/placement.ts';
import { holdsHostBytes, type OwnDevices } from './devices.ts';
import type { WorkerDevice } from './split.ts';
import type { StageSizes } from './stage-sizes.ts';

/** What a worker device adds to each token: why the fewest win, and of those the nearest. */
export function workerCostMs({ rttMs }: WorkerDevice): number {
  return rttMs + placementLimits.stageMs;
}

/**
 * The devices with the least sum of workerCostMs(), at least one and at most `most`, that hold the model between the
 * host's CPU and its GPUs; in the order of `workers`, which are sorted, nearest first. Undefined if none do.
 *
 * Dynamic programming over (devices chosen, units covered): the least cost of covering the units before one. A device
 * takes all it can hold after those, since whoever covers more leaves less. The CPU may hold less than it could: a
 * worker that must take part needs a unit it can hold. Of equal costs fewer devices win, then those that stand earlier
 * in the order. Takes workers x most x units steps.
 */
export function chooseWorkers(
  sizes: StageSizes,
  own: OwnDevices,
  workers: readonly WorkerDevice[],
  most: number,
): WorkerDevice[] | undefined {
  const [head, tailStart] = [cpuReach(sizes, own), firstUnitHeldByGpus(sizes, own)];
  const longestRuns = workers
    .map(({ device }) => sizes.longestRun(device.usableBytes))
    .sort((one, other) => other - one);
  // Where not even the largest together come to the end, no search is needed.
  if (longestRuns.slice(0, most).reduce((sum, units) => sum + units, head) < tailStart) {
    return undefined;
  }
  const search = new Search({ unitCount: sizes.unitCount, tailStart, most }, head, longestRuns[0] ?? 0);
  for (const worker of workers) {
    if (workerCostMs(worker) >= search.bestMs) {
      // This one and all after it are dearer alone than what is found.
      break;
    }
    search.offer(worker, sizes.reaches(worker.device.usableBytes));
  }
  return search.best === undefined ? undefined : listOf(search.best);
}

/** Devices chosen so far, the last one first. */
interface Chosen {
  readonly worker: WorkerDevice;
  readonly before: Chosen | undefined;
  readonly count: number;
}

interface Bounds {
  readonly unitCount: number;
  /** The units from here on are held by the host's GPUs. */
  readonly tailStart: number;
  /** Devices at most. */
  readonly most: number;
}

/** The table of the dynamic programme; workers are offered one after the other. */
class Search {
  bestMs = Number.POSITIVE_INFINITY;
  best: Chosen | undefined;
  readonly #bounds: Bounds;
  /** Units that the largest device holds. */
  readonly #longest: number;
  /** By devices chosen and units covered. */
  readonly #costs: Float64Array[];
  readonly #chosen: (Chosen | undefined)[][];
  /** By devices chosen: the least and the most units covered so far, which bound what there is to extend. */
  readonly #nearest: number[] = [0];
  readonly #furthest: number[];

  constructor(bounds: Bounds, head: number, longest: number) {
    this.#bounds = bounds;
    this.#longest = longest;
    this.#costs = Array.from({ length: bounds.most + 1 }, () =>
      new Float64Array(bounds.unitCount + 1).fill(Number.POSITIVE_INFINITY),
    );
    this.#chosen = this.#costs.map(() => []);
    this.#costs[0]?.fill(0, 0, head + 1);
    this.#furthest = [head];
  }

  /** Adds the worker, which reaches from each unit to `reaches`, to whatever gains by it. */
  offer(worker: WorkerDevice, reaches: readonly number[]): void {
    const { unitCount, tailStart, most } = this.#bounds;
    const costMs = workerCostMs(worker);
    // From many to few, so that no device follows itself.
    for (let count = most - 1; count >= 0; count--) {
      const [from = none, to = none] = [this.#costs[count], this.#costs[count + 1]];
      // From before it even the largest devices do not come to the end; from the end there is nothing to add.
      const firstUseful = Math.max(0, tailStart - (most - count) * this.#longest);
      const firstDone = Math.min(count === 0 ? unitCount : tailStart, (this.#furthest[count] ?? -1) + 1);
      for (let first = Math.max(firstUseful, this.#nearest[count] ?? 0); first < firstDone; first++) {
        const end = reaches[first] ?? first;
        const sumMs = (from[first] ?? Number.POSITIVE_INFINITY) + costMs;
        if (end > first && sumMs < (to[end] ?? 0)) {
          to[end] = sumMs;
          this.#choose({ worker, before: this.#chosen[count]?.[first], count: count + 1 }, end, sumMs);
        }
      }
    }
  }

  #choose(link: Chosen, end: number, sumMs: number): void {
    (this.#chosen[link.count] ?? [])[end] = link;
    this.#nearest[link.count] = Math.min(end, this.#nearest[link.count] ?? end);
    this.#furthest[link.count] = Math.max(end, this.#furthest[link.count] ?? end);
    const isFewer = link.count < (this.best?.count ?? 0);
    if (end >= this.#bounds.tailStart && (sumMs < this.bestMs || (sumMs === this.bestMs && isFewer))) {
      this.bestMs = sumMs;
      this.best = link;
    }
  }
}

const none = new Float64Array();

/** The units before this one fit on the host's CPU. */
function cpuReach(sizes: StageSizes, own: OwnDevices): number {
  return own.cpu === undefined ? 0 : sizes.reach(0, own.cpu.usableBytes, holdsHostBytes(own.cpu, own));
}

/** The units from this one on fit on the host's GPUs, and not one more. */
function firstUnitHeldByGpus(sizes: StageSizes, own: OwnDevices): number {
  const holdsAllFrom = (start: number): boolean =>
    own.gpus.reduce((first, gpu) => sizes.reach(first, gpu.usableBytes, holdsHostBytes(gpu, own)), start) ===
    sizes.unitCount;
  let start = sizes.unitCount;
  while (start > 0 && holdsAllFrom(start - 1)) {
    start--;
  }
  return start;
}

function listOf(last: Chosen): WorkerDevice[] {
  const workers: WorkerDevice[] = [];
  for (let link: Chosen | undefined = last; link !== undefined; link = link.before) {
    workers.unshift(link.worker);
  }
  return workers;
}
