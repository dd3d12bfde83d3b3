// Random records, messages of the mesh and item versions for property tests, all within the limits.
import fc from 'fast-check';
import type { ItemVersion } from '../../src/mesh/digest.ts';
import type { MeshMessage } from '../../src/mesh/message.ts';
import {
  type Demand,
  type Device,
  type Label,
  type LocalFacts,
  type Neighbour,
  noFacts,
  type PeerRecord,
  type RecordModel,
  type Served,
} from '../../src/mesh/record.ts';
import { type PeerId, peerIdOf } from '../../src/trust/keys.ts';
import { roles } from '../../src/trust/roles.ts';
import { recordLimits } from '../../src/util/limits/mesh.ts';

const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const someBytes = fc.uint8Array({ minLength: 1, maxLength: 60 });
/** Up to 20 characters, so at most 80 bytes, of several lengths in UTF-8. */
const line = fc.stringMatching(/^[ -~äßλ漢🙂]{1,20}$/u);
const word = fc.stringMatching(/^[a-zA-Z0-9_.-]{1,12}$/);
const orUnknown = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined });
const count = fc.maxSafeNat();
const someCount = count.map((value) => Math.max(1, value));
/** As float32 carries it, without -0. */
const amount = fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
const distinct = <T>(values: fc.Arbitrary<T>, keyOf: (value: T) => string) =>
  fc.uniqueArray(values, { selector: keyOf, maxLength: 5 });
const itself = (value: string) => value;

/** Names of peers; few, so that they meet again. */
export const peerIds: fc.Arbitrary<PeerId> = fc
  .constantFrom(...Array.from({ length: 16 }, (_, index) => index))
  .map((index) => peerIdOf(new Uint8Array(32).fill(index + 1)));

export const addresses: fc.Arbitrary<string> = fc
  .record({
    host: fc.oneof(
      fc.ipV4().map((host) => `/ip4/${host}`),
      fc.ipV6().map((host) => `/ip6/${host}`),
      fc.tuple(fc.constantFrom('dns', 'dns4', 'dns6'), fc.domain()).map((parts) => `/${parts.join('/')}`),
    ),
    port: fc.integer({ min: 1, max: 65_535 }),
    transport: fc.constantFrom('tcp', 'quic'),
  })
  .map(({ host, port, transport }) =>
    transport === 'tcp' ? `${host}/tcp/${port}` : `${host}/udp/${port}/quic-v1`,
  );

const devices: fc.Arbitrary<Device> = fc.record({
  name: line,
  kind: fc.oneof(fc.constantFrom('cpu', 'cuda', 'metal', 'rocm', 'vulkan'), word),
  totalBytes: count,
  usableBytes: count,
  bandwidthBytes: orUnknown(someCount),
});

const uint32 = fc.integer({ min: 1, max: 2 ** 32 - 1 });

const models: fc.Arbitrary<RecordModel> = fc.record({
  name: line,
  digest: orUnknown(bytesOf(32).map((bytes) => Buffer.from(bytes).toString('hex'))),
  attached: fc.boolean(),
  state: orUnknown(fc.constantFrom('loading', 'ready')),
  kind: orUnknown(fc.constantFrom('chat', 'embedding', 'rerank')),
  sizeBytes: orUnknown(someCount),
  contextTokens: orUnknown(uint32),
  slots: orUnknown(uint32),
  architecture: orUnknown(word),
  quantisation: orUnknown(word),
  abilities: fc.uniqueArray(word, { maxLength: 4 }),
});

const demand: fc.Arbitrary<Demand> = fc.record({ model: line, requests: amount });
const served: fc.Arbitrary<Served> = fc.record({ model: line, requests: amount, origin: peerIds });
const neighbours: fc.Arbitrary<Neighbour> = fc.record({
  peerId: peerIds,
  rttP50Ms: amount,
  rttP95Ms: amount,
});
const labels: fc.Arbitrary<Label> = fc.record({ name: word, value: fc.oneof(fc.constant(''), line) });

export const localFacts: fc.Arbitrary<LocalFacts> = fc.record({
  name: fc.oneof(fc.constant(''), line),
  version: fc.oneof(fc.constant(''), word),
  features: distinct(word, itself),
  addresses: distinct(addresses, itself),
  devices: fc.array(devices, { maxLength: 3 }),
  models: distinct(models, ({ name }) => name),
  demand: distinct(demand, ({ model }) => model),
  served: distinct(served, ({ model, origin }) => `${origin} ${model}`),
  neighbours: distinct(neighbours, ({ peerId }) => peerId),
  labels: distinct(labels, ({ name }) => name),
  rpcBuild: orUnknown(word),
});

/** Of every role, one in eight of a node that has left. */
export const records: fc.Arbitrary<PeerRecord> = fc
  .record({
    facts: localFacts,
    left: fc.nat({ max: 7 }).map((draw) => draw === 0),
    role: fc.constantFrom(...roles),
    lifeMs: fc.integer({ min: 1, max: recordLimits.lifeMs }),
    envelope: fc.record({
      peerId: peerIds,
      epoch: someCount,
      sequence: count,
      issuedMs: fc.nat({ max: 2 ** 43 }),
      certificate: someBytes,
    }),
  })
  .map(({ facts, left, role, lifeMs, envelope }) => ({
    ...(left ? noFacts : facts),
    ...(role === 'client' ? { models: [], served: [], rpcBuild: undefined } : {}),
    ...envelope,
    expiresMs: envelope.issuedMs + lifeMs,
    left,
    role,
  }));

export const itemVersions: fc.Arbitrary<ItemVersion> = fc.record({
  key: bytesOf(16),
  epoch: fc.nat({ max: 3 }),
  sequence: fc.nat({ max: 3 }),
});

const envelopes = fc.array(someBytes, { maxLength: 4 });

export const meshMessages: fc.Arbitrary<MeshMessage> = fc.oneof(
  fc.record({
    type: fc.constant('hello' as const),
    protocol: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    meshId: bytesOf(32).map((bytes) => Buffer.from(bytes).toString('hex')),
    certificate: someBytes,
    clockMs: count,
    proofs: envelopes,
    heard: fc.boolean(),
  }),
  fc.record(
    {
      type: fc.constant('admitted' as const),
      proofs: envelopes,
      yourRecord: someBytes,
      peers: distinct(
        fc.record({ peerId: peerIds, addresses: distinct(addresses, itself) }),
        ({ peerId }) => peerId,
      ),
      clockMs: count,
    },
    { requiredKeys: ['type', 'proofs', 'peers', 'clockMs'] },
  ),
  fc.record({
    type: fc.constant('refused' as const),
    code: fc.stringMatching(/^[a-z_]{1,40}$/),
    message: fc.oneof(fc.constant(''), line),
    proofs: fc.array(someBytes, { maxLength: 3 }),
  }),
  fc.record({
    type: fc.constant('digest' as const),
    root: bytesOf(8),
    items: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  }),
  fc.record({ type: fc.constant('buckets' as const), hashes: bytesOf(2048) }),
  fc.record({
    type: fc.constant('entries' as const),
    buckets: bytesOf(32),
    entries: fc.array(itemVersions, { maxLength: 8 }),
  }),
  fc.record({ type: fc.constant('want' as const), keys: fc.array(bytesOf(16), { maxLength: 8 }) }),
  fc.record({ type: fc.constant('items' as const), envelopes }),
);
