// The messages of `/meshnode/route/1`: shapes and bounds of each field, both ways.
import { FieldReader } from '../../mesh/field-reader.ts';
import { publicKeyOf } from '../../trust/keys.ts';
import { assertInvariant } from '../../util/errors.ts';
import { routeLimits as limits } from '../../util/limits/dispatch.ts';
import { recordLimits } from '../../util/limits/mesh.ts';
import type {
  RouteAnswerMessage,
  RoutedModelMessage,
  RoutedReplicaMessage,
} from '../../wire/route-messages.ts';
import type { RoutedModel, RoutedReplica } from './routes.ts';

const fields = new FieldReader('frame_invalid', 'A route');

/** As much of the list as one answer may hold: the first models, and of each the first replicas. */
export function messageOfRoutes(models: readonly RoutedModel[]): RouteAnswerMessage {
  return { models: models.slice(0, limits.models).map(messageOfModel) };
}

/** Throws `frame_invalid`, `data.field` naming what is at fault. */
export function routesOfMessage({ models }: RouteAnswerMessage): RoutedModel[] {
  const read = fields.list('models', models, limits.models, modelOfMessage);
  return fields.distinct('models', read, ({ name }) => name);
}

function messageOfModel(model: RoutedModel): RoutedModelMessage {
  const { name, digest, sizeBytes, contextTokens, abilities, replicas } = model;
  return {
    name,
    digest: digest === undefined ? null : Buffer.from(digest, 'hex'),
    sizeBytes: sizeBytes ?? null,
    contextTokens: contextTokens ?? null,
    abilities: abilities.slice(0, recordLimits.abilities),
    replicas: replicas.slice(0, limits.replicas).map(messageOfReplica),
  };
}

function modelOfMessage(message: RoutedModelMessage, path: string): RoutedModel {
  const replicas = fields.list(`${path}.replicas`, message.replicas, limits.replicas, replicaOfMessage);
  return {
    name: fields.name(`${path}.name`, message.name, limits.nameBytes),
    digest: message.digest?.length ? fields.hash(`${path}.digest`, message.digest) : undefined,
    sizeBytes: fields.count(`${path}.sizeBytes`, message.sizeBytes) || undefined,
    contextTokens: fields.count(`${path}.contextTokens`, message.contextTokens) || undefined,
    abilities: fields.list(`${path}.abilities`, message.abilities, recordLimits.abilities, (ability, at) =>
      fields.name(at, ability, recordLimits.wordBytes),
    ),
    replicas: fields.distinct(`${path}.replicas`, replicas, ({ peerId }) => peerId),
  };
}

function messageOfReplica(replica: RoutedReplica): RoutedReplicaMessage {
  const peerKey = publicKeyOf(replica.peerId);
  assertInvariant(peerKey !== undefined, 'a node that serves has a key');
  return {
    peerKey,
    peer: replica.peer,
    model: replica.model,
    loading: replica.state === 'loading',
    requests: replica.requests,
    slots: replica.slots ?? null,
    addresses: replica.addresses.slice(0, recordLimits.addresses),
  };
}

function replicaOfMessage(message: RoutedReplicaMessage, path: string): RoutedReplica {
  return {
    peerId: fields.peerId(`${path}.peerId`, message.peerKey),
    peer: fields.text(`${path}.peer`, message.peer, recordLimits.nameBytes),
    model: fields.name(`${path}.model`, message.model, recordLimits.modelNameBytes),
    state: message.loading === true ? 'loading' : 'ready',
    requests: fields.count(`${path}.requests`, message.requests),
    slots: fields.count(`${path}.slots`, message.slots) || undefined,
    addresses: fields.addresses(`${path}.addresses`, message.addresses),
  };
}
