// Named clusters of unequal machines, each with a model to place: what docs/PLANS.md shows and the corpus test checks.
// Shapes of models are real; machines, round trips and bandwidths are invented, in the size of what such hardware has.
import type { ModelDemand } from '../../src/models/model-demand.ts';
import type { Cluster, ClusterDevice, ClusterLink, ClusterNode } from '../../src/placement/cluster.ts';
import type { PlacementOptions } from '../../src/placement/placement.ts';
import { demandOf, modelShapes } from './model-shapes.ts';

export interface UnevenCluster {
  readonly title: string;
  readonly about: string;
  readonly demand: ModelDemand;
  readonly cluster: Cluster;
  readonly options: PlacementOptions;
}

const GiB = 1024 ** 3;
/** Invented, in bytes a second: a graphics card, a small one, RAM, and an Apple machine. */
const bandwidth = { card: 900e9, smallCard: 350e9, ram: 40e9, apple: 400e9 } as const;

/** A device of so many GiB, a tenth of them left to the machine. */
export function device(kind: string, gibibytes: number, bandwidthBytes?: number, name = kind): ClusterDevice {
  return { name, kind, usableBytes: Math.floor(gibibytes * GiB * 0.9), bandwidthBytes };
}

const card = (gibibytes: number): ClusterDevice =>
  device('cuda', gibibytes, gibibytes > 12 ? bandwidth.card : bandwidth.smallCard, `CUDA ${gibibytes} GB`);
const ram = (gibibytes: number): ClusterDevice =>
  device('cpu', gibibytes, bandwidth.ram, `RAM ${gibibytes} GB`);

/** A member that can host and lends, without the file. */
export function member(
  name: string,
  devices: readonly ClusterDevice[],
  differing: Partial<ClusterNode> = {},
): ClusterNode {
  return {
    ...{ peerId: `peer-${name}`, name, role: 'serve', isSilent: false, hasFile: false, canHost: true },
    ...{ rpcBuild: 'b1', lends: 'b1', cpuOffload: false, devices },
    ...differing,
  };
}

/** The same round trip between all of them, a little longer with each. */
function linksOf(nodes: readonly ClusterNode[], firstMs: number, stepMs: number): ClusterLink[] {
  return nodes.flatMap(({ peerId: from }, index) =>
    nodes
      .slice(index + 1)
      .map(({ peerId: to }, place) => ({ from, to, rttMs: firstMs + stepMs * (index + place) })),
  );
}

function near(nodes: readonly ClusterNode[], links = linksOf(nodes, 0.4, 0.1)): Cluster {
  return { nodes, links };
}

const withFile = { hasFile: true } as const;
const three16 = ['anna', 'bert', 'cleo'].map((name, index) =>
  member(name, [card(16), ram(32)], index === 1 ? withFile : {}),
);
const uneven = [
  member('large', [card(96), ram(128)], withFile),
  member('middle', [card(24), ram(64)]),
  member('small', [card(8), ram(16)]),
];
const ten = 'abcdefghij'
  .split('')
  .map((letter, index) => member(`node-${letter}`, [card(12), ram(32)], index === 2 ? withFile : {}));
const tenLinks = linksOf(ten, 2, 1.5).map((link) =>
  [link.from, link.to].some((peerId) => ['peer-node-a', 'peer-node-e'].includes(peerId))
    ? { ...link, rttMs: link.rttMs + 100 }
    : link,
);
const pair12 = [member('left', [card(12), ram(32)], withFile), member('right', [card(12), ram(32)])];

export const unevenClusters: readonly UnevenCluster[] = [
  {
    title: 'Three cards of 16 GB',
    about: 'No card holds 32 B at 4 bits alone, two do: the third is not needed, however near.',
    demand: demandOf(modelShapes.qwen32b, 8192),
    cluster: near(three16),
    options: {},
  },
  {
    title: '96, 24 and 8 GB: what one holds stays whole',
    about: '70 B at 4 bits for one short conversation.',
    demand: demandOf(modelShapes.llama70b, 8192),
    cluster: near(uneven),
    options: {},
  },
  {
    title: '96, 24 and 8 GB: all three',
    about: 'The same model for seven long conversations: layers in proportion to memory.',
    demand: demandOf(modelShapes.llama70b, 32_768, 7),
    cluster: near(uneven),
    options: {},
  },
  {
    title: 'Ten machines, two of them behind 100 ms',
    about: 'The nearest that hold it; the far ones never, for each token would wait for them.',
    demand: demandOf(modelShapes.llama70b, 8192),
    cluster: near(ten, tenLinks),
    options: {},
  },
  {
    title: 'A worker with two cards',
    about: 'Cards are the unit, not machines: each is a stage of its own.',
    demand: demandOf(modelShapes.llama70b, 8192),
    cluster: near([
      member('desk', [card(24), ram(64)], withFile),
      member('twin', [card(12), card(12), ram(32)]),
      member('spare', [card(8), ram(16)]),
    ]),
    options: {},
  },
  {
    title: 'A host with a CPU only',
    about: 'The file is on a machine without GPU: it hosts, and its RAM holds the first layers.',
    demand: demandOf(modelShapes.qwen32b, 8192),
    cluster: near([
      member('library', [ram(16)], withFile),
      member('card-1', [card(12), ram(16)], { canHost: false, rpcBuild: undefined }),
      member('card-2', [card(12), ram(16)]),
    ]),
    options: {},
  },
  {
    title: 'Nothing holds it',
    about: 'One lends nothing, one is a client, one is silent, one has no native engine.',
    demand: demandOf(modelShapes.llama70b, 8192),
    cluster: near([
      member('host', [card(16), ram(32)], withFile),
      member('lender', [card(8), ram(16)]),
      member('keeper', [card(12), ram(16)], { lends: undefined }),
      member('phone', [], { role: 'client', lends: undefined, canHost: false, rpcBuild: undefined }),
      member('asleep', [card(24), ram(32)], { isSilent: true }),
      member('plain', [card(8), ram(16)], { lends: undefined, canHost: false, rpcBuild: undefined }),
    ]),
    options: {},
  },
  {
    title: 'A round trip that nobody has measured',
    about: 'Unknown is measured first, never assumed: the way to `new` may be short, `far` is taken.',
    demand: demandOf(modelShapes.qwen32b, 8192),
    cluster: {
      nodes: [
        member('home', [card(16), ram(32)], withFile),
        member('new', [card(16), ram(32)]),
        member('far', [card(16), ram(32)]),
      ],
      links: [{ from: 'peer-home', to: 'peer-far', rttMs: 35 }],
    },
    options: {},
  },
  {
    title: 'Builds that differ',
    about: 'A worker of another build is not asked: both ends of the RPC must be the same.',
    demand: demandOf(modelShapes.qwen32b, 8192),
    cluster: near([
      member('home', [card(16), ram(32)], withFile),
      member('old', [card(16), ram(32)], { lends: 'b0', rpcBuild: 'b0', canHost: false }),
      member('same', [card(12), ram(32)]),
    ]),
    options: {},
  },
  {
    title: 'A split that was asked for',
    about: '8 B fits on either card; `--split` cuts it all the same.',
    demand: demandOf(modelShapes.llama8b, 8192),
    cluster: near(pair12),
    options: { splitForced: true },
  },
  {
    title: 'Two replicas',
    about:
      'More demand makes replicas before anything else. The one with the file is first, then the fastest.',
    demand: demandOf(modelShapes.llama8b, 8192, 2),
    cluster: near([
      ...pair12,
      member('fast', [card(24), ram(32)]),
      member('office', [ram(16)], { canHost: false, rpcBuild: undefined, lends: undefined }),
      member('tiny', [card(4), ram(8)]),
    ]),
    options: { replicas: 2 },
  },
  {
    title: 'RAM beside a card',
    about: 'Its owner allows `--cpu-offload`: RAM takes what the card does not hold.',
    demand: demandOf(modelShapes.qwen32b, 8192),
    cluster: near([member('tower', [card(16), ram(64)], { ...withFile, cpuOffload: true })]),
    options: {},
  },
  {
    title: 'A mixture of experts over three Apple machines',
    about:
      '235 B of which each token reads a tenth: many bytes, few of them read. Bandwidth of one is not known.',
    demand: demandOf(modelShapes.qwen235bMixture, 8192),
    cluster: near(
      ['mac-1', 'mac-2', 'mac-3'].map((name, index) =>
        member(
          name,
          [
            device('metal', 48, index === 2 ? undefined : bandwidth.apple, 'Metal'),
            device('cpu', 48, undefined, 'RAM'),
          ],
          index === 0 ? withFile : {},
        ),
      ),
    ),
    options: {},
  },
];
