import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelDemand } from '../../../src/models/model-demand.ts';
import type { Cluster } from '../../../src/placement/cluster.ts';
import { type PlacementDevice, placementDevices } from '../../../src/placement/devices.ts';
import { planPlacement } from '../../../src/placement/placement.ts';
import type { PipelinePlan, Placement, Plan } from '../../../src/placement/plan.ts';
import type { Split, Stage } from '../../../src/placement/split.ts';
import { clusters, demands, reordered } from '../../support/placement-arbitraries.ts';
import {
  allSolo,
  bytesOn,
  firstHost,
  largestFill,
  leastFill,
  rttBetween,
  type TriedDevice,
} from '../../support/placement-brute-force.ts';

const numRuns = Number(process.env['MESHNODE_TEST_RUNS'] ?? 400);

/** Holds `check` against the plans of random models in random clusters. */
function forPlans(
  check: (plan: Plan, demand: ModelDemand, cluster: Cluster, isForced: boolean) => void,
): void {
  fc.assert(
    fc.property(demands(), clusters(), fc.boolean(), (demand, cluster, splitForced) => {
      check(planPlacement(demand, cluster, { splitForced, replicas: 2 }), demand, cluster, splitForced);
    }),
    { numRuns },
  );
}

function placementsOf(plan: Plan): Placement[] {
  switch (plan.mode) {
    case 'solo':
      return [...plan.replicas, ...plan.candidates];
    case 'pipeline':
      return [plan.host];
    case 'none':
      return [];
  }
}

describe('a plan', () => {
  it('has every unit exactly once, in order, and never takes more of a device than it has', () => {
    forPlans((plan, demand) => {
      for (const { split } of placementsOf(plan)) {
        let next = 0;
        for (const { firstUnit, endUnit, device, totalBytes, hostBytes } of split.stages) {
          expect(firstUnit).toBe(next);
          expect(endUnit).toBeGreaterThan(firstUnit);
          next = endUnit;
          expect(totalBytes).toBe(bytesOn(demand, hostBytes > 0, firstUnit, endUnit));
          expect(totalBytes).toBeLessThanOrEqual(device.usableBytes);
        }
        expect(next).toBe(demand.units.length);
      }
    });
  });

  it('leaves the RAM of a host what it keeps there', () => {
    forPlans((plan, demand, { nodes }) => {
      for (const { peerId, split } of placementsOf(plan)) {
        const ram = nodes.find((node) => node.peerId === peerId)?.devices.find(({ kind }) => kind === 'cpu');
        const [first] = split.stages;
        const layersBytes = first?.place === 'cpu' ? first.totalBytes - first.hostBytes : 0;
        const taken = layersBytes + demand.embeddingBytes + demand.overheadBytes;
        expect(taken).toBeLessThanOrEqual(ram?.usableBytes ?? Number.POSITIVE_INFINITY);
      }
    });
  });

  it('does not depend on the order in which nodes and links are told', () => {
    const both = clusters().chain((cluster) => fc.tuple(fc.constant(cluster), reordered(cluster)));
    fc.assert(
      fc.property(demands(), both, fc.boolean(), (demand, [cluster, shuffled], splitForced) => {
        expect(planPlacement(demand, shuffled, { splitForced })).toEqual(
          planPlacement(demand, cluster, { splitForced }),
        );
      }),
      { numRuns },
    );
  });

  it('is solo on exactly the nodes that hold the model whole, and none only where trying everything finds nothing', () => {
    forPlans((plan, demand, cluster, isForced) => {
      const solo = isForced ? [] : allSolo(demand, cluster);
      if (solo.length > 0) {
        expect(plan.mode).toBe('solo');
        expect(
          placementsOf(plan)
            .map(({ peerId }) => peerId)
            .sort(),
        ).toEqual(solo.sort());
        return;
      }
      const host = firstHost(demand, cluster);
      expect(plan.mode).toBe(host === undefined ? 'none' : 'pipeline');
      expect(placementsOf(plan).map(({ peerId }) => peerId)).toEqual(host === undefined ? [] : [host.peerId]);
    });
  });

  it('says of every member whether it takes part, or why not', () => {
    forPlans((plan, _, { nodes }) => {
      const taking = placementsOf(plan.mode === 'solo' ? { ...plan, candidates: [] } : plan).flatMap(
        ({ peerId, split }) => [peerId, ...split.stages.map(({ device }) => device.peerId)],
      );
      const leftOut = plan.leftOut.filter(({ device }) => device === undefined).map(({ peerId }) => peerId);
      expect([...new Set(taking), ...leftOut].sort()).toEqual(nodes.map(({ peerId }) => peerId).sort());
    });
  });
});

describe('a pipeline', () => {
  function forPipelines(check: (plan: PipelinePlan, demand: ModelDemand, cluster: Cluster) => void): void {
    let found = 0;
    forPlans((plan, demand, cluster) => {
      if (plan.mode === 'pipeline') {
        found++;
        check(plan, demand, cluster);
      }
    });
    // Otherwise the generator has changed, and nothing was tested.
    expect(found).toBeGreaterThan(numRuns / 20);
  }

  it('takes the workers that cost the least a token of all that hold the model', () => {
    forPipelines(({ host: { split } }, demand, cluster) => {
      const workers = split.stages.filter(({ place }) => place === 'worker');
      const costMs = workers.reduce((sum, { rttMs }) => sum + rttMs + 0.5, 0);
      expect(costMs).toBeCloseTo(firstHost(demand, cluster)?.costMs ?? Number.NaN, 9);
    });
  });

  it('fills the fullest device as little as any layout over the same devices does', () => {
    forPipelines(({ host }, demand) => {
      const { devices, cut } = laidOut(host.split);
      expect(largestFill(demand, devices, cut)).toBe(
        // Beside GPUs the CPU holds as little as it can: only layouts that leave it no more are compared.
        leastFill(demand, devices, (other) => !isBesideGpus(devices) || (other[0] ?? 0) <= (cut[0] ?? 0)),
      );
    });
  });

  it('puts on a CPU beside GPUs only what the other devices cannot hold', () => {
    forPipelines(({ host }, demand) => {
      const { devices, cut } = laidOut(host.split);
      if (isBesideGpus(devices)) {
        const withLess = leastFill(demand, devices, (other) => (other[0] ?? 0) < (cut[0] ?? 0));
        expect(withLess).toBe(Number.POSITIVE_INFINITY);
      }
    });
  });

  it('takes only workers of the same build whose round trip is known and not too long', () => {
    forPipelines(({ host }, _, cluster) => {
      const hostNode = cluster.nodes.find(({ peerId }) => peerId === host.peerId);
      expect(hostNode).toMatchObject({ isSilent: false, canHost: true });
      for (const stage of host.split.stages.filter(({ place }) => place === 'worker')) {
        const node = cluster.nodes.find(({ peerId }) => peerId === stage.device.peerId);
        expect(node).toMatchObject({ isSilent: false, lends: hostNode?.rpcBuild });
        expect(node?.role).not.toBe('client');
        expect(stage.rttMs).toBe(rttBetween(cluster, host.peerId, stage.device.peerId));
        expect(stage.rttMs).toBeLessThanOrEqual(80);
      }
    });
  });

  it('tells llama.cpp exactly what it says: counts by device, workers first, summing to the layers off the CPU', () => {
    forPipelines(({ host: { peerId, split } }, demand, { nodes }) => {
      const { stages, tensorSplit, gpuLayers } = split;
      const onCpu = stages.find(({ place }) => place === 'cpu')?.endUnit ?? 0;
      expect(gpuLayers).toBe(demand.units.length - onCpu);
      expect(tensorSplit.reduce((sum, count) => sum + count, 0)).toBe(gpuLayers);
      const workers = stages.filter(({ place }) => place === 'worker');
      expect(workers.length).toBeGreaterThan(0);
      expect(tensorSplit.slice(0, workers.length)).toEqual(
        workers.map(({ firstUnit, endUnit }) => endUnit - firstUnit),
      );
      const own = nodes.filter((node) => node.peerId === peerId).flatMap(placementDevices);
      const gpus = own.filter(({ kind }) => kind !== 'cpu');
      expect(tensorSplit.slice(workers.length)).toEqual(
        gpus.map(({ index }) => {
          const stage = stages.find(({ place, device }) => place === 'gpu' && device.index === index);
          return stage === undefined ? 0 : stage.endUnit - stage.firstUnit;
        }),
      );
    });
  });
});

/** The devices that the layout was over, in its order, and the units of each. */
function laidOut({ stages, unused }: Split): { devices: TriedDevice[]; cut: number[] } {
  const own = [
    ...stages.filter(({ place }) => place !== 'worker').map(({ device }) => device),
    ...unused,
  ].sort((one, other) => one.index - other.index);
  const gpus = own.filter(({ kind }) => kind !== 'cpu');
  const tried = (device: PlacementDevice, place: Stage['place']): TriedDevice => ({
    ...{ peerId: device.peerId, device, place, rttMs: 0 },
    holdsHost: place === 'cpu' || (place === 'gpu' && device.kind === 'metal' && device === gpus[0]),
  });
  const devices = [
    ...own.filter(({ kind }) => kind === 'cpu').map((device) => tried(device, 'cpu')),
    ...stages.filter(({ place }) => place === 'worker').map(({ device }) => tried(device, 'worker')),
    ...gpus.map((device) => tried(device, 'gpu')),
  ];
  const cut = devices.map(({ device }) => {
    const stage = stages.find((candidate) => candidate.device === device);
    return stage === undefined ? 0 : stage.endUnit - stage.firstUnit;
  });
  return { devices, cut };
}

function isBesideGpus(devices: readonly TriedDevice[]): boolean {
  return devices[0]?.place === 'cpu' && devices.some(({ place }) => place === 'gpu');
}
