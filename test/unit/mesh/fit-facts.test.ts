import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitFacts } from '../../../src/mesh/fit-facts.ts';
import { type LocalFacts, noFacts, type PeerRecord, type RecordModel } from '../../../src/mesh/record.ts';
import { encodeRecord, readRecord } from '../../../src/mesh/record-codec.ts';
import { peerIdOf } from '../../../src/trust/keys.ts';
import { type Role, roles } from '../../../src/trust/roles.ts';
import { recordLimits as limits } from '../../../src/util/limits/mesh.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { localFacts } from '../../support/mesh-arbitraries.ts';

const signer = new Uint8Array(32).fill(7);

/** The record that a node of a role says its facts in; throws if it cannot. */
function recordOf(facts: LocalFacts, role: Role): PeerRecord {
  const record: PeerRecord = {
    ...facts,
    peerId: peerIdOf(signer),
    epoch: 2 ** 53 - 1,
    sequence: 2 ** 53 - 1,
    issuedMs: 2 ** 50,
    expiresMs: 2 ** 50 + 1,
    certificate: new Uint8Array(trustLimits.certificateBytes),
    left: false,
    role,
  };
  return readRecord(new Uint8Array(encodeRecord(record)), signer);
}

const model = (name: string): RecordModel => ({
  name,
  digest: undefined,
  attached: true,
  state: 'ready',
  kind: undefined,
  sizeBytes: undefined,
  contextTokens: undefined,
  slots: undefined,
  architecture: undefined,
  quantisation: undefined,
  abilities: [],
});
const device = { name: 'd', kind: 'cpu', totalBytes: 1, usableBytes: 1, bandwidthBytes: undefined };

/** Any text at all, also one too long and halves of surrogate pairs. */
const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.constant('\ud800'), fc.constant('ä'.repeat(600)));
const anyNumber = fc.oneof(fc.double(), fc.maxSafeInteger());
const manyOf = <T>(values: fc.Arbitrary<T>) =>
  fc
    .tuple(fc.array(values, { maxLength: 4 }), fc.constantFrom(1, 200))
    .map(([some, turns]) => Array.from({ length: turns }, () => some).flat());

const wildFacts: fc.Arbitrary<LocalFacts> = fc.record({
  name: anyText,
  version: anyText,
  features: manyOf(anyText),
  addresses: manyOf(anyText),
  devices: manyOf(
    fc.record({
      name: anyText,
      kind: anyText,
      totalBytes: anyNumber,
      usableBytes: anyNumber,
      bandwidthBytes: fc.option(anyNumber, { nil: undefined }),
    }),
  ),
  models: manyOf(anyText.map(model)),
  demand: manyOf(fc.record({ model: anyText, requests: anyNumber })),
  served: manyOf(fc.record({ model: anyText, requests: anyNumber, origin: anyText })),
  neighbours: manyOf(fc.record({ peerId: anyText, rttP50Ms: anyNumber, rttP95Ms: anyNumber })),
  labels: manyOf(fc.record({ name: anyText, value: anyText })),
  rpcBuild: fc.option(anyText, { nil: undefined }),
});

describe('fitFacts', () => {
  it('leaves alone what fits', () => {
    fc.assert(
      fc.property(localFacts, (facts) => {
        expect(fitFacts(facts, 'serve')).toEqual(facts);
      }),
    );
  });

  it('makes a record that others take, whatever a node knows of itself', () => {
    fc.assert(
      fc.property(wildFacts, fc.constantFrom(...roles), (facts, role) => {
        recordOf(fitFacts(facts, role), role);
      }),
      { numRuns: 50 },
    );
  });

  it('leaves out what only a node that serves may say', () => {
    const facts = { ...noFacts, name: 'n', models: [model('m')], rpcBuild: 'b1' };
    expect(fitFacts(facts, 'client')).toEqual({ ...noFacts, name: 'n' });
    expect(fitFacts(facts, 'serve')).toEqual(facts);
  });

  it('cuts names for people, and leaves out models whose names would have to be cut', () => {
    const facts = {
      ...noFacts,
      name: `A\tname ${'ä'.repeat(limits.nameBytes)}`,
      devices: [{ ...device, name: 'x'.repeat(limits.deviceNameBytes + 1) }],
      models: [model('x'.repeat(limits.modelNameBytes + 1)), model('m'), model('m\n'), model('m')],
    };
    const { name, devices, models } = fitFacts(facts, 'serve');
    expect(name).toBe(`A name ${'ä'.repeat((limits.nameBytes - 8) / 2)}`);
    expect(devices).toEqual([{ ...device, name: 'x'.repeat(limits.deviceNameBytes) }]);
    expect(models).toEqual([model('m')]);
  });

  it('keeps the first models of more than a record holds', () => {
    const long = (index: number) => model(`${index} ${'x'.repeat(300)}`);
    const facts = { ...noFacts, models: Array.from({ length: 1_000 }, (_, index) => long(index)) };
    const { models } = recordOf(fitFacts(facts, 'serve'), 'serve');
    expect(models.length).toBeGreaterThan(60);
    expect(models).toEqual(facts.models.slice(0, models.length));
  });

  it('keeps what cannot be shortened, even all of it at its longest', () => {
    const text = (bytes: number, index: number) => String(index).padEnd(bytes, 'x');
    const facts: LocalFacts = {
      ...noFacts,
      name: text(limits.nameBytes, 0),
      version: text(limits.wordBytes, 0),
      features: Array.from({ length: limits.features }, (_, index) => text(limits.wordBytes, index)),
      addresses: Array.from(
        { length: limits.addresses },
        (_, index) => `/dns4/${`${text(62, index)}.`.repeat(4).slice(0, -1)}/udp/65535/quic-v1`,
      ),
      neighbours: Array.from({ length: limits.neighbours }, (_, index) => ({
        peerId: peerIdOf(new Uint8Array(32).fill(index)),
        rttP50Ms: 1,
        rttP95Ms: 1,
      })),
      labels: Array.from({ length: limits.labels }, (_, index) => ({
        name: text(limits.labelNameBytes, index),
        value: text(limits.labelValueBytes, index),
      })),
      rpcBuild: text(limits.wordBytes, 0),
    };
    const devices = Array.from({ length: limits.devices }, () => ({
      ...device,
      name: text(limits.deviceNameBytes, 0),
    }));
    const fitting = fitFacts({ ...facts, devices }, 'admin');
    expect(fitting).toEqual({ ...facts, devices: devices.slice(0, fitting.devices.length) });
    expect(recordOf(fitting, 'admin')).toMatchObject(fitting);
  });
});
