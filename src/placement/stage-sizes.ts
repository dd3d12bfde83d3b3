// How many bytes a run of consecutive units takes on one device, and how far a device reaches.
import type { ModelDemand } from '../models/model-demand.ts';
import { hostBytes } from './devices.ts';

/** Bytes of a stage by what they are for. */
export interface StageBytes {
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly computeBytes: number;
  /** Token table and process, where the host's RAM is this device's own memory. */
  readonly hostBytes: number;
  readonly totalBytes: number;
}

/** Runs are given by their first unit and the one after their last: an empty run has both alike. */
export class StageSizes {
  readonly unitCount: number;
  readonly #demand: ModelDemand;
  /** Sums over the units before each. */
  readonly #weights: readonly number[];
  readonly #kv: readonly number[];
  readonly #reaches = new Map<number, readonly number[]>();
  readonly #longestRuns = new Map<number, number>();

  constructor(demand: ModelDemand) {
    this.#demand = demand;
    this.unitCount = demand.units.length;
    this.#weights = sumsBefore(demand.units.map(({ weightsBytes }) => weightsBytes));
    this.#kv = sumsBefore(demand.units.map(({ kvBytes }) => kvBytes));
  }

  /** Sum of bytes(): asked for so often that it makes no object. */
  totalBytes(first: number, end: number, holdsHost = false): number {
    const { computeBytes, outputComputeBytes, tiedBytes } = this.#demand;
    const unitBytes = sumBetween(this.#weights, first, end) + sumBetween(this.#kv, first, end);
    const fixedBytes = (end > first ? computeBytes : 0) + (holdsHost ? hostBytes(this.#demand) : 0);
    const holdsOutput = end > first && end === this.unitCount;
    return unitBytes + fixedBytes + (holdsOutput ? outputComputeBytes - (holdsHost ? tiedBytes : 0) : 0);
  }

  /** What the units from `first` to before `end` take, with the host's share of RAM if `holdsHost`. */
  bytes(first: number, end: number, holdsHost = false): StageBytes {
    const { computeBytes, outputComputeBytes, tiedBytes } = this.#demand;
    const holdsOutput = end > first && end === this.unitCount;
    return {
      // The tied head is the table itself where both are in one memory.
      weightsBytes: sumBetween(this.#weights, first, end) - (holdsHost && holdsOutput ? tiedBytes : 0),
      kvBytes: sumBetween(this.#kv, first, end),
      computeBytes: (end > first ? computeBytes : 0) + (holdsOutput ? outputComputeBytes : 0),
      hostBytes: holdsHost ? hostBytes(this.#demand) : 0,
      totalBytes: this.totalBytes(first, end, holdsHost),
    };
  }

  /** The furthest end of a run from `first` that `usableBytes` hold; `first` itself if they hold nothing of it. */
  reach(first: number, usableBytes: number, holdsHost = false): number {
    let [held, least] = [first, this.unitCount + 1];
    // A longer run never takes less, so halving finds it.
    while (least - held > 1) {
      const end = (held + least) >> 1;
      if (this.totalBytes(first, end, holdsHost) <= usableBytes) {
        held = end;
      } else {
        least = end;
      }
    }
    return held;
  }

  /** reach() from every unit, kept: many devices are alike. */
  reaches(usableBytes: number): readonly number[] {
    let reaches = this.#reaches.get(usableBytes);
    if (reaches === undefined) {
      reaches = Array.from({ length: this.unitCount }, (_, first) => this.reach(first, usableBytes));
      this.#reaches.set(usableBytes, reaches);
    }
    return reaches;
  }

  /** Most units that so many bytes hold, wherever the run begins; kept too. */
  longestRun(usableBytes: number): number {
    let longest = this.#longestRuns.get(usableBytes);
    if (longest === undefined) {
      longest = Math.max(...this.reaches(usableBytes).map((end, first) => end - first));
      this.#longestRuns.set(usableBytes, longest);
    }
    return longest;
  }

  /** The whole model on one device of its own. */
  get wholeBytes(): number {
    return this.totalBytes(0, this.unitCount, true);
  }

  /** The least that a device must have to hold any unit. */
  get leastBytes(): number {
    const each = this.#demand.units.map((_, unit) => this.totalBytes(unit, unit + 1));
    return Math.min(...each);
  }
}

function sumsBefore(values: readonly number[]): number[] {
  const sums = [0];
  let sum = 0;
  for (const value of values) {
    sum += value;
    sums.push(sum);
  }
  return sums;
}

function sumBetween(sums: readonly number[], first: number, end: number): number {
  return (sums[end] ?? 0) - (sums[first] ?? 0);
}
