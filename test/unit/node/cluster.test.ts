import { describe, expect, it } from 'vitest';
import type { Hardware } from '../../../src/engine/hardware/device.ts';
import type { RecordModel } from '../../../src/mesh/record.ts';
import { loneCluster, meshCluster } from '../../../src/node/cluster.ts';
import { memberView, recordModel } from '../../support/member-view.ts';

const wanted = { name: 'big', digest: 'ab'.repeat(32), sizeBytes: 1000, isHere: false };

function cluster(members: Parameters<typeof meshCluster>[0]['members'], file: Partial<typeof wanted> = {}) {
  return meshCluster({ self: 'self', members, ownRttMs: new Map([['ada', 3]]) }, { ...wanted, ...file });
}

describe('the mesh as the planner wants it', () => {
  it('has members with devices, and what they can do for others', () => {
    const devices = [{ name: 'card', kind: 'cuda', totalBytes: 9, usableBytes: 8, bandwidthBytes: 7 }];
    const ada = memberView('ada', { devices, rpcBuild: '0.5.0+abc' });
    const bee = memberView('bee', {});
    expect(cluster([ada, bee]).nodes).toMatchObject([
      { peerId: 'ada', canHost: true, lends: '0.5.0+abc', devices },
      { peerId: 'bee', canHost: false, lends: undefined, rpcBuild: undefined },
    ]);
  });

  it('has nobody who is gone, and tells who is silent, but never of itself', () => {
    const views = [
      memberView('self', {}, { isSilent: true }),
      memberView('ada', {}, { isSilent: true }),
      memberView('bee', {}, { status: 'dead' }),
    ];
    expect(cluster(views).nodes.map(({ peerId, isSilent }) => [peerId, isSilent])).toEqual([
      ['self', false],
      ['ada', true],
    ]);
  });

  it('knows who has the file by digest, or by name and size where a digest is not known', () => {
    const has = (fields: Partial<RecordModel>, file: object = {}): boolean | undefined =>
      cluster(
        [
          memberView('ada', {
            models: [recordModel('other-name', { digest: wanted.digest, sizeBytes: 5, ...fields })],
          }),
        ],
        file,
      ).nodes[0]?.hasFile;
    expect(has({})).toBe(true);
    expect(has({ digest: 'cd'.repeat(32), name: 'big', sizeBytes: 1000 })).toBe(false);
    expect(has({ digest: undefined, name: 'big', sizeBytes: 1000 })).toBe(true);
    expect(has({ digest: undefined, name: 'big', sizeBytes: 999 })).toBe(false);
    expect(has({}, { digest: undefined })).toBe(false);
    expect(has({ attached: true })).toBe(false);
  });

  it('has the file itself if it is here', () => {
    expect(cluster([memberView('self')], { isHere: true }).nodes[0]?.hasFile).toBe(true);
  });

  it('measures its own distances, and believes others theirs', () => {
    const neighbours = [{ peerId: 'bee', rttP50Ms: 9, rttP95Ms: 12 }];
    const ada = memberView('ada', { neighbours });
    const self = memberView('self', { neighbours: [{ peerId: 'ada', rttP50Ms: 99, rttP95Ms: 99 }] });
    expect(cluster([self, ada]).links).toEqual([
      { from: 'ada', to: 'bee', rttMs: 9 },
      { from: 'self', to: 'ada', rttMs: 3 },
    ]);
  });

  it('is one machine where there is no mesh', () => {
    const hardware: Hardware = {
      devices: [
        {
          id: 'cpu',
          kind: 'cpu',
          name: 'x',
          totalBytes: 9,
          usableBytes: 8,
          unified: false,
          source: 'system',
        },
      ],
      cpu: { model: 'x', logicalCores: 1, allowedCores: 1 },
      memory: { totalBytes: 9, usableBytes: 8 },
      notes: [],
    };
    const lone = loneCluster(
      { name: 'me', peerId: 'self', rpcBuild: undefined, bandwidthBytes: 5 },
      hardware,
      {
        ...wanted,
        isHere: true,
      },
    );
    expect(lone).toMatchObject({
      nodes: [
        { name: 'me', hasFile: true, canHost: false, devices: [{ usableBytes: 8, bandwidthBytes: 5 }] },
      ],
      links: [],
    });
  });
});
