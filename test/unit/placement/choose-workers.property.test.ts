import fc from 'fast-check';
import { expect, it } from 'vitest';
import { chooseWorkers, workerCostMs } from '../../../src/placement/choose-workers.ts';
import type { OwnDevices, PlacementDevice } from '../../../src/placement/devices.ts';
import type { WorkerDevice } from '../../../src/placement/split.ts';
import { StageSizes } from '../../../src/placement/stage-sizes.ts';
import { demands } from '../../support/placement-arbitraries.ts';
import { leastFill, subsets, type TriedDevice } from '../../support/placement-brute-force.ts';

const numRuns = Number(process.env['MESHNODE_TEST_RUNS'] ?? 400);

/** Up to six workers, nearest first, so small that it takes several. */
function lent(): fc.Arbitrary<WorkerDevice[]> {
  const rttMs = fc.oneof(fc.constantFrom(0, 1, 1, 2), fc.double({ min: 0, max: 9, noNaN: true }));
  return fc
    .array(fc.record({ rttMs, usableBytes: fc.integer({ min: 5, max: 60 }) }), {
      minLength: 2,
      maxLength: 6,
    })
    .map((workers) =>
      workers
        .toSorted((one, other) => one.rttMs - other.rttMs)
        .map(({ rttMs: distanceMs, usableBytes }, index) => ({
          device: device(`worker-${index}`, usableBytes),
          rttMs: distanceMs,
        })),
    );
}

function device(peerId: string, usableBytes: number, kind = 'cuda'): PlacementDevice {
  return {
    ...{ peerId, nodeName: peerId, name: peerId, kind, index: 0 },
    usableBytes,
    bandwidthBytes: undefined,
  };
}

function tried(of: PlacementDevice, place: TriedDevice['place'], rttMs = 0): TriedDevice {
  return { peerId: of.peerId, device: of, place, holdsHost: place === 'cpu', rttMs };
}

/** What a host has of its own: nothing, a CPU, a card, or both. */
function owned(): fc.Arbitrary<OwnDevices> {
  const bytes = fc.integer({ min: 10, max: 40 });
  return fc
    .record({ cpu: fc.option(bytes, { nil: undefined }), gpu: fc.option(bytes, { nil: undefined }) })
    .map(({ cpu, gpu }) => ({
      cpu: cpu === undefined ? undefined : device('cpu', cpu, 'cpu'),
      gpus: gpu === undefined ? [] : [device('gpu', gpu)],
    }));
}

it('of all subsets of workers that hold the model, the one with the least cost is chosen', () => {
  let found = 0;
  fc.assert(
    fc.property(demands(), owned(), lent(), fc.integer({ min: 1, max: 6 }), (demand, own, workers, most) => {
      const before = own.cpu === undefined ? [] : [tried(own.cpu, 'cpu')];
      const after = own.gpus.map((gpu) => tried(gpu, 'gpu'));
      const costOf = (some: readonly WorkerDevice[]): number =>
        some.reduce((sum, { rttMs }) => sum + rttMs + 0.5, 0);
      const costs = subsets(workers)
        .filter((some) => some.length > 0 && some.length <= most)
        .filter((some) => {
          const between = some.map((worker) => tried(worker.device, 'worker', worker.rttMs));
          return leastFill(demand, [...before, ...between, ...after]) <= 1;
        })
        .map(costOf);
      const chosen = chooseWorkers(new StageSizes(demand), own, workers, most);
      expect(chosen === undefined).toBe(costs.length === 0);
      if (chosen !== undefined) {
        found += chosen.length > 1 ? 1 : 0;
        expect(costOf(chosen)).toBeCloseTo(Math.min(...costs), 9);
        expect(chosen.reduce((sum, worker) => sum + workerCostMs(worker), 0)).toBeCloseTo(costOf(chosen), 9);
        // In the order in which they were offered, none twice.
        expect(workers.filter((worker) => chosen.includes(worker))).toEqual(chosen);
      }
    }),
    { numRuns },
  );
  // Otherwise the generator has changed, and nothing was tested.
  expect(found).toBeGreaterThan(numRuns / 20);
});
