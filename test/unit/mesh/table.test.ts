import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sealDeath } from '../../../src/mesh/death.ts';
import { noFacts, type PeerRecord } from '../../../src/mesh/record.ts';
import { encodeRecord } from '../../../src/mesh/record-codec.ts';
import { isNeighbour } from '../../../src/mesh/rendezvous.ts';
import { SharedState } from '../../../src/mesh/shared-state.ts';
import { issueCertificate } from '../../../src/trust/certificate.ts';
import { type Envelope, seal } from '../../../src/trust/envelope.ts';
import { KeyPair, keyText } from '../../../src/trust/keys.ts';
import { MeshTrust } from '../../../src/trust/mesh-trust.ts';
import type { Role } from '../../../src/trust/roles.ts';
import { meshLimits, recordLimits } from '../../../src/util/limits/mesh.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { memoisedCheck } from '../../support/test-mesh.ts';
import { thrownBy } from '../../support/thrown.ts';

const nowMs = Date.UTC(2030, 0, 1);
const random = seededRandom(11);
const check = memoisedCheck();
const newKey = (): KeyPair => KeyPair.fromSeed(random.bytes(32));
const meshKey = newKey();
const meshId = keyText(meshKey.publicKey);
const issuer = { meshId, key: meshKey };
const keys = Array.from({ length: 5 }, newKey);
const observer = newKey();

const certificateOf = (key: KeyPair, role: Role = 'serve') =>
  issueCertificate({ issuer, peerKey: key.publicKey, role, nowMs: nowMs - 1000 });
const certificates = new Map(keys.map((key) => [key, certificateOf(key)]));

function recordOf(key: KeyPair, fields: Partial<PeerRecord> = {}): Envelope {
  const record: PeerRecord = {
    ...noFacts,
    peerId: key.peerId,
    epoch: 1,
    sequence: 0,
    issuedMs: nowMs,
    expiresMs: nowMs + meshLimits.recordLifeMs,
    certificate: (certificates.get(key) ?? certificateOf(key)).bytes,
    left: false,
    role: 'serve',
    ...fields,
  };
  return seal('record', meshId, encodeRecord(record), key);
}

const newState = (): SharedState =>
  new SharedState({ self: observer.peerId, trust: new MeshTrust({ meshId, check }), check });

/** Everything that can be seen of a state, once it has forgotten what no longer counts. */
function seen(state: SharedState): unknown {
  state.sweep(nowMs);
  return {
    root: Buffer.from(state.items.digest.root()).toString('hex'),
    records: [...state.table.entries()]
      .map(({ record, envelope }) => [
        record.peerId,
        state.table.status(record.peerId, nowMs, () => false),
        keyText(envelope.signature),
      ])
      .sort(),
  };
}

/** Offers everything; what is refused is as if it had not been offered. */
function offerAll(state: SharedState, envelopes: readonly Envelope[]): void {
  for (const { bytes } of envelopes) {
    try {
      state.take(bytes, nowMs);
    } catch {
      // Refusals are looked at one by one elsewhere.
    }
  }
}

const anyKey = fc.constantFrom(...keys);
const anyRecord = fc
  .record({
    key: anyKey,
    epoch: fc.integer({ min: 1, max: 3 }),
    sequence: fc.integer({ min: 0, max: 3 }),
    left: fc.boolean(),
    name: fc.constantFrom('', 'a', 'b'),
  })
  .map(({ key, name, ...fields }) => recordOf(key, { ...fields, name: fields.left ? '' : name }));
const anyDeath = fc
  .record({
    author: anyKey,
    subject: anyKey,
    epoch: fc.integer({ min: 1, max: 3 }),
    sequence: fc.integer({ min: 0, max: 3 }),
  })
  .filter(({ author, subject }) => author !== subject)
  .map(({ author, subject, ...version }) =>
    sealDeath(
      { ...version, subject: subject.peerId, atMs: nowMs, expiresMs: nowMs + meshLimits.recordLifeMs },
      meshId,
      author,
    ),
  );

describe('merging', () => {
  const shuffled = fc
    .array(anyRecord, { maxLength: 16 })
    .chain((envelopes) =>
      fc.tuple(
        fc.constant(envelopes),
        fc.shuffledSubarray([...envelopes, ...envelopes], { minLength: envelopes.length * 2 }),
        fc.nat({ max: envelopes.length }),
      ),
    );

  it('of records is commutative and idempotent: order and repetition do not matter', () => {
    fc.assert(
      fc.property(shuffled, ([envelopes, again]) => {
        const [one, other] = [newState(), newState()];
        offerAll(one, envelopes);
        offerAll(other, again);
        expect(seen(other)).toEqual(seen(one));
      }),
      { numRuns: 60 },
    );
  });

  it('of records is associative: what two nodes merged first, a third merges alike', () => {
    fc.assert(
      fc.property(shuffled, ([envelopes, , cut]) => {
        const [whole, left, right] = [newState(), newState(), newState()];
        offerAll(whole, envelopes);
        offerAll(left, envelopes.slice(0, cut));
        offerAll(right, envelopes.slice(cut));
        offerAll(
          right,
          [...left.table.entries()].map(({ envelope }) => envelope),
        );
        expect(seen(right)).toEqual(seen(whole));
      }),
      { numRuns: 60 },
    );
  });

  it('with verdicts comes to the same as soon as everything has been seen', () => {
    const both = fc.tuple(fc.array(anyRecord, { maxLength: 12 }), fc.array(anyDeath, { maxLength: 12 }));
    fc.assert(
      fc.property(both, fc.nat(), ([records, deaths], seed) => {
        const order = seededRandom(seed);
        const mixed = [...records, ...deaths]
          .map((envelope) => ({ envelope, at: order.float() }))
          .sort((a, b) => a.at - b.at)
          .map(({ envelope }) => envelope);
        const [one, other] = [newState(), newState()];
        offerAll(one, [...records, ...deaths, ...records, ...deaths]);
        offerAll(other, [...mixed, ...mixed]);
        expect(seen(other)).toEqual(seen(one));
      }),
      { numRuns: 60 },
    );
  });

  it('never goes back to an older record', () => {
    const state = newState();
    offerAll(state, [
      recordOf(keys[0] ?? meshKey, { epoch: 2 }),
      recordOf(keys[0] ?? meshKey, { sequence: 9 }),
    ]);
    expect([...state.table.entries()].map(({ record }) => record.epoch)).toEqual([2]);
  });
});

describe('a record is refused', () => {
  const [key = meshKey, other = meshKey] = keys;
  const yearMs = 365 * 24 * 3_600_000;
  const stranger = newKey();
  const foreign = { meshId, key: newKey() };

  it.each<[string, string, () => Envelope]>([
    ['of another key', 'record_invalid', () => recordOf(other, { certificate: certificateOf(key).bytes })],
    ['with a larger role than its certificate', 'record_invalid', () => recordOf(key, { role: 'admin' })],
    [
      'from next year',
      'record_untimely',
      () => recordOf(key, { issuedMs: nowMs + yearMs, expiresMs: nowMs + yearMs + 1000 }),
    ],
    [
      'from yesterday',
      'record_untimely',
      () => recordOf(key, { issuedMs: nowMs - yearMs / 365, expiresMs: nowMs - yearMs / 365 + 1000 }),
    ],
    [
      'with a certificate of a key that is not the mesh key',
      'certificate_invalid',
      () => {
        const issued = issueCertificate({
          issuer: foreign,
          peerKey: stranger.publicKey,
          role: 'serve',
          nowMs,
        });
        return recordOf(stranger, { certificate: issued.bytes });
      },
    ],
    [
      'whose payload was changed',
      'envelope_invalid',
      () => {
        const envelope = recordOf(key);
        const bytes = new Uint8Array(envelope.bytes);
        const at = Buffer.from(bytes).indexOf(Buffer.from(envelope.payload)) + 1;
        bytes[at] = 7; // The epoch.
        return { ...envelope, bytes };
      },
    ],
  ])('%s', (_, code, make) => {
    const state = newState();
    expect(thrownBy(() => state.take(make().bytes, nowMs)).code).toBe(code);
    expect(state.table.size).toBe(0);
    expect(state.items.size).toBe(0);
  });
});

describe('verdicts', () => {
  const [subject = meshKey, a = meshKey, b = meshKey, c = meshKey] = keys;
  const death = (author: KeyPair, sequence = 0): Envelope =>
    sealDeath(
      {
        subject: subject.peerId,
        epoch: 1,
        sequence,
        atMs: nowMs,
        expiresMs: nowMs + meshLimits.recordLifeMs,
      },
      meshId,
      author,
    );
  const statusOf = (state: SharedState, isLinked = false) =>
    state.table.status(subject.peerId, nowMs, () => isLinked);

  it('of one author are an opinion, of two they count', () => {
    const state = newState();
    offerAll(
      state,
      [subject, a, b, c].map((key) => recordOf(key)),
    );
    offerAll(state, [death(a), death(a, 1), death(a, 2)]);
    expect(statusOf(state)).toBe('alive');
    offerAll(state, [death(b)]);
    expect(statusOf(state)).toBe('dead');
  });

  it('in a large mesh are taken from neighbours alone, and nobody can say that it is one', () => {
    const state = newState();
    const many = Array.from({ length: meshLimits.fullMesh + 40 }, newKey);
    offerAll(
      state,
      [subject, ...many].map((key) => recordOf(key)),
    );
    const peers = [...state.table.entries()].map(({ record }) => record.peerId);
    const reach = 2 * meshLimits.chosenNeighbours;
    const isNear = ({ peerId }: KeyPair): boolean =>
      isNeighbour(peerId, subject.peerId, peers, reach) || isNeighbour(subject.peerId, peerId, peers, reach);
    const [far = meshKey] = many.filter((key) => !isNear(key));
    const near = many.filter(isNear);
    const claims = recordOf(far, {
      sequence: 1,
      neighbours: [{ peerId: subject.peerId, rttP50Ms: 1, rttP95Ms: 1 }],
    });
    offerAll(state, [claims]);
    expect(thrownBy(() => state.take(death(far).bytes, nowMs)).code).toBe('record_untimely');
    offerAll(
      state,
      near.slice(0, 1).map((key) => death(key)),
    );
    expect(statusOf(state)).toBe('alive');
    offerAll(
      state,
      near.slice(1, 2).map((key) => death(key)),
    );
    expect(statusOf(state)).toBe('dead');
  });

  it('are ignored by whoever talks to the node', () => {
    const state = newState();
    offerAll(
      state,
      [subject, a, b].map((key) => recordOf(key)),
    );
    offerAll(state, [death(a), death(b)]);
    expect(statusOf(state, true)).toBe('alive');
  });

  it('are refuted by any newer record', () => {
    const state = newState();
    offerAll(
      state,
      [subject, a, b].map((key) => recordOf(key)),
    );
    offerAll(state, [death(a), death(b), recordOf(subject, { sequence: 1 })]);
    expect(statusOf(state)).toBe('alive');
  });

  it('do not count if they speak of a far future, so that no liar can forestall an answer', () => {
    const state = newState();
    offerAll(
      state,
      [subject, a, b].map((key) => recordOf(key)),
    );
    offerAll(state, [death(a, meshLimits.deathLead + 1), death(b, meshLimits.deathLead + 1)]);
    expect(statusOf(state)).toBe('alive');
  });

  it('of strangers and beyond ten a minute are refused', () => {
    const state = newState();
    offerAll(state, [recordOf(subject), recordOf(a)]);
    expect(thrownBy(() => state.take(death(newKey()).bytes, nowMs)).code).toBe('record_untimely');
    offerAll(
      state,
      Array.from({ length: 10 }, (_, sequence) => death(a, sequence)),
    );
    expect(thrownBy(() => state.take(death(a, 10).bytes, nowMs)).code).toBe('record_untimely');
  });
});

describe('what is held already', () => {
  const [key = meshKey] = keys;

  it('is known by its bytes, and forgotten with them', () => {
    const state = newState();
    const [first, second] = [recordOf(key), recordOf(key, { sequence: 1 })];
    expect(state.items.holds(first.bytes)).toBe(false);
    state.take(first.bytes, nowMs);
    expect(state.items.holds(Uint8Array.from(first.bytes))).toBe(true);
    state.take(second.bytes, nowMs);
    expect(state.items.holds(first.bytes)).toBe(false);
    expect(state.items.holds(second.bytes)).toBe(true);
    state.sweep(nowMs + 2 * recordLimits.lifeMs);
    expect(state.items.holds(second.bytes)).toBe(false);
  });

  it('is not mistaken for what only ends like it', () => {
    const state = newState();
    const { bytes } = recordOf(key);
    state.take(bytes, nowMs);
    const forged = Uint8Array.from(bytes);
    forged[10] = (forged[10] ?? 0) ^ 1;
    expect(state.items.holds(forged)).toBe(false);
    expect(() => state.take(forged, nowMs)).toThrow();
  });
});

describe('looking through a large table', () => {
  const many = Array.from({ length: 2 * meshLimits.sweepEntries + 10 }, newKey);
  const overMs = nowMs + meshLimits.recordLifeMs + meshLimits.clockToleranceMs + 1;

  it('takes a few looks to forget everybody that has run out', () => {
    const state = newState();
    offerAll(
      state,
      many.map((key) => recordOf(key)),
    );
    state.sweep(nowMs);
    const left = [1, 2, 3].map(() => {
      state.sweep(overMs);
      return state.table.size;
    });
    expect(left).toEqual([many.length - meshLimits.sweepEntries, 10, 0]);
    expect(state.items.size).toBe(0);
  });

  it('takes one when anybody may have lost its standing', () => {
    const state = newState();
    const envelopes = many.map((key) => recordOf(key));
    offerAll(state, envelopes);
    state.sweep(nowMs);
    const [revoked = meshKey] = many.slice(-1);
    const target = { peerKey: revoked.publicKey };
    const revocations = new MeshTrust({ meshId, check }).revoke(target, issuer, [], nowMs);
    offerAll(state, revocations);
    expect(state.sweep(nowMs).map(({ peer }) => peer)).toEqual([revoked.peerId]);
  });
});
