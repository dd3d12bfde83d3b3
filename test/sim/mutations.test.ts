// The simulator proves itself: each mutation puts one mistake into the real code, from outside, and some seed
// must notice it by an invariant that the mistake concerns. Without a mutation the same seeds pass (sim.test.ts).
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DialPlan } from '../../src/mesh/dial-plan.ts';
import { bitmapBytes, ItemDigest } from '../../src/mesh/digest.ts';
import { Membership } from '../../src/mesh/membership.ts';
import { OwnNode } from '../../src/mesh/own-node.ts';
import { OwnRecord } from '../../src/mesh/own-record.ts';
import { RecordTable } from '../../src/mesh/table.ts';
import type * as versions from '../../src/mesh/version.ts';
import type { PeerId } from '../../src/trust/keys.ts';
import { publicKeyOf } from '../../src/trust/keys.ts';
import { MeshTrust } from '../../src/trust/mesh-trust.ts';
import type * as roles from '../../src/trust/roles.ts';
import type { InvariantName } from './invariants.ts';
import { type RunOptions, runSeed } from './simulation.ts';

/** Functions of the real modules that a mutation may stand in for. */
const planted = vi.hoisted(
  (): { compareVersions?: typeof versions.compareVersions; includesRole?: typeof roles.includesRole } => ({}),
);

vi.mock('../../src/mesh/version.ts', async (importOriginal) => {
  const real = await importOriginal<typeof versions>();
  const compareVersions: typeof real.compareVersions = (a, b) =>
    (planted.compareVersions ?? real.compareVersions)(a, b);
  return { ...real, compareVersions };
});

vi.mock('../../src/trust/roles.ts', async (importOriginal) => {
  const real = await importOriginal<typeof roles>();
  const includesRole: typeof real.includesRole = (role, needed) =>
    (planted.includesRole ?? real.includesRole)(role, needed);
  return { ...real, includesRole };
});

interface Mutation {
  readonly mistake: string;
  /** Makes the mistake, or gives the options to run with; it is undone after the test. */
  readonly plant: () => Partial<RunOptions> | undefined;
  readonly foundBy: readonly InvariantName[];
}

/** Seeds that a mistake may hide from at most. */
const mostSeeds = 200;

/** Few nodes make fast runs. */
const smallMesh = { traceLines: 0, mostNodes: 6 };

const mutations: readonly Mutation[] = [
  {
    mistake: 'signatures are not looked at',
    plant: () => ({ check: () => true }),
    foundBy: ['invited-only'],
  },
  {
    mistake: 'a certificate is taken for that of whoever shows it',
    plant: () => {
      const { step } = Membership.prototype;
      const { certificate } = MeshTrust.prototype;
      let shownBy: PeerId | undefined;
      vi.spyOn(Membership.prototype, 'step').mockImplementation(function (this: Membership, event, now) {
        shownBy = event.type === 'message' && event.message.type === 'hello' ? event.peer : undefined;
        return step.call(this, event, now);
      });
      vi.spyOn(MeshTrust.prototype, 'certificate').mockImplementation(function (this: MeshTrust, bytes) {
        const shown = certificate.call(this, bytes);
        const peerKey = shownBy === undefined ? undefined : publicKeyOf(shownBy);
        return shownBy === undefined || peerKey === undefined
          ? shown
          : { ...shown, peerId: shownBy, peerKey };
      });
      return undefined;
    },
    foundBy: ['invited-only'],
  },
  {
    mistake: 'who was renewed by an admin that is revoked then falls with it',
    plant: () => {
      vi.spyOn(OwnNode.prototype, 'fallBack').mockReturnValue(false);
      return undefined;
    },
    foundBy: ['no-false-expulsion', 'converges'],
  },
  {
    mistake: 'every certificate stands',
    plant: () => {
      vi.spyOn(MeshTrust.prototype, 'judge').mockReturnValue({ standing: true });
      return undefined;
    },
    foundBy: ['out-means-out', 'uses-counted'],
  },
  {
    mistake: 'who stood once is never judged again, so revocations do not reach open links',
    plant: () => {
      const { judge } = MeshTrust.prototype;
      const stood = new WeakMap<MeshTrust, Set<string>>();
      vi.spyOn(MeshTrust.prototype, 'judge').mockImplementation(function (
        this: MeshTrust,
        certificate,
        nowMs,
      ) {
        const before = stood.get(this) ?? new Set();
        stood.set(this, before);
        const judgement = judge.call(this, certificate, nowMs);
        if (judgement.standing) {
          before.add(certificate.hash);
        }
        return before.has(certificate.hash) ? { standing: true } : judgement;
      });
      return undefined;
    },
    foundBy: ['out-means-out'],
  },
  {
    mistake: 'revocations are not passed on',
    plant: () => ignoreOffers('revocation'),
    foundBy: ['out-means-out'],
  },
  {
    mistake: 'uses of an invite are not counted',
    plant: () => ignoreOffers('use'),
    foundBy: ['uses-counted', 'converges'],
  },
  {
    mistake: 'a role is not held against the certificate',
    plant: () => {
      planted.includesRole = () => true;
      return undefined;
    },
    foundBy: ['role-granted'],
  },
  {
    mistake: 'versions are compared without their epoch',
    plant: () => {
      planted.compareVersions = (a, b) => a.sequence - b.sequence;
      return undefined;
    },
    foundBy: ['converges', 'versions-rise'],
  },
  {
    mistake: 'what comes last is taken for the newest',
    plant: () => {
      planted.compareVersions = (a, b) => (a.epoch === b.epoch && a.sequence === b.sequence ? 0 : 1);
      return undefined;
    },
    foundBy: ['never-backwards'],
  },
  {
    mistake: 'records are forgotten before their stale copies are',
    plant: () => {
      const { sweep } = RecordTable.prototype;
      vi.spyOn(RecordTable.prototype, 'sweep').mockImplementation(function (this: RecordTable, wallMs) {
        return sweep.call(this, wallMs + 15 * 60_000);
      });
      return undefined;
    },
    foundBy: ['no-resurrection', 'never-backwards'],
  },
  {
    mistake: 'records never run out',
    plant: () => {
      const { status } = RecordTable.prototype;
      vi.spyOn(RecordTable.prototype, 'status').mockImplementation(function (
        this: RecordTable,
        peer,
        _wallMs,
        linked,
      ) {
        return status.call(this, peer, 0, linked);
      });
      vi.spyOn(RecordTable.prototype, 'sweep').mockReturnValue([]);
      return undefined;
    },
    foundBy: ['gone-means-gone'],
  },
  {
    mistake: 'a verdict is never refuted',
    plant: () => {
      const { offerDeath, status } = RecordTable.prototype;
      const condemned = new WeakMap<RecordTable, Set<PeerId>>();
      vi.spyOn(RecordTable.prototype, 'offerDeath').mockImplementation(function (
        this: RecordTable,
        envelope,
        wallMs,
      ) {
        const offer = offerDeath.call(this, envelope, wallMs);
        condemned.set(this, (condemned.get(this) ?? new Set()).add(offer.peer));
        return offer;
      });
      vi.spyOn(RecordTable.prototype, 'status').mockImplementation(function (
        this: RecordTable,
        peer,
        wallMs,
        linked,
      ) {
        const real = status.call(this, peer, wallMs, linked);
        return real === 'alive' && condemned.get(this)?.has(peer) ? 'dead' : real;
      });
      return undefined;
    },
    foundBy: ['converges'],
  },
  {
    mistake: 'the epoch is not written down',
    plant: () => {
      const { memory } = Membership.prototype;
      vi.spyOn(Membership.prototype, 'memory').mockImplementation(function (this: Membership) {
        return { ...memory.call(this), epoch: 0 };
      });
      return undefined;
    },
    foundBy: ['versions-rise'],
  },
  {
    mistake: 'a node that has lost its memory does not outlive its earlier records',
    plant: () => {
      vi.spyOn(OwnRecord.prototype, 'outlive').mockReturnValue(false);
      return undefined;
    },
    foundBy: ['converges', 'versions-rise'],
  },
  {
    mistake: 'comparing digests never finds a difference',
    plant: () => {
      vi.spyOn(ItemDigest.prototype, 'differingBuckets').mockReturnValue(new Uint8Array(bitmapBytes));
      return undefined;
    },
    foundBy: ['converges'],
  },
  {
    mistake: 'a peer that could not be dialled is not dialled again',
    plant: () => {
      vi.spyOn(DialPlan.prototype, 'failed').mockReturnValue(0);
      return undefined;
    },
    foundBy: ['linked', 'joins', 'converges'],
  },
];

describe('a mistake in the real code is found', () => {
  afterEach(() => {
    vi.restoreAllMocks();
    delete planted.compareVersions;
    delete planted.includesRole;
  });

  /** The seeds that were needed to find a mistake. */
  const finders = new Set<number>();

  it.each(mutations.map((mutation) => [mutation.mistake, mutation] as const))(
    '%s',
    (_, { plant, foundBy }) => {
      const options = { ...smallMesh, ...plant() };
      const seeds = Array.from({ length: mostSeeds }, (_, index) => index + 1);
      const seed = seeds.find((candidate) => {
        const { failure } = runSeed(candidate, options);
        return failure !== undefined && foundBy.includes(failure.invariant);
      });
      expect(seed, `one of ${mostSeeds} seeds fails by ${foundBy.join(' or ')}`).toBeDefined();
      finders.add(seed ?? 0);
    },
  );

  it('where there is one: the same seeds find nothing wrong with the code as it is', () => {
    for (const seed of finders) {
      expect(runSeed(seed, smallMesh).failure, `seed ${seed}`).toBeUndefined();
    }
    expect(finders.size).toBeGreaterThan(0);
  });
});

/** Statements about standing of one kind come to nothing. */
function ignoreOffers(kind: string): undefined {
  const { offer } = MeshTrust.prototype;
  vi.spyOn(MeshTrust.prototype, 'offer').mockImplementation(function (this: MeshTrust, envelope, nowMs) {
    return envelope.kind === kind ? 'known' : offer.call(this, envelope, nowMs);
  });
}
