// How many units each of the chosen devices holds, in their order: as even a fill as there is, exactly.
import type { StageSizes } from './stage-sizes.ts';

/** A device as the layout sees it. */
export interface LayOutDevice {
  readonly usableBytes: number;
  /** It holds the host's share of RAM too. */
  readonly holdsHost: boolean;
  /** 1 for a worker: llama.cpp asks it at every token, so it shall have work. */
  readonly leastUnits: 0 | 1;
  /** More it shall not hold; undefined: as many as fit. */
  readonly mostUnits?: number | undefined;
}

/**
 * Units for each device, contiguous and in order, such that the fullest device (bytes / usable bytes) is as little full
 * as possible; that is in proportion to memory, over the real bytes. Of those layouts the one with the least sum of
 * squared fills, which evens out the others too; of equal ones that in which earlier devices hold more. Undefined if
 * there is none. Takes devices x units^2 steps.
 */
export function layOut(sizes: StageSizes, devices: readonly LayOutDevice[]): number[] | undefined {
  const fills = devices.map((device) => fillsOf(sizes, device));
  const fullest =
    leastCosts(fills, sizes.unitCount, (fill) => fill, Math.max)[0]?.[0] ?? Number.POSITIVE_INFINITY;
  if (fullest > 1) {
    return undefined;
  }
  const squared = (fill: number): number => (fill <= fullest ? fill * fill : Number.POSITIVE_INFINITY);
  const costs = leastCosts(fills, sizes.unitCount, squared, (stage, rest) => stage + rest);
  const counts: number[] = [];
  let first = 0;
  for (const [place, fill] of fills.entries()) {
    const end = bestEnd(
      (candidate) =>
        squared(fill(first, candidate)) + (costs[place + 1]?.[candidate] ?? Number.POSITIVE_INFINITY),
      first,
      sizes.unitCount,
    );
    counts.push(end - first);
    first = end;
  }
  return counts;
}

/** How full a device is with the units from `first` to before `end`; infinite if they do not fit, or are too few or too many. */
type Fill = (first: number, end: number) => number;

function fillsOf(sizes: StageSizes, device: LayOutDevice): Fill {
  const { usableBytes, holdsHost, leastUnits, mostUnits = sizes.unitCount } = device;
  return (first, end) => {
    const totalBytes = sizes.totalBytes(first, end, holdsHost);
    const count = end - first;
    if (count < leastUnits || count > mostUnits || totalBytes > usableBytes) {
      return Number.POSITIVE_INFINITY;
    }
    return totalBytes === 0 ? 0 : totalBytes / usableBytes;
  };
}

/** Row per device, entry per unit: the least cost of laying out the units from there on over that device and those after it. */
function leastCosts(
  fills: readonly Fill[],
  unitCount: number,
  costOf: (fill: number) => number,
  join: (stage: number, rest: number) => number,
): number[][] {
  const nothingLeft = Array.from({ length: unitCount + 1 }, (_, first) =>
    first === unitCount ? 0 : Number.POSITIVE_INFINITY,
  );
  const rows = [nothingLeft];
  for (const fill of fills.toReversed()) {
    const rest = rows[0] ?? nothingLeft;
    const isFirstDevice = rows.length === fills.length;
    const row = rest.map((_, first) => {
      let least = Number.POSITIVE_INFINITY;
      if (isFirstDevice && first > 0) {
        return least;
      }
      for (let end = first; end <= unitCount; end++) {
        const cost = costOf(fill(first, end));
        // The one infinity that ends the run: a longer one does not fit either.
        if (cost === Number.POSITIVE_INFINITY && end > first) {
          break;
        }
        least = Math.min(least, join(cost, rest[end] ?? Number.POSITIVE_INFINITY));
      }
      return least;
    });
    rows.unshift(row);
  }
  return rows;
}

/** Sums that differ by less are equal: they were added up in another order. */
const roundingError = 1e-9;

/** The end with the least cost; of equal ones the last. */
function bestEnd(costOf: (end: number) => number, first: number, unitCount: number): number {
  let [best, least] = [first, Number.POSITIVE_INFINITY];
  for (let end = first; end <= unitCount; end++) {
    const cost = costOf(end);
    if (cost !== Number.POSITIVE_INFINITY && cost <= least + roundingError) {
      [best, least] = [end, Math.min(least, cost)];
    }
  }
  return best;
}
