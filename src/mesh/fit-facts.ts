// Makes of what a node knows of itself what its record can say: what its role may not claim, what readers would
// refuse and what has no room is left out. Hardware, engines and attached servers name things as they like, and
// one bad name must not take the whole node out of its mesh.
import type { Role } from '../trust/roles.ts';
import { recordLimits as limits } from '../util/limits/mesh.ts';
import { trustLimits } from '../util/limits/trust.ts';
import { PeerAnnouncement } from '../wire/mesh-messages.ts';
import {
  demandOfMessage,
  deviceOfMessage,
  featureOfMessage,
  labelOfMessage,
  messageOfDevice,
  messageOfFacts,
  messageOfModel,
  messageOfNeighbour,
  messageOfServed,
  modelOfMessage,
  neighbourOfMessage,
  recordFields,
  servedOfMessage,
  wordOf,
} from './fact-codec.ts';
import { type LocalFacts, noFacts } from './record.ts';
import { showableText } from './shown-text.ts';

/** Room in a record for facts: the rest is the largest certificate, and numbers. */
const factsBytes = limits.payloadBytes - trustLimits.certificateBytes - 128;

/**
 * The facts as a record of `role` can carry them; the same if they fit. Names for people are cut. What means something
 * else when it is cut, as a model's name, is left out. Of lists that are too long or say a thing twice the first stay.
 */
export function fitFacts(facts: LocalFacts, role: Role): LocalFacts {
  let fitting = withinBounds(role === 'client' ? { ...facts, ...unservedFacts } : facts);
  while (PeerAnnouncement.encode(messageOfFacts(fitting)).len > factsBytes) {
    fitting = shortened(fitting);
  }
  return fitting;
}

const { models, served, rpcBuild } = noFacts;
const unservedFacts = { models, served, rpcBuild };

function withinBounds(facts: LocalFacts): LocalFacts {
  return {
    name: showableText(facts.name, limits.nameBytes),
    version: showableText(facts.version, limits.wordBytes),
    features: readable(facts.features, limits.features, featureOfMessage, (feature) => feature),
    addresses: readable(
      facts.addresses,
      limits.addresses,
      (address) => recordFields.addresses('addresses', [address])[0],
      (address) => address,
    ),
    devices: readable(
      facts.devices.map((device) => ({ ...device, name: showableText(device.name, limits.deviceNameBytes) })),
      limits.devices,
      (device, path) => deviceOfMessage(messageOfDevice(device), path),
    ),
    models: readable(
      facts.models,
      limits.models,
      (model, path) => modelOfMessage(messageOfModel(model), path),
      ({ name }) => name,
    ),
    demand: readable(facts.demand, limits.demand, demandOfMessage, ({ model }) => model),
    served: readable(
      facts.served,
      limits.served,
      (entry, path) => servedOfMessage(messageOfServed(entry, 0), path),
      ({ model, origin }) => `${origin} ${model}`,
    ),
    neighbours: readable(
      facts.neighbours,
      limits.neighbours,
      (neighbour, path) => neighbourOfMessage(messageOfNeighbour(neighbour, 0), path),
      ({ peerId }) => peerId,
    ),
    labels: readable(
      facts.labels.map(({ name, value }) => ({ name, value: showableText(value, limits.labelValueBytes) })),
      limits.labels,
      labelOfMessage,
      ({ name }) => name,
    ),
    rpcBuild: readable([facts.rpcBuild], 1, (build, path) => wordOf(path, build))[0],
  };
}

/** The first `most` values that a reader takes, none of them twice. */
function readable<Value>(
  values: readonly Value[],
  most: number,
  read: (value: Value, path: string) => unknown,
  keyOf?: (value: Value) => string,
): Value[] {
  const keys = new Set<string>();
  const isReadable = (value: Value): boolean => {
    try {
      return read(value, '') !== undefined;
    } catch {
      return false;
    }
  };
  const isFirst = (value: Value): boolean => {
    const key = keyOf?.(value);
    return key === undefined || (!keys.has(key) && keys.add(key) !== undefined);
  };
  return values.filter((value) => isReadable(value) && isFirst(value)).slice(0, most);
}

/** Without the last fifth of each list that can be long. What is left at last fits by the limits of the others. */
function shortened(facts: LocalFacts): LocalFacts {
  const most = <Value>(values: readonly Value[]): readonly Value[] =>
    values.slice(0, Math.floor(values.length * 0.8));
  return {
    ...facts,
    devices: most(facts.devices),
    models: most(facts.models),
    demand: most(facts.demand),
    served: most(facts.served),
  };
}
