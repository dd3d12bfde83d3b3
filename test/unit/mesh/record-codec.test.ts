import { multiaddr } from '@multiformats/multiaddr';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressKind } from '../../../src/mesh/address.ts';
import { noFacts, type PeerRecord } from '../../../src/mesh/record.ts';
import { encodeRecord, readRecord } from '../../../src/mesh/record-codec.ts';
import { peerIdOf, publicKeyOf } from '../../../src/trust/keys.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { recordLimits as limits } from '../../../src/util/limits/mesh.ts';
import { trustLimits } from '../../../src/util/limits/trust.ts';
import { NodeRole, PeerAnnouncement, type PeerAnnouncementMessage } from '../../../src/wire/mesh-messages.ts';
import { addresses, records } from '../../support/mesh-arbitraries.ts';
import { meshVectors } from '../../support/mesh-vectors.ts';
import { thrownBy } from '../../support/thrown.ts';

const signer = new Uint8Array(32).fill(7);
const key = (byte: number) => new Uint8Array(32).fill(byte);
const payloadOf = (message: PeerAnnouncementMessage) =>
  new Uint8Array(PeerAnnouncement.encode(message).finish());

/** The least that a record says. */
const least: PeerAnnouncementMessage = {
  epoch: 1,
  sequence: 0,
  issuedMs: 1_000,
  expiresMs: 2_000,
  certificate: Uint8Array.of(1),
  role: NodeRole.NODE_ROLE_SERVE,
};
const inexact = 2 ** 53;

/** Reads, and fails at anything thrown that is no refusal. */
function readOrRefuse(payload: Uint8Array): PeerRecord | undefined {
  try {
    return readRecord(payload, signer);
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(MeshnodeError);
    expect(thrown).toMatchObject({ code: 'record_invalid' });
    return undefined;
  }
}

describe('test vectors of records', () => {
  it.each(meshVectors().records)('$name: is written and read as the vector says', (vector) => {
    expect(Buffer.from(encodeRecord(vector.record)).toString('hex')).toBe(
      Buffer.from(vector.payload).toString('hex'),
    );
    expect(readRecord(vector.payload, vector.signer)).toEqual(vector.record);
  });
});

describe('a record', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(records, (record) => {
        const payload = new Uint8Array(encodeRecord(record));
        expect(readRecord(payload, publicKeyOf(record.peerId) ?? signer)).toEqual(record);
      }),
    );
  });

  it('shares no memory with its payload', () => {
    const payload = payloadOf(least);
    const { certificate } = readRecord(payload, signer);
    expect(certificate.buffer).not.toBe(payload.buffer);
    payload.fill(0);
    expect(certificate).toEqual(Uint8Array.of(1));
  });

  it('says what it does not say as unknown', () => {
    const said = { ...least, devices: [{ name: 'd', kind: 'cpu' }], models: [{ name: 'm' }] };
    expect(readRecord(payloadOf(said), signer)).toEqual({
      ...noFacts,
      peerId: peerIdOf(signer),
      epoch: 1,
      sequence: 0,
      issuedMs: 1_000,
      expiresMs: 2_000,
      certificate: Uint8Array.of(1),
      left: false,
      role: 'serve',
      devices: [{ name: 'd', kind: 'cpu', totalBytes: 0, usableBytes: 0, bandwidthBytes: undefined }],
      models: [
        {
          name: 'm',
          digest: undefined,
          attached: false,
          state: undefined,
          kind: undefined,
          sizeBytes: undefined,
          contextTokens: undefined,
          slots: undefined,
          architecture: undefined,
          quantisation: undefined,
          abilities: [],
        },
      ],
    });
  });

  it('is never written as others would refuse it', () => {
    const [vector] = meshVectors().records;
    const record = vector?.record ?? expect.fail('there is no vector');
    const error = thrownBy(() => encodeRecord({ ...record, name: 'two\nlines' }));
    expect(error).toMatchObject({ code: 'record_invalid', details: { data: { field: 'name' } } });
    const nobody = { ...record, neighbours: [{ peerId: 'nobody', rttP50Ms: 1, rttP95Ms: 1 }] };
    expect(thrownBy(() => encodeRecord(nobody)).details.data).toEqual({ field: 'neighbours[0].peerId' });
  });
});

describe('a record of a later version', () => {
  it('may have fields that this one does not know', () => {
    // Field 100 as a varint, field 101 as bytes.
    const later = Uint8Array.of(0xa0, 0x06, 0x05, 0xaa, 0x06, 0x02, 0x01, 0x02);
    const payload = Uint8Array.from([...payloadOf(least), ...later]);
    expect(readRecord(payload, signer)).toEqual(readRecord(payloadOf(least), signer));
  });

  it('may have model states that this one does not know: such a model is not ready', () => {
    const later = payloadOf({ ...least, models: [{ name: 'm', state: 9 as never }] });
    expect(readRecord(later, signer).models[0]).toMatchObject({ name: 'm', state: undefined });
  });

  it('may have kinds of devices and models that this one does not know', () => {
    const later = { devices: [{ name: 'd', kind: 'tpu' }], models: [{ name: 'm', kind: 'speech' }] };
    expect(readRecord(payloadOf({ ...least, ...later }), signer)).toMatchObject(later);
  });

  it('may have kinds of addresses that this one does not know: they are left out', () => {
    const later = ['/ip4/1.2.3.4/tcp/1/ws', '/ip4/1.2.3.4/tcp/9', '/later/1/2', '/dnsaddr/example.org'];
    expect(readRecord(payloadOf({ ...least, addresses: later }), signer).addresses).toEqual([later[1]]);
  });
});

describe('addresses', () => {
  it('that can be dialled are multiaddrs', () => {
    fc.assert(
      fc.property(addresses, (address) => {
        expect(addressKind(address)).toBe('dialable');
        expect(multiaddr(address).getComponents().length).toBeGreaterThan(1);
      }),
    );
  });

  it.each([
    '',
    '/',
    'ip4/1.2.3.4/tcp/1',
    '/ip4/1.2.3.4/tcp/1/',
    '/ip4//tcp/1',
    '/ip4/1.2.3.400/tcp/1',
    '/ip4/example.org/tcp/1',
    '/ip6/::g/tcp/1',
    '/ip6/fe80::1%eth0/tcp/1',
    '/dns4/-a..b/tcp/1',
    `/dns/${'a'.repeat(64)}/tcp/1`,
    '/ip4/1.2.3.4/tcp/0',
    '/ip4/1.2.3.4/tcp/65536',
    '/ip4/1.2.3.4/tcp/01',
    '/ip4/1.2.3.4/udp/x/quic-v1',
    '/ip4/1.2.3.4/tcp/1\n',
    '/ip4/1.2.3.4 /tcp/1',
  ])('are not %j', (address) => {
    expect(addressKind(address)).toBe('invalid');
  });
});

const text = (bytes: number) => 'x'.repeat(bytes);
const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, i) => make(i));
const address = '/ip4/127.0.0.1/tcp/1';
const device = { name: 'd', kind: 'cpu' };
const served = { model: 'm', origin: key(1), requests: 1 };
const neighbour = { peerKey: key(1), rttP50Ms: 1, rttP95Ms: 2 };

/** Which field is named, and the message that lies about it. */
const lies: [field: string, why: string, lie: PeerAnnouncementMessage][] = [
  ['epoch', 'is 0', { epoch: 0 }],
  ['epoch', 'is not exact', { epoch: inexact }],
  ['sequence', 'is not exact', { sequence: inexact }],
  ['issuedMs', 'is not exact', { issuedMs: inexact }],
  ['expiresMs', 'is not exact', { expiresMs: inexact }],
  ['expiresMs', 'is the issue', { expiresMs: 1_000 }],
  ['expiresMs', 'is before the issue', { expiresMs: 999 }],
  ['expiresMs', 'is too late', { expiresMs: 1_001 + limits.lifeMs }],
  ['certificate', 'is missing', { certificate: null }],
  ['certificate', 'is too long', { certificate: new Uint8Array(trustLimits.certificateBytes + 1) }],
  ['role', 'is missing', { role: null }],
  ['role', 'is of a later version', { role: 9 as never }],
  ['name', 'is too long', { name: text(limits.nameBytes + 1) }],
  ['name', 'is too long in bytes', { name: 'ä'.repeat(limits.nameBytes / 2 + 1) }],
  ['name', 'moves the cursor', { name: 'a\u001b[2J' }],
  ['name', 'turns the direction of writing', { name: 'a\u202eb' }],
  ['version', 'is too long', { version: text(limits.wordBytes + 1) }],
  ['version', 'has two lines', { version: '1\u2028' }],
  ['features', 'are too many', { features: times(limits.features + 1, (i) => `f${i}`) }],
  ['features[1]', 'is empty', { features: ['a', ''] }],
  ['features[1]', 'is too long', { features: ['a', text(limits.wordBytes + 1)] }],
  ['features[2]', 'is there twice', { features: ['a', 'b', 'a'] }],
  ['addresses', 'are too many', { addresses: times(limits.addresses + 1, (i) => `${address}${i}`) }],
  ['addresses[1]', 'is none', { addresses: [address, 'localhost:80'] }],
  ['addresses[0]', 'is too long', { addresses: [`/${text(limits.addressBytes)}`] }],
  ['addresses[1]', 'is there twice', { addresses: [address, address] }],
  ['devices', 'are too many', { devices: times(limits.devices + 1, () => device) }],
  ['devices[0].name', 'is missing', { devices: [{ kind: 'cpu' }] }],
  ['devices[0].name', 'is too long', { devices: [{ ...device, name: text(limits.deviceNameBytes + 1) }] }],
  ['devices[0].kind', 'is missing', { devices: [{ name: 'd' }] }],
  ['devices[0].kind', 'is too long', { devices: [{ ...device, kind: text(limits.wordBytes + 1) }] }],
  ['devices[1].totalBytes', 'is not exact', { devices: [device, { ...device, totalBytes: inexact }] }],
  ['devices[0].usableBytes', 'is not exact', { devices: [{ ...device, usableBytes: inexact }] }],
  ['devices[0].bandwidthBytes', 'is not exact', { devices: [{ ...device, bandwidthBytes: inexact }] }],
  ['models', 'are too many', { models: times(limits.models + 1, (i) => ({ name: `m${i}` })) }],
  ['models[0].name', 'is missing', { models: [{}] }],
  ['models[0].name', 'is too long', { models: [{ name: text(limits.modelNameBytes + 1) }] }],
  ['models[1]', 'is there twice', { models: [{ name: 'm' }, { name: 'm', digest: key(1) }] }],
  ['models[0].digest', 'is no SHA-256', { models: [{ name: 'm', digest: new Uint8Array(31) }] }],
  ['models[0].kind', 'is too long', { models: [{ name: 'm', kind: text(limits.wordBytes + 1) }] }],
  ['models[0].sizeBytes', 'is not exact', { models: [{ name: 'm', sizeBytes: inexact }] }],
  ['models[0].architecture', 'has two lines', { models: [{ name: 'm', architecture: 'a\r\n' }] }],
  ['models[0].quantisation', 'has a NUL', { models: [{ name: 'm', quantisation: 'Q4\u0000' }] }],
  ['demand', 'is too long', { demand: times(limits.demand + 1, (i) => ({ model: `m${i}` })) }],
  ['demand[0].model', 'is missing', { demand: [{ requests: 1 }] }],
  ['demand[0].requests', 'is negative', { demand: [{ model: 'm', requests: -1 }] }],
  ['demand[0].requests', 'is no number', { demand: [{ model: 'm', requests: Number.NaN }] }],
  ['demand[0].requests', 'has no end', { demand: [{ model: 'm', requests: Number.POSITIVE_INFINITY }] }],
  ['demand[1]', 'is there twice', { demand: [{ model: 'm' }, { model: 'm', requests: 1 }] }],
  ['served', 'is too long', { served: times(limits.served + 1, (i) => ({ ...served, model: `m${i}` })) }],
  ['served[0].model', 'is missing', { served: [{ ...served, model: '' }] }],
  ['served[0].origin', 'is missing', { served: [{ ...served, origin: null }] }],
  ['served[0].origin', 'is no key', { served: [{ ...served, origin: new Uint8Array(33) }] }],
  ['served[0].requests', 'is negative', { served: [{ ...served, requests: -0.5 }] }],
  ['served[2]', 'is there twice', { served: [served, { ...served, origin: key(2) }, served] }],
  ['neighbours', 'are too many', { neighbours: times(limits.neighbours + 1, () => neighbour) }],
  ['neighbours[0].peerId', 'is no key', { neighbours: [{ ...neighbour, peerKey: new Uint8Array(31) }] }],
  ['neighbours[0].rttP50Ms', 'is negative', { neighbours: [{ ...neighbour, rttP50Ms: -1 }] }],
  ['neighbours[0].rttP95Ms', 'is no number', { neighbours: [{ ...neighbour, rttP95Ms: Number.NaN }] }],
  ['neighbours[1]', 'is there twice', { neighbours: [neighbour, { ...neighbour, rttP50Ms: 3 }] }],
  ['labels', 'are too many', { labels: times(limits.labels + 1, (i) => ({ name: `l${i}` })) }],
  ['labels[0].name', 'is missing', { labels: [{ value: 'v' }] }],
  ['labels[0].name', 'is too long', { labels: [{ name: text(limits.labelNameBytes + 1) }] }],
  ['labels[0].value', 'is too long', { labels: [{ name: 'l', value: text(limits.labelValueBytes + 1) }] }],
  ['labels[1]', 'is there twice', { labels: [{ name: 'l' }, { name: 'l', value: 'v' }] }],
  ['rpcBuild', 'is too long', { rpcBuild: text(limits.wordBytes + 1) }],
  ['models', "is a client's", { role: NodeRole.NODE_ROLE_CLIENT, models: [{ name: 'm' }] }],
  ['served', "is a client's", { role: NodeRole.NODE_ROLE_CLIENT, served: [served] }],
  ['rpcBuild', "is a client's", { role: NodeRole.NODE_ROLE_CLIENT, rpcBuild: 'b1' }],
  ['name', 'is said after the end', { left: true, name: 'n' }],
  ['version', 'is said after the end', { left: true, version: '1' }],
  ['features', 'is said after the end', { left: true, features: ['f'] }],
  ['addresses', 'is said after the end', { left: true, addresses: [address] }],
  ['devices', 'is said after the end', { left: true, devices: [device] }],
  ['models', 'is said after the end', { left: true, models: [{ name: 'm' }] }],
  ['demand', 'is said after the end', { left: true, demand: [{ model: 'm' }] }],
  ['served', 'is said after the end', { left: true, served: [served] }],
  ['neighbours', 'is said after the end', { left: true, neighbours: [neighbour] }],
  ['labels', 'is said after the end', { left: true, labels: [{ name: 'l' }] }],
  ['rpcBuild', 'is said after the end', { left: true, rpcBuild: 'b1' }],
];

describe('a record is refused', () => {
  it.each(lies)('by %s if it %s', (field, _why, lie) => {
    const error = thrownBy(() => readRecord(payloadOf({ ...least, ...lie }), signer));
    expect(error).toMatchObject({ code: 'record_invalid', details: { data: { field } } });
    expect(error.message).toContain(field);
  });

  it('by its length, before a look inside', () => {
    const error = thrownBy(() => readRecord(new Uint8Array(limits.payloadBytes + 1).fill(0xff), signer));
    expect(error.details.data).toEqual({ field: 'payload' });
  });

  it('by a signer that has no key of 32 bytes', () => {
    const error = thrownBy(() => readRecord(payloadOf(least), new Uint8Array(31)));
    expect(error.details.data).toEqual({ field: 'signer' });
  });

  it('if its text is no UTF-8', () => {
    const payload = Uint8Array.from([...payloadOf(least), 0x42, 2, 0xc3, 0x28]);
    expect(thrownBy(() => readRecord(payload, signer)).details.data).toEqual({ field: 'payload' });
  });
});

describe('broken bytes', () => {
  const payloads = meshVectors().records.map(({ payload }) => payload);

  it('are refused or read at every place where a record can be cut', () => {
    for (const payload of payloads) {
      for (let length = 0; length < payload.length; length++) {
        readOrRefuse(payload.subarray(0, length));
      }
    }
    expect(readOrRefuse(new Uint8Array())).toBeUndefined();
  });

  it('are refused or read with any byte changed', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...payloads),
        fc.nat(),
        fc.integer({ min: 0, max: 255 }),
        (payload, at, byte) => {
          const spoilt = payload.slice();
          spoilt[at % spoilt.length] = byte;
          readOrRefuse(spoilt);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('are refused or read if they are random', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        readOrRefuse(bytes);
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['empty devices', [0x62, 0]],
    ['empty origins', [0x7a, 0]],
    ['groups within groups', [0xa3, 0x06]],
  ])('take no time even if they are all %s', (_name, piece) => {
    const flood = Uint8Array.from({ length: limits.payloadBytes }, (_, index) => piece[index % 2] ?? 0);
    const start = performance.now();
    expect(readOrRefuse(flood)).toBeUndefined();
    expect(performance.now() - start).toBeLessThan(500);
  });
});
