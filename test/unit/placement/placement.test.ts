import { describe, expect, it } from 'vitest';
import type { ClusterDevice, ClusterLink, ClusterNode } from '../../../src/placement/cluster.ts';
import { type PlacementOptions, planPlacement } from '../../../src/placement/placement.ts';
import type { NoPlan, PipelinePlan, Plan, SoloPlan } from '../../../src/placement/plan.ts';
import { equalUnits } from '../../support/equal-units.ts';

const ten = equalUnits(10);
const gpu = (usableBytes: number, bandwidthBytes?: number): ClusterDevice => ({
  ...{ name: 'card', kind: 'cuda', usableBytes, bandwidthBytes },
});
const cpu = (usableBytes: number, bandwidthBytes?: number): ClusterDevice => ({
  ...{ name: 'RAM', kind: 'cpu', usableBytes, bandwidthBytes },
});

function node(
  peerId: string,
  devices: readonly ClusterDevice[],
  differing: Partial<ClusterNode> = {},
): ClusterNode {
  return {
    ...{ peerId, name: peerId, role: 'serve', isSilent: false, hasFile: false, canHost: true },
    ...{ rpcBuild: 'b1', lends: 'b1', cpuOffload: false, devices },
    ...differing,
  };
}

/** Every pair at 1 ms unless `links` say otherwise. */
function plan(nodes: readonly ClusterNode[], options: PlacementOptions = {}, links?: ClusterLink[]): Plan {
  const all = nodes.flatMap(({ peerId: from }) => nodes.map(({ peerId: to }) => ({ from, to, rttMs: 1 })));
  return planPlacement(ten, { nodes, links: links ?? all }, options);
}

function soloPlan(...args: Parameters<typeof plan>): SoloPlan {
  const made = plan(...args);
  expect(made.mode).toBe('solo');
  return made as SoloPlan;
}

function pipelinePlan(...args: Parameters<typeof plan>): PipelinePlan {
  const made = plan(...args);
  expect(made.mode).toBe('pipeline');
  return made as PipelinePlan;
}

function noPlan(...args: Parameters<typeof plan>): NoPlan {
  const made = plan(...args);
  expect(made.mode).toBe('none');
  return made as NoPlan;
}

const reasons = (made: Plan): Record<string, string> =>
  Object.fromEntries(made.leftOut.map(({ peerId, reason }) => [peerId, reason.kind]));

describe('a model that fits on one node', () => {
  it('goes to the node with the file, then the fastest, then the largest, then the smaller peer id', () => {
    const { replicas } = soloPlan(
      [
        node('a', [gpu(100)]),
        node('b', [gpu(100)]),
        node('c', [gpu(200)]),
        node('slow', [gpu(500, 100)]),
        node('fast', [gpu(150, 900)]),
        node('file', [gpu(100)], { hasFile: true }),
      ],
      { replicas: 6 },
    );
    expect(replicas.map(({ peerId }) => peerId)).toEqual(['file', 'fast', 'slow', 'c', 'a', 'b']);
  });

  it('has as many replicas as were asked for, and says who else could', () => {
    const made = soloPlan([node('a', [gpu(100)]), node('b', [gpu(100)]), node('c', [gpu(100)])], {
      replicas: 2,
    });
    expect(made.replicas.map(({ peerId }) => peerId)).toEqual(['a', 'b']);
    expect(made.candidates.map(({ peerId }) => peerId)).toEqual(['c']);
    expect(reasons(made)).toEqual({ c: 'not-needed' });
    expect(made.notes).toEqual([]);
  });

  it('says if there are fewer replicas than were asked for', () => {
    expect(soloPlan([node('a', [gpu(100)])], { replicas: 2 }).notes).toHaveLength(1);
  });

  it('needs no native engine, and nobody lends for it', () => {
    const made = soloPlan([node('a', [gpu(100)], { canHost: false, rpcBuild: undefined, lends: undefined })]);
    expect(made.replicas[0]?.split).toMatchObject({ gpuLayers: 10, tensorSplit: [10] });
  });

  it('is cut over the cards of a node, the output on the last that is used', () => {
    const [replica] = soloPlan([node('a', [gpu(60), gpu(50), gpu(5)])]).replicas;
    expect(replica?.split.tensorSplit).toEqual([6, 4, 0]);
    expect(replica?.split.unused.map(({ index }) => index)).toEqual([2]);
  });

  it('uses RAM beside cards only where that is allowed, and as little as it can', () => {
    expect(plan([node('a', [gpu(60), cpu(100)])]).mode).toBe('none');
    const [replica] = soloPlan([node('a', [gpu(60), cpu(100)], { cpuOffload: true })]).replicas;
    expect(replica?.split).toMatchObject({ gpuLayers: 6, tensorSplit: [6] });
  });

  it('is left to no client, no silent node and none without memory', () => {
    const made = soloPlan([
      node('a', [gpu(100)]),
      node('client', [gpu(100)], { role: 'client' }),
      node('silent', [gpu(100)], { isSilent: true }),
      node('empty', []),
    ]);
    expect(reasons(made)).toEqual({ client: 'client', silent: 'silent', empty: 'no-devices' });
  });

  it('needs RAM at its node for the token table, beside its cards', () => {
    const demand = { ...ten, embeddingBytes: 30 };
    const on = (ram: number): Plan =>
      planPlacement(demand, { nodes: [node('a', [gpu(100), cpu(ram)], { lends: undefined })], links: [] });
    expect(on(30).mode).toBe('solo');
    expect(on(29)).toMatchObject({ mode: 'none', closest: { reason: { kind: 'ram-too-small' } } });
  });
});

describe('a model that fits on no node', () => {
  it('is hosted by the node with the file, then the one with most memory of cards, then the smaller peer id', () => {
    const hostOf = (...nodes: ClusterNode[]): string => pipelinePlan(nodes).host.peerId;
    expect(hostOf(node('a', [gpu(50)]), node('b', [gpu(60)]))).toBe('b');
    expect(hostOf(node('a', [gpu(50)], { hasFile: true }), node('b', [gpu(60)]))).toBe('a');
    expect(hostOf(node('b', [gpu(60)]), node('a', [gpu(60)]))).toBe('a');
    expect(hostOf(node('a', [gpu(50), cpu(90)]), node('b', [gpu(60)]))).toBe('b');
  });

  it('says why members before the host in order are not it', () => {
    const made = pipelinePlan([
      node('bare', [gpu(90)], { canHost: false }),
      node('nameless', [gpu(80)], { rpcBuild: undefined }),
      node('other', [gpu(70)], { rpcBuild: 'b2', lends: 'b2' }),
      node('host', [gpu(60)]),
    ]);
    expect(made.host.peerId).toBe('host');
    expect(made.passedOver.map(({ peerId, reason }) => [peerId, reason.kind])).toEqual([
      ['bare', 'no-engine'],
      ['nameless', 'no-engine'],
      ['other', 'no-workers'],
    ]);
  });

  it('has the first layers on the CPU of a host without cards', () => {
    const { host } = pipelinePlan([node('a', [cpu(60)], { hasFile: true }), node('b', [gpu(60)])]);
    expect(host.split).toMatchObject({ gpuLayers: 5, tensorSplit: [5] });
    expect(host.split.stages.map(({ place }) => place)).toEqual(['cpu', 'worker']);
  });

  it('names each who takes no part, with the reason', () => {
    const nodes = [
      node('host', [gpu(60)], { hasFile: true }),
      node('worker', [gpu(50)]),
      node('client', [gpu(60)], { role: 'client' }),
      node('silent', [gpu(60)], { isSilent: true }),
      node('keeper', [gpu(60)], { lends: undefined }),
      node('bare', [gpu(60)], { lends: undefined, canHost: false }),
      node('other', [gpu(60)], { lends: 'b2' }),
      node('unknown', [gpu(60)]),
      node('far', [gpu(60)]),
      node('edge', [gpu(60)]),
      node('tiny', [gpu(9)]),
      node('empty', []),
    ];
    const link = (to: string, rttMs: number): ClusterLink => ({ from: 'host', to, rttMs });
    const near = nodes.filter(({ peerId }) => peerId !== 'unknown').map(({ peerId }) => link(peerId, 1));
    const made = pipelinePlan(nodes, {}, [...near, link('far', 80.1), link('edge', 80)]);
    expect(reasons(made)).toEqual({
      ...{ client: 'client', silent: 'silent', keeper: 'lends-nothing', bare: 'no-engine' },
      ...{ other: 'other-build', unknown: 'rtt-unknown', far: 'rtt-too-long', edge: 'not-needed' },
      ...{ tiny: 'too-small', empty: 'no-devices' },
    });
  });

  it('takes the larger of two round trips that the ends tell', () => {
    const nodes = [node('a', [gpu(60)]), node('b', [gpu(50)])];
    const told = [
      { from: 'a', to: 'b', rttMs: 3 },
      { from: 'b', to: 'a', rttMs: 7 },
    ];
    expect(pipelinePlan(nodes, {}, told).host.split.stages[0]?.rttMs).toBe(7);
  });

  it('names the card that a worker keeps idle', () => {
    const made = pipelinePlan([node('host', [gpu(60)], { hasFile: true }), node('twin', [gpu(45), gpu(45)])]);
    expect(made.leftOut).toEqual([
      {
        ...{ peerId: 'twin', nodeName: 'twin', device: { name: 'card', index: 1 } },
        reason: { kind: 'not-needed' },
      },
    ]);
  });

  it('has no more than 15 devices', () => {
    const many = (count: number): ClusterNode[] =>
      Array.from({ length: count }, (_, index) =>
        node(`worker-${String(index).padStart(2, '0')}`, [gpu(10)]),
      );
    const host = node('host', [gpu(10)], { hasFile: true });
    const sixteen = { ...ten, units: equalUnits(16).units };
    const all = [host, ...many(15)];
    const links = all.map(({ peerId: to }) => ({ from: 'host', to, rttMs: 1 }));
    expect(planPlacement(sixteen, { nodes: all, links })).toMatchObject({
      mode: 'none',
      closest: { reason: { kind: 'too-many-devices', most: 15 }, deviceCount: 15 },
    });
    const fifteen = { ...ten, units: equalUnits(15).units };
    const made = planPlacement(fifteen, { nodes: all, links }) as PipelinePlan;
    expect(made.mode).toBe('pipeline');
    expect(made.host.split.stages).toHaveLength(15);
  });

  it('does not count the CPU of a host without cards among them', () => {
    const host = node('host', [cpu(10)], { hasFile: true });
    const workers = Array.from({ length: 15 }, (_, index) => node(`w${index}`, [gpu(10)]));
    const links = workers.map(({ peerId: to }) => ({ from: 'host', to, rttMs: 1 }));
    const demand = { ...ten, units: equalUnits(16).units };
    const made = planPlacement(demand, { nodes: [host, ...workers], links }) as PipelinePlan;
    expect(made.host.split).toMatchObject({ gpuLayers: 15, tensorSplit: Array(15).fill(1) });
  });

  it('notes of a mixture of experts that it will be cut otherwise later', () => {
    const nodes = [node('a', [gpu(60)]), node('b', [gpu(50)])];
    const links = [{ from: 'a', to: 'b', rttMs: 1 }];
    expect(planPlacement({ ...ten, isMixture: true }, { nodes, links }).notes).toHaveLength(1);
    expect(planPlacement(ten, { nodes, links }).notes).toEqual([]);
  });

  it('is expected to be as fast as memory and round trips allow', () => {
    const made = pipelinePlan([node('a', [gpu(50, 25_000)]), node('b', [gpu(50, 5000)])]);
    // 5 units of 5 bytes each: 1 ms at one, 5 ms at the other, 1 ms there and back, 0.5 ms for the stage.
    expect(made.host.estimate.tokensPerSecond).toBeCloseTo(1000 / 7.5, 9);
    expect(made.host.estimate.roundTripTokensPerSecond).toBe(1000);
  });

  it('has no expected speed while a bandwidth is not known, and says whose', () => {
    const { estimate } = pipelinePlan([node('a', [gpu(50, 25_000)]), node('b', [gpu(50, 0)])]).host;
    expect(estimate.tokensPerSecond).toBeUndefined();
    expect(estimate.unmeasured.map(({ peerId }) => peerId)).toEqual(['b']);
    expect(estimate.roundTripTokensPerSecond).toBe(1000);
  });
});

describe('a split that was asked for', () => {
  it('takes a worker though the model fits on one node', () => {
    const made = pipelinePlan([node('a', [gpu(100)]), node('b', [gpu(100)])], { splitForced: true });
    expect(made).toMatchObject({ isForced: true, host: { peerId: 'a' } });
    expect(made.host.split.tensorSplit).toEqual([5, 5]);
  });

  it('says that it is not needed where nobody can be a worker', () => {
    const made = noPlan([node('a', [gpu(100)])], { splitForced: true });
    expect(made.closest?.reason.kind).toBe('no-workers');
    expect(made.help[0]).toContain('fits on a alone');
  });
});

describe('no plan', () => {
  it('says how much is needed, what the largest node and all together have', () => {
    const made = noPlan([
      node('a', [gpu(39)]),
      node('b', [gpu(49)]),
      node('c', [gpu(19)], { lends: undefined }),
    ]);
    expect(made).toMatchObject({
      ...{ cause: 'no-split', neededBytes: 100 },
      largest: { nodeName: 'b', usableBytes: 49 },
      closest: {
        ...{ nodeName: 'c', usableBytes: 107, deviceCount: 3 },
        reason: { kind: 'no-cut' },
      },
    });
  });

  it('says what is missing', () => {
    const made = noPlan([node('a', [gpu(40)]), node('b', [gpu(50)])]);
    expect(made.closest?.reason).toEqual({
      ...{ kind: 'too-little-together', usableBytes: 90, neededBytes: 100 },
    });
    expect(reasons(made)).toEqual({ a: 'not-enough', b: 'too-little-together' });
    expect(made.help[0]).toContain('10 B more');
  });

  it('says that nobody hosts, or nobody serves', () => {
    expect(
      noPlan([node('a', [gpu(60)], { canHost: false }), node('b', [gpu(60)], { canHost: false })]).cause,
    ).toBe('no-host');
    expect(noPlan([node('a', [gpu(60)], { role: 'client' })]).cause).toBe('nobody-serves');
    expect(noPlan([]).leftOut).toEqual([]);
  });

  it('says what the owners of those left out could do', () => {
    const made = noPlan([
      node('a', [gpu(50)]),
      node('b', [gpu(40)]),
      node('keeper', [gpu(40)], { lends: undefined, canHost: false, rpcBuild: 'b1' }),
      node('other', [gpu(40)], { lends: 'b2', canHost: false }),
    ]);
    const help = made.help.join('\n');
    expect(help).toContain('keeper (40 B usable): could take part with the native engine');
    expect(help).toContain('other (40 B usable): could take part with the build of the host');
  });
});
