// Small random models and clusters in which everything is scarce: some are placed whole, some cut, some not at all.
import fc from 'fast-check';
import type { ModelDemand } from '../../src/models/model-demand.ts';
import type { Cluster, ClusterDevice, ClusterLink, ClusterNode } from '../../src/placement/cluster.ts';

/** At most seven units. */
export function demands(): fc.Arbitrary<ModelDemand> {
  const unit = fc.record({
    weightsBytes: fc.integer({ min: 1, max: 20 }),
    kvBytes: fc.integer({ min: 0, max: 6 }),
    activeBytes: fc.integer({ min: 0, max: 20 }),
  });
  return fc
    .record({
      units: fc.array(unit, { minLength: 2, maxLength: 7 }),
      embeddingBytes: fc.integer({ min: 0, max: 8 }),
      isTied: fc.boolean(),
      computeBytes: fc.integer({ min: 0, max: 3 }),
      outputComputeBytes: fc.integer({ min: 0, max: 4 }),
      overheadBytes: fc.integer({ min: 0, max: 2 }),
      isMixture: fc.boolean(),
    })
    .map(({ isTied, ...demand }) => ({
      ...demand,
      ...{ name: 'random', contextTokens: 1024, slots: 1 },
      tiedBytes: isTied ? Math.min(demand.embeddingBytes, demand.units.at(-1)?.weightsBytes ?? 0) : 0,
    }));
}

/** At most six devices that hold layers, of at most six nodes. */
export function clusters(): fc.Arbitrary<Cluster> {
  return fc
    .array(nodeFacts(), { minLength: 2, maxLength: 6 })
    .map((nodes) => nodes.map((node, index): ClusterNode => ({ ...node, peerId: `peer-${index}` })))
    .filter((nodes) => nodes.reduce((sum, { devices }) => sum + Math.max(1, devices.length - 1), 0) <= 6)
    .chain((nodes) => fc.record({ nodes: fc.constant(nodes), links: linksOf(nodes) }));
}

/** The same with nodes and links in another order. */
export function reordered({ nodes, links }: Cluster): fc.Arbitrary<Cluster> {
  const all = <Item>(items: readonly Item[]) =>
    fc.shuffledSubarray([...items], { minLength: items.length, maxLength: items.length });
  return fc.record({ nodes: all(nodes), links: all(links) });
}

function nodeFacts(): fc.Arbitrary<Omit<ClusterNode, 'peerId'>> {
  const oneIn = (count: number): fc.Arbitrary<boolean> =>
    fc.integer({ min: 1, max: count }).map((value) => value === count);
  const build = fc.oneof(
    { weight: 8, arbitrary: fc.constant('b1') },
    { weight: 1, arbitrary: fc.constant('b2') },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
  return fc.record({
    name: fc.constantFrom('anna', 'bert', 'cleo'),
    role: fc.constantFrom('serve', 'serve', 'serve', 'serve', 'admin', 'client'),
    isSilent: oneIn(10),
    hasFile: fc.boolean(),
    canHost: oneIn(6).map((cannot) => !cannot),
    rpcBuild: build,
    lends: build,
    cpuOffload: oneIn(4),
    devices: fc.tuple(fc.array(gpu(), { maxLength: 2 }), cpu()).map(([gpus, ram]) => [...gpus, ram]),
  });
}

function gpu(): fc.Arbitrary<ClusterDevice> {
  return deviceOf(fc.constantFrom('cuda', 'cuda', 'cuda', 'vulkan', 'metal'), 45);
}

function cpu(): fc.Arbitrary<ClusterDevice> {
  return deviceOf(fc.constant('cpu'), 45);
}

function deviceOf(kind: fc.Arbitrary<string>, mostBytes: number): fc.Arbitrary<ClusterDevice> {
  return fc.record({
    name: fc.constantFrom('card', 'other card'),
    kind,
    usableBytes: fc.integer({ min: 0, max: mostBytes }),
    bandwidthBytes: fc.constantFrom(undefined, 100, 300, 900),
  });
}

/** Of most pairs, of some from both ends. */
function linksOf(nodes: readonly ClusterNode[]): fc.Arbitrary<ClusterLink[]> {
  const rttMs = fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(0, 0.25, 1, 1, 5, 20) },
    { weight: 3, arbitrary: fc.double({ min: 0, max: 50, noNaN: true }) },
    { weight: 1, arbitrary: fc.constantFrom(80, 80.001, 200) },
  );
  const told = fc.record({ there: rttMs, back: rttMs, ends: fc.constantFrom(0, 1, 1, 1, 1, 1, 1, 2) });
  const pairs = nodes.flatMap((one, index) => nodes.slice(index + 1).map((other) => [one, other] as const));
  return fc.tuple(...pairs.map(() => told)).map((all) =>
    all.flatMap(({ there, back, ends }, index): ClusterLink[] => {
      const [from, to] = (pairs[index] ?? []).map(({ peerId }) => peerId);
      return from === undefined || to === undefined
        ? []
        : [
            { from, to, rttMs: there },
            { from: to, to: from, rttMs: back },
          ].slice(0, ends);
    }),
  );
}
