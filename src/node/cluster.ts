// The mesh as the planner wants it: what records say of members, and what this node measured itself. Pure.
import type { WantedFile } from '../console/cluster-port.ts';
import type { Hardware } from '../engine/hardware/device.ts';
import type { MemberView } from '../mesh/membership.ts';
import type { PeerRecord, RecordModel } from '../mesh/record.ts';
import type { Cluster, ClusterLink, ClusterNode } from '../placement/cluster.ts';
import type { PeerId } from '../trust/keys.ts';
import { recordDevices } from './local-facts.ts';

export interface MeshView {
  readonly self: PeerId;
  /** This node included. */
  readonly members: readonly MemberView[];
  /** Median round trips that this node measured of late. */
  readonly ownRttMs: ReadonlyMap<PeerId, number>;
}

/** Members that live; those that are silent are among them, for a plan says of each why it is left out. */
export function meshCluster({ self, members, ownRttMs }: MeshView, wanted: WantedFile): Cluster {
  const living = members.filter(({ status }) => status === 'alive');
  return {
    nodes: living.map((member) => memberNode(member, self, wanted)),
    links: [
      ...living.filter(({ record }) => record.peerId !== self).flatMap(({ record }) => toldLinks(record)),
      ...[...ownRttMs].map(([to, rttMs]) => ({ from: self, to, rttMs })),
    ],
  };
}

/** This machine alone. */
export function loneCluster(
  node: {
    readonly name: string;
    readonly peerId: string;
    readonly rpcBuild: string | undefined;
    readonly bandwidthBytes: number | undefined;
  },
  hardware: Hardware,
  wanted: WantedFile,
): Cluster {
  const { name, peerId, rpcBuild, bandwidthBytes } = node;
  return {
    nodes: [
      {
        ...{ name, peerId, role: 'admin', isSilent: false, hasFile: wanted.isHere },
        ...nativeFields(rpcBuild),
        devices: recordDevices(hardware, bandwidthBytes),
      },
    ],
    links: [],
  };
}

function memberNode({ record, isSilent }: MemberView, self: PeerId, wanted: WantedFile): ClusterNode {
  const { peerId, name, role, rpcBuild, devices, models } = record;
  const isSelf = peerId === self;
  return {
    ...{ peerId, name, role, isSilent: isSilent && !isSelf },
    hasFile: (isSelf && wanted.isHere) || models.some((model) => isSameFile(model, wanted)),
    ...nativeFields(rpcBuild),
    devices,
  };
}

/** Both programs are made together: who has one can host a split and lend its devices. */
function nativeFields(rpcBuild: string | undefined) {
  return { canHost: rpcBuild !== undefined, rpcBuild, lends: rpcBuild, cpuOffload: false };
}

/** By digest where both are known; else a file of the same name and size. */
function isSameFile(model: RecordModel, wanted: WantedFile): boolean {
  if (model.attached) {
    return false;
  }
  return model.digest !== undefined && wanted.digest !== undefined
    ? model.digest === wanted.digest
    : model.name === wanted.name && model.sizeBytes === wanted.sizeBytes;
}

function toldLinks({ peerId, neighbours }: PeerRecord): ClusterLink[] {
  return neighbours.map(({ peerId: to, rttP50Ms }) => ({ from: peerId, to, rttMs: rttP50Ms }));
}
