// What a plan says is what llama.cpp does: the real llama-server over real RPC workers puts every layer where the plan
// has it, and answers as it does alone.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { modelDemand } from '../../src/models/model-demand.ts';
import { readModelFiles } from '../../src/models/model-files.ts';
import type { ClusterNode } from '../../src/placement/cluster.ts';
import { planPlacement } from '../../src/placement/placement.ts';
import type { PipelinePlan } from '../../src/placement/plan.ts';
import { demoModelPath } from '../support/demo-models.ts';
import { nativeSearch } from '../support/llama-server.ts';
import { startRpcServers, startSplitServer } from '../support/rpc-servers.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { member } from '../support/uneven-clusters.ts';

const folder = await temporaryFolder();
const { programs } = await nativeSearch();
const MiB = 1024 ** 2;
const prompt = '1 2 3 4 5 6';
const demo = demoModelPath('demo');

/** Tables and process take about 96 MiB of the host's memory before any layer. */
const hostMiB = 96.08;

/** A host with only a CPU, and workers with so much memory each. */
function cluster(hostUsableMiB: number, workerMiB: readonly number[]) {
  const cpu = (name: string, mebibytes: number) => ({
    name,
    kind: 'cpu',
    usableBytes: Math.floor(mebibytes * MiB),
  });
  const host = member('host', [cpu('RAM', hostMiB + hostUsableMiB)], { hasFile: true });
  const workers = workerMiB.map((mebibytes, index) => ({
    ...member(`worker-${index}`, [cpu('RAM', mebibytes)]),
    canHost: false,
  }));
  const nodes: ClusterNode[] = [host, ...workers];
  const links = workers.map(({ peerId }, index) => ({ from: host.peerId, to: peerId, rttMs: 1 + index }));
  return { nodes, links };
}

async function planFor(hostUsableMiB: number, workerMiB: readonly number[]): Promise<PipelinePlan> {
  const demand = modelDemand(await readModelFiles(demo), { name: 'demo', contextTokens: 512, parallel: 1 });
  const plan = planPlacement(demand, cluster(hostUsableMiB, workerMiB), { splitForced: true });
  if (plan.mode !== 'pipeline') {
    throw new Error(`The plan is ${plan.mode}.`);
  }
  return plan;
}

/** The name by which llama.cpp has each unit of the plan. */
function plannedDevices({ host }: PipelinePlan): string[] {
  let workers = 0;
  return host.split.stages.flatMap(({ place, firstUnit, endUnit }) => {
    const name = place === 'cpu' ? 'CPU' : `RPC${workers++}`;
    return Array.from({ length: endUnit - firstUnit }, () => name);
  });
}

describe.skipIf(programs === undefined)('a plan of a split', () => {
  it.each<[string, number, readonly number[], readonly string[]]>([
    ['one worker that has more', 100, [10], ['CPU', 'RPC0', 'RPC0', 'RPC0', 'RPC0']],
    ['one worker that holds the output only', 200, [3.7], ['CPU', 'CPU', 'CPU', 'CPU', 'RPC0']],
    ['two workers of unequal size', 4.2, [4.2, 3.7], ['CPU', 'CPU', 'RPC0', 'RPC0', 'RPC1']],
    ['three workers', 4.2, [3.6, 3.6, 3.7], ['CPU', 'CPU', 'RPC0', 'RPC1', 'RPC2']],
  ])('over %s is what llama.cpp makes of it', async (name, hostUsable, workers, wanted) => {
    if (programs === undefined) {
      throw new Error('skipped');
    }
    const plan = await planFor(hostUsable, workers);
    expect(plannedDevices(plan)).toEqual(wanted);
    const used = plan.host.split.stages.filter(({ place }) => place === 'worker').length;
    const addresses = await startRpcServers(programs, used);
    const { gpuLayers, tensorSplit } = plan.host.split;
    const flags = [
      '--rpc',
      addresses.join(','),
      '-ngl',
      String(gpuLayers),
      '--tensor-split',
      tensorSplit.join(','),
    ];
    const split = await startSplitServer(programs, demo, join(folder, `${name.length}.sock`), flags);
    expect(split.devices).toEqual(wanted);
    const alone = await startSplitServer(programs, demo, join(folder, `${name.length}-alone.sock`), [
      '-ngl',
      '0',
    ]);
    expect(await split.complete(prompt, 48)).toBe(await alone.complete(prompt, 48));
  });
});
