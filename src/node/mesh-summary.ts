// The mesh in a few numbers: who lives, what can be asked for, what nobody serves, how much memory there is. Pure.
import type { MeshModelView, MeshStatus, PeerView, WantedModel } from '../console/mesh-port.ts';
import type { ListedModel } from '../dispatch/model-directory.ts';
import { meshDemand } from '../mesh/demand.ts';
import type { MemberView } from '../mesh/membership.ts';
import type { Device } from '../mesh/record.ts';
import { nodeLimits } from '../util/limits/node.ts';

/** One request of the last ten minutes: what fades below that is nothing to act on. */
const leastWanted = 0.5;

export interface MeshFacts {
  /** This node included. */
  readonly members: readonly MemberView[];
  readonly stateOf: (member: MemberView) => PeerView['state'];
  readonly models: readonly ListedModel[];
  readonly wallMs: number;
}

export type MeshSummary = Pick<
  MeshStatus,
  'members' | 'suspect' | 'dead' | 'usableBytes' | 'models' | 'wanted'
>;

export function meshSummary({ members, stateOf, models, wallMs }: MeshFacts): MeshSummary {
  const count = (state: PeerView['state']): number =>
    members.filter((member) => stateOf(member) === state).length;
  const living = members.filter(({ status }) => status === 'alive');
  return {
    members: living.length,
    suspect: count('suspect'),
    dead: count('dead'),
    usableBytes: living.reduce((sum, { record }) => sum + usableBytes(record.devices), 0),
    models: models.map(modelView),
    wanted: wantedOf(living, models, wallMs),
  };
}

/** On Macs both kinds are one memory. */
const sharedKinds: readonly string[] = ['cpu', 'metal'];

/** As usableBytesOf of machine-parts.ts; records do not say what is shared, but by the kind. */
function usableBytes(devices: readonly Device[]): number {
  const isShared = ({ kind }: Device): boolean => sharedKinds.includes(kind);
  const shared = devices.filter(isShared).map(({ usableBytes }) => usableBytes);
  const own = devices.filter((device) => !isShared(device)).map(({ usableBytes }) => usableBytes);
  return Math.max(0, ...shared) + own.reduce((sum, bytes) => sum + bytes, 0);
}

function modelView(model: ListedModel): MeshModelView {
  const { name, stage, fraction, replicas, digest, sizeBytes, capabilities } = model;
  const contextTokens = capabilities?.contextTokens;
  return {
    ...{ name, stage, replicas },
    ...(fraction === undefined ? {} : { fraction }),
    ...(digest === undefined ? {} : { digest }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...(contextTokens === undefined ? {} : { contextTokens }),
    kinds: [...(capabilities?.kinds ?? [])],
  };
}

/** What is asked for and served by nobody, as far as all claims together are believed. */
function wantedOf(
  members: readonly MemberView[],
  models: readonly ListedModel[],
  wallMs: number,
): WantedModel[] {
  const listed = new Set(models.map(({ name }) => name));
  const reports = members.map(({ record: { peerId, issuedMs, demand, served } }) => ({
    ...{ origin: peerId, issuedMs, demand, served },
  }));
  return [...meshDemand(reports, wallMs)]
    .map(([model, requests]) => ({ model, requests: Number(requests.toPrecision(2)) }))
    .filter(({ model, requests }) => !listed.has(model) && requests >= leastWanted)
    .sort((a, b) => b.requests - a.requests || (a.model < b.model ? -1 : 1))
    .slice(0, nodeLimits.wantedModels);
}
