// What a node says of itself as the fields of its record's message, and back: shapes and bounds of each.
import { type PeerId, publicKeyOf } from '../trust/keys.ts';
import { recordLimits as limits } from '../util/limits/mesh.ts';
import {
  type DemandMessage,
  type DeviceMessage,
  type LabelMessage,
  type ModelMessage,
  ModelState,
  type NeighbourMessage,
  type PeerAnnouncementMessage,
  type ServedMessage,
} from '../wire/mesh-messages.ts';
import { FieldReader } from './field-reader.ts';
import {
  type Demand,
  type Device,
  type Label,
  type LocalFacts,
  modelStates,
  type Neighbour,
  type RecordModel,
  type RecordModelState,
  type Served,
} from './record.ts';

export const recordFields = new FieldReader('record_invalid', 'A record');
const fields = recordFields;

const stateNumbers: Readonly<Record<RecordModelState, number>> = {
  loading: ModelState.MODEL_STATE_LOADING,
  ready: ModelState.MODEL_STATE_READY,
};

export function messageOfFacts(facts: LocalFacts): PeerAnnouncementMessage {
  return {
    name: facts.name,
    version: facts.version,
    features: [...facts.features],
    addresses: [...facts.addresses],
    devices: facts.devices.map(messageOfDevice),
    models: facts.models.map(messageOfModel),
    demand: [...facts.demand],
    served: facts.served.map(messageOfServed),
    neighbours: facts.neighbours.map(messageOfNeighbour),
    labels: [...facts.labels],
    rpcBuild: facts.rpcBuild ?? null,
  };
}

/** Throws `record_invalid`, `data.field` naming what is at fault. */
export function factsOfMessage(message: PeerAnnouncementMessage): LocalFacts {
  const features = fields.list('features', message.features, limits.features, featureOfMessage);
  const models = fields.list('models', message.models, limits.models, modelOfMessage);
  const demand = fields.list('demand', message.demand, limits.demand, demandOfMessage);
  const served = fields.list('served', message.served, limits.served, servedOfMessage);
  const neighbours = fields.list('neighbours', message.neighbours, limits.neighbours, neighbourOfMessage);
  const labels = fields.list('labels', message.labels, limits.labels, labelOfMessage);
  return {
    name: fields.text('name', message.name, limits.nameBytes),
    version: fields.text('version', message.version, limits.wordBytes),
    features: fields.distinct('features', features, (feature) => feature),
    addresses: fields.addresses('addresses', message.addresses),
    devices: fields.list('devices', message.devices, limits.devices, deviceOfMessage),
    models: fields.distinct('models', models, ({ name }) => name),
    demand: fields.distinct('demand', demand, ({ model }) => model),
    served: fields.distinct('served', served, ({ model, origin }) => `${origin} ${model}`),
    neighbours: fields.distinct('neighbours', neighbours, (neighbour) => neighbour.peerId),
    labels: fields.distinct('labels', labels, ({ name }) => name),
    rpcBuild: wordOf('rpcBuild', message.rpcBuild),
  };
}

export function featureOfMessage(feature: string, path: string): string {
  return fields.name(path, feature, limits.wordBytes);
}

export function messageOfDevice(device: Device): DeviceMessage {
  return { ...device, bandwidthBytes: device.bandwidthBytes ?? null };
}

export function deviceOfMessage(message: DeviceMessage, path: string): Device {
  return {
    name: fields.name(`${path}.name`, message.name, limits.deviceNameBytes),
    kind: fields.name(`${path}.kind`, message.kind, limits.wordBytes),
    totalBytes: fields.count(`${path}.totalBytes`, message.totalBytes),
    usableBytes: fields.count(`${path}.usableBytes`, message.usableBytes),
    bandwidthBytes: countOf(`${path}.bandwidthBytes`, message.bandwidthBytes),
  };
}

export function messageOfModel(model: RecordModel): ModelMessage {
  return {
    name: model.name,
    digest: model.digest === undefined ? null : Buffer.from(model.digest, 'hex'),
    attached: model.attached,
    state: model.state === undefined ? null : stateNumbers[model.state],
    kind: model.kind ?? null,
    sizeBytes: model.sizeBytes ?? null,
    contextTokens: model.contextTokens ?? null,
    slots: model.slots ?? null,
    architecture: model.architecture ?? null,
    quantisation: model.quantisation ?? null,
    abilities: [...model.abilities],
  };
}

export function modelOfMessage(message: ModelMessage, path: string): RecordModel {
  return {
    name: fields.name(`${path}.name`, message.name, limits.modelNameBytes),
    digest: message.digest?.length ? fields.hash(`${path}.digest`, message.digest) : undefined,
    attached: message.attached ?? false,
    state: modelStates.find((state) => stateNumbers[state] === message.state),
    kind: wordOf(`${path}.kind`, message.kind),
    sizeBytes: countOf(`${path}.sizeBytes`, message.sizeBytes),
    contextTokens: countOf(`${path}.contextTokens`, message.contextTokens),
    slots: countOf(`${path}.slots`, message.slots),
    architecture: wordOf(`${path}.architecture`, message.architecture),
    quantisation: wordOf(`${path}.quantisation`, message.quantisation),
    abilities: fields.distinct(
      `${path}.abilities`,
      fields.list(`${path}.abilities`, message.abilities, limits.abilities, featureOfMessage),
      (ability) => ability,
    ),
  };
}

export function demandOfMessage(message: DemandMessage, path: string): Demand {
  return {
    model: fields.name(`${path}.model`, message.model, limits.modelNameBytes),
    requests: fields.amount(`${path}.requests`, message.requests),
  };
}

export function messageOfServed({ model, origin, requests }: Served, index: number): ServedMessage {
  return { model, origin: keyOf(`served[${index}].origin`, origin), requests };
}

export function servedOfMessage(message: ServedMessage, path: string): Served {
  return { ...demandOfMessage(message, path), origin: fields.peerId(`${path}.origin`, message.origin) };
}

export function messageOfNeighbour(
  { peerId, rttP50Ms, rttP95Ms }: Neighbour,
  index: number,
): NeighbourMessage {
  return { peerKey: keyOf(`neighbours[${index}].peerId`, peerId), rttP50Ms, rttP95Ms };
}

export function neighbourOfMessage(message: NeighbourMessage, path: string): Neighbour {
  return {
    peerId: fields.peerId(`${path}.peerId`, message.peerKey),
    rttP50Ms: fields.amount(`${path}.rttP50Ms`, message.rttP50Ms),
    rttP95Ms: fields.amount(`${path}.rttP95Ms`, message.rttP95Ms),
  };
}

export function labelOfMessage(message: LabelMessage, path: string): Label {
  return {
    name: fields.name(`${path}.name`, message.name, limits.labelNameBytes),
    value: fields.text(`${path}.value`, message.value, limits.labelValueBytes),
  };
}

/** A short text; undefined if it is empty. */
export function wordOf(path: string, sent: string | null | undefined): string | undefined {
  return fields.text(path, sent, limits.wordBytes) || undefined;
}

/** A whole number; undefined if it is 0. */
function countOf(path: string, sent: number | null | undefined): number | undefined {
  return fields.count(path, sent) || undefined;
}

/** The public key in a peer's name. */
export function keyOf(path: string, peerId: PeerId): Uint8Array {
  const key = publicKeyOf(peerId);
  if (key === undefined) {
    throw fields.fault(path, 'names no peer');
  }
  return key;
}
