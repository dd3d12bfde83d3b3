// What each cluster of docs/PLANS.md must come to, worked out by hand from the sizes of layers: see the notes at each.
import { describe, expect, it } from 'vitest';
import type { LeftOut } from '../../../src/placement/left-out.ts';
import { planPlacement } from '../../../src/placement/placement.ts';
import type { Plan } from '../../../src/placement/plan.ts';
import { unevenClusters } from '../../support/uneven-clusters.ts';

interface Expected {
  readonly mode: Plan['mode'];
  /** The host, or the replicas in order. */
  readonly at: readonly string[];
  /** Units by device, as `node 0-33`, the output being the last. */
  readonly stages: readonly string[];
  readonly leftOut: readonly string[];
}

const expectations: Readonly<Record<string, Expected>> = {
  // A layer takes 0.286 GiB with its cache. 34 make 9.83 GiB of 14.4, 30 and the output (0.98) 9.57; 33 and 31 would
  // make 9.85 at the other one.
  'Three cards of 16 GB': {
    mode: 'pipeline',
    at: ['bert'],
    stages: ['anna 0-33', 'bert 34-64'],
    leftOut: ['cleo not-needed'],
  },
  // 39.6 GiB of 86.4.
  '96, 24 and 8 GB: what one holds stays whole': {
    mode: 'solo',
    at: ['large'],
    stages: ['large 0-80'],
    leftOut: ['middle cannot-hold-it', 'small cannot-hold-it'],
  },
  // A layer takes 1.323 GiB with its cache, a device 0.56 besides: 15 make 20.4 of 21.6 GiB (94.5 %), 4 make 5.9 of 7.2
  // (81 %; 5 would make 99.7 %), 61 with the output (1.05) 82.3 of 86.4 (95.3 %).
  '96, 24 and 8 GB: all three': {
    mode: 'pipeline',
    at: ['large'],
    stages: ['middle 0-14', 'small 15-18', 'large 19-80'],
    leftOut: [],
  },
  // 39.6 GiB and 0.14 a device: four of 10.8 hold it, three do not. From node-c it is 3.5 ms to b, 5 to d, 8 to f.
  'Ten machines, two of them behind 100 ms': {
    mode: 'pipeline',
    at: ['node-c'],
    stages: ['node-b 0-20', 'node-d 21-41', 'node-f 42-61', 'node-c 62-80'],
    leftOut: [
      'node-a rtt-too-long',
      'node-e rtt-too-long',
      ...['g', 'h', 'i', 'j'].map((letter) => `node-${letter} not-needed`),
    ],
  },
  // A layer takes 0.479 GiB: desk holds 42 beside the output (1.05) and 0.14, a card of twin 22, so both are needed. 20
  // make 9.7 of 10.8 GiB (90 %), 40 and the output 20.4 of 21.6 (94 %); 21 at a card would make 95 %.
  'A worker with two cards': {
    mode: 'pipeline',
    at: ['desk'],
    stages: ['twin 0-19', 'twin 20-39', 'desk 40-80'],
    leftOut: ['spare not-needed'],
  },
  // RAM: 38 layers of 0.286 GiB, 0.5 of table and process, 0.09: 11.5 of 14.4 (80 %). Card: 26 and the output: 8.4 of
  // 10.8 (78 %).
  'A host with a CPU only': {
    mode: 'pipeline',
    at: ['library'],
    stages: ['library 0-37', 'card-1 38-64'],
    leftOut: ['card-2 not-needed'],
  },
  // Of 39.6 GiB, keeper (10.8) and what others lend it (14.4 and 7.2) come closest.
  'Nothing holds it': {
    mode: 'none',
    at: [],
    stages: [],
    leftOut: [
      ...['asleep silent', 'host not-enough', 'keeper too-little-together', 'lender not-enough'],
      ...['phone client', 'plain no-engine'],
    ],
  },
  'A round trip that nobody has measured': {
    mode: 'pipeline',
    at: ['home'],
    stages: ['far 0-33', 'home 34-64'],
    leftOut: ['new rtt-unknown'],
  },
  // 29 layers and 0.09 make 8.39 of 10.8 GiB (77.7 %); 35 and the output 11.0 of 14.4 (76.4 %).
  'Builds that differ': {
    mode: 'pipeline',
    at: ['home'],
    stages: ['same 0-28', 'home 29-64'],
    leftOut: ['old other-build'],
  },
  // A layer takes 0.145 GiB: 18 and 0.08 make 2.69, 14 and the output (0.65) and 0.08 make 2.76.
  'A split that was asked for': {
    mode: 'pipeline',
    at: ['left'],
    stages: ['right 0-17', 'left 18-32'],
    leftOut: [],
  },
  'Two replicas': {
    mode: 'solo',
    at: ['left', 'fast'],
    stages: ['left 0-32', 'fast 0-32'],
    leftOut: ['office not-needed', 'right not-needed', 'tiny cannot-hold-it'],
  },
  // The card holds 46 layers and the output: 14.15 of 14.4 GiB; a 47th would take 0.286 more.
  'RAM beside a card': {
    mode: 'solo',
    at: ['tower'],
    stages: ['tower 0-17', 'tower 18-64'],
    leftOut: [],
  },
  // A layer takes 1.32 GiB: 32 make 42.4 of 43.2. The host has 31 and the output, with the table in the same memory.
  'A mixture of experts over three Apple machines': {
    mode: 'pipeline',
    at: ['mac-1'],
    stages: ['mac-2 0-31', 'mac-3 32-62', 'mac-1 63-94'],
    leftOut: [],
  },
};

describe('the plan of an uneven cluster', () => {
  it.each(unevenClusters.map((entry) => [entry.title, entry] as const))('%s', (title, entry) => {
    const plan = planPlacement(entry.demand, entry.cluster, entry.options);
    const placements = plan.mode === 'solo' ? plan.replicas : plan.mode === 'pipeline' ? [plan.host] : [];
    const found: Expected = {
      mode: plan.mode,
      at: placements.map(({ nodeName }) => nodeName),
      stages: placements.flatMap(({ split }) =>
        split.stages.map(
          ({ device, firstUnit, endUnit }) => `${device.nodeName} ${firstUnit}-${endUnit - 1}`,
        ),
      ),
      leftOut: plan.leftOut.map(({ nodeName, reason }: LeftOut) => `${nodeName} ${reason.kind}`),
    };
    expect(found).toEqual(expectations[title]);
  });

  it('is expected for no other cluster', () => {
    expect(Object.keys(expectations).sort()).toEqual(unevenClusters.map(({ title }) => title).sort());
  });
});
