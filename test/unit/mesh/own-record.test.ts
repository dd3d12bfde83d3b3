import { describe, expect, it } from 'vitest';
import { OwnRecord } from '../../../src/mesh/own-record.ts';
import { noFacts } from '../../../src/mesh/record.ts';
import { readRecord } from '../../../src/mesh/record-codec.ts';
import { meshLimits, recordLimits } from '../../../src/util/limits/mesh.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { TestMesh } from '../../support/test-mesh.ts';

const mesh = new TestMesh();
const { key, certificate } = mesh.founder;
const now = { wallMs: Date.UTC(2026, 1, 1), monotonicMs: 1000 };

function newRecord(lastEpoch = 0): OwnRecord {
  const random = seededRandom(3);
  return new OwnRecord({
    identity: key,
    meshId: mesh.meshId,
    role: 'admin',
    facts: noFacts,
    lastEpoch,
    random,
  });
}

function announced(own: OwnRecord, members = 1, at = now) {
  const { payload, signer } = own.announce(certificate, at, members);
  return readRecord(payload, signer);
}

describe('the announcements of a node', () => {
  it('begin one epoch above the last life, and count up', () => {
    const own = newRecord(4);
    expect(announced(own)).toMatchObject({ epoch: 5, sequence: 0 });
    expect(announced(own)).toMatchObject({ epoch: 5, sequence: 1 });
  });

  it('go above an earlier life that is met, once', () => {
    const own = newRecord();
    expect(own.outlive({ epoch: 7, sequence: 3 })).toBe(true);
    expect(announced(own)).toMatchObject({ epoch: 8, sequence: 0 });
    expect(own.outlive({ epoch: 7, sequence: 9 })).toBe(false);
  });

  it('answer a verdict with something newer, soon', () => {
    const own = newRecord();
    announced(own);
    own.refute({ epoch: 1, sequence: 5 }, now);
    expect(own.dueMs).toBe(now.monotonicMs + meshLimits.announceLeastMs);
    expect(announced(own)).toMatchObject({ epoch: 1, sequence: 6 });
  });

  it.each([
    [1, meshLimits.announceMs],
    [meshLimits.announceMs / meshLimits.announceShareMs, meshLimits.announceMs],
    [100, 100 * meshLimits.announceShareMs],
    [4096, recordLimits.lifeMs / meshLimits.announcementsPerLife],
  ])('of a mesh of %i members come about every %i ms', (members, everyMs) => {
    const own = newRecord();
    const record = announced(own, members);
    expect(Math.abs(own.dueMs - now.monotonicMs - everyMs)).toBeLessThanOrEqual(everyMs * meshLimits.jitter);
    expect(record.expiresMs - record.issuedMs).toBe(
      Math.max(everyMs * meshLimits.announcementsPerLife, meshLimits.recordLifeMs),
    );
  });

  it('do not hurry for what is only counted', () => {
    const own = newRecord();
    announced(own);
    const { dueMs } = own;
    own.change({ ...noFacts, demand: [{ model: 'demo', requests: 3 }] }, now);
    expect(own.dueMs).toBe(dueMs);
    expect(announced(own).demand).toEqual([{ model: 'demo', requests: 3 }]);
  });

  it('that came to nothing are made up for as in a small mesh', () => {
    const own = newRecord();
    announced(own, 4096);
    own.announceLater(now);
    expect(own.dueMs).toBe(now.monotonicMs + meshLimits.announceMs);
  });

  it('of many changes in a row make one', () => {
    const own = newRecord();
    announced(own);
    own.change({ ...noFacts, name: 'a' }, now);
    own.change({ ...noFacts, name: 'b' }, { ...now, monotonicMs: now.monotonicMs + 10 });
    expect(own.dueMs).toBe(now.monotonicMs + meshLimits.announceLeastMs);
  });
});
