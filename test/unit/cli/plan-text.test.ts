import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planLines } from '../../../src/cli/plan-text.ts';
import { planPlacement } from '../../../src/placement/placement.ts';
import { clusters, demands } from '../../support/placement-arbitraries.ts';
import { unevenClusters } from '../../support/uneven-clusters.ts';

function linesFor(title: string): string[] {
  const entry = unevenClusters.find((candidate) => candidate.title === title);
  return entry === undefined ? [] : planLines(planPlacement(entry.demand, entry.cluster, entry.options));
}

describe('a plan as text', () => {
  it('says what is done and why, who holds what, the flags and the speed', () => {
    expect(linesFor('Three cards of 16 GB')).toEqual([
      'Qwen2.5 32B Q4: 64 layers, 1 slot of 8192 tokens, 19.8 GiB',
      'Pipeline over 2 devices of 2 nodes: no node holds it alone; anna has most, 14.4 GiB.',
      '',
      'DEVICE      NODE  LAYERS          WEIGHTS  KV       COMPUTE  FILLED            RTT',
      'CUDA 16 GB  anna  0-33            8.7 GiB  1.1 GiB  96 MiB   68 % of 14.4 GiB  0.40 ms',
      'CUDA 16 GB  bert  34-63 + output  8.3 GiB  960 MiB  393 MiB  66 % of 14.4 GiB  host',
      '',
      'Host    bert (has the file): -ngl 65 --tensor-split 34,31',
      'RAM     513.7 MiB of bert: token table and process',
      'Speed   about 47 tokens/s for one stream; round trips alone allow 2500',
      '',
      'Left out',
      '  cleo: not needed',
    ]);
  });

  it('says whose bandwidth is missing where no speed is known', () => {
    expect(linesFor('A mixture of experts over three Apple machines')).toContain(
      'Speed   not known: nobody has measured the bandwidth of Metal of mac-3; round trips alone allow 1111',
    );
  });

  it('says where there is no plan what is missing and what would help', () => {
    const text = linesFor('Nothing holds it').join('\n');
    expect(text).toContain('No plan: no node holds it alone');
    expect(text).toContain('What would help\n  At least 7.2 GiB more usable memory in reach.');
    expect(text).toContain('  asleep: not heard when it should have been');
  });

  it('names those who are left out for the same reason together', () => {
    expect(linesFor('Ten machines, two of them behind 100 ms')).toContain(
      '  node-g, node-h, node-i, node-j: not needed',
    );
  });

  it('keeps within 100 columns, whatever the names and the plan', () => {
    const word = fc.string({
      minLength: 1,
      maxLength: 60,
      size: 'max',
      unit: fc.constantFrom('a', 'W', 'é', '漢', '-'),
    });
    fc.assert(
      fc.property(
        demands(),
        clusters(),
        fc.boolean(),
        word,
        (demand, { nodes, links }, splitForced, name) => {
          const named = nodes.map((node) => ({
            ...node,
            name,
            devices: node.devices.map((device) => ({ ...device, name })),
          }));
          const lines = planLines(planPlacement(demand, { nodes: named, links }, { splitForced }));
          expect(lines.filter((line) => [...line].length > 100)).toEqual([]);
          expect(lines.length).toBeGreaterThan(1);
        },
      ),
    );
  });
});
