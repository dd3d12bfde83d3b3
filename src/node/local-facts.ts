// What this node says of itself to its mesh, made from what the node knows. Pure; what does not fit into a record
// is left out by the mesh.
import type { Hardware } from '../engine/hardware/device.ts';
import type { InferenceKind } from '../inference/request.ts';
import {
  type Demand,
  type Device,
  type LocalFacts,
  type Neighbour,
  noFacts,
  type RecordModel,
  type Served,
} from '../mesh/record.ts';
import type { ModelStatus } from '../serving/model-status.ts';
import { computingDevices } from './bandwidth.ts';

/** What the rest of the node tells its mesh part. */
export interface FactsSource {
  readonly name: string;
  readonly version: string;
  /** Undefined until it was looked at. */
  readonly hardware: Hardware | undefined;
  readonly models: readonly ModelStatus[];
  /** Bytes a second of the devices that models are on; undefined: not measured. */
  readonly bandwidthBytes: number | undefined;
  /** Build of the native engine, which hosts splits and lends devices; undefined: it is not there. */
  readonly rpcBuild: string | undefined;
  /** What this node's users asked for. */
  readonly demand: readonly Demand[];
  /** What its models answered for other nodes. */
  readonly served: readonly Served[];
}

/** `neighbours` are those whose distance is told. */
export function localFacts(
  source: FactsSource,
  addresses: readonly string[],
  neighbours: readonly Neighbour[],
): LocalFacts {
  const { name, version, hardware, bandwidthBytes, models, rpcBuild, demand, served } = source;
  return {
    ...noFacts,
    name,
    version,
    addresses,
    rpcBuild,
    devices: hardware === undefined ? [] : recordDevices(hardware, bandwidthBytes),
    models: models.flatMap((status) => recordModel(status) ?? []),
    // A fading number changes all the time; what is told of it need not.
    demand: demand.map(({ model, requests }) => ({ model, requests: rounded(requests) })),
    served: served.map((claim) => ({ ...claim, requests: rounded(claim.requests) })),
    neighbours: neighbours.map(({ peerId, rttP50Ms, rttP95Ms }) => ({
      peerId,
      rttP50Ms: rounded(rttP50Ms),
      rttP95Ms: rounded(rttP95Ms),
    })),
  };
}

/** The devices of this machine as others hear of them. `bandwidthBytes` is that of those that models are on. */
export function recordDevices(hardware: Hardware, bandwidthBytes: number | undefined): Device[] {
  const computing = computingDevices(hardware);
  return hardware.devices.map((device) => ({
    name: device.name,
    kind: device.kind,
    totalBytes: device.totalBytes,
    usableBytes: device.usableBytes,
    bandwidthBytes: computing.includes(device) ? roundedBytes(bandwidthBytes) : undefined,
  }));
}

/** No more exactly than it is measured. */
function roundedBytes(value: number | undefined): number | undefined {
  return value === undefined ? undefined : Math.round(rounded(value));
}

function rounded(value: number): number {
  return Number(value.toPrecision(2));
}

/** The model as others hear of it; undefined if there is nothing to be asked. */
function recordModel(status: ModelStatus): RecordModel | undefined {
  const { name, stage, engine, capabilities, digest, sizeBytes } = status;
  if (stage === 'failed' || stage === 'unloaded') {
    return undefined;
  }
  return {
    name,
    digest: digest === 'pending' ? undefined : digest,
    attached: engine === 'openai-url',
    state: stage === 'ready' ? 'ready' : 'loading',
    kind: kindOf(capabilities?.kinds),
    sizeBytes,
    contextTokens: capabilities?.contextTokens,
    slots: capabilities?.slots,
    architecture: undefined,
    quantisation: undefined,
    abilities: [...(capabilities?.kinds ?? []), ...(capabilities?.features ?? [])],
  };
}

/** What a model is mainly for: whoever chats completes as well. */
function kindOf(kinds: ReadonlySet<InferenceKind> | undefined): string | undefined {
  return (['chat', 'completion', 'embedding', 'rerank'] as const).find((kind) => kinds?.has(kind));
}
