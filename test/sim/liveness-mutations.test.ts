// The simulator proves itself, as in mutations.test.ts: each mistake in the heartbeat is found by some seed, by an
// invariant that it concerns. Without a mistake the same seeds pass.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Liveness } from '../../src/mesh/liveness.ts';
import { Probes } from '../../src/mesh/probes.ts';
import { Pulse } from '../../src/mesh/pulse.ts';
import { RecordTable } from '../../src/mesh/table.ts';
import { beatLimits } from '../../src/util/limits/mesh.ts';
import type { InvariantName } from './invariants.ts';
import { runLivenessSeed } from './simulation.ts';

interface Mutation {
  readonly mistake: string;
  /** Makes the mistake; it is undone after the test. */
  readonly plant: () => void;
  readonly foundBy: readonly InvariantName[];
  /** The first seed that is tried; those before it have been seen to miss the mistake. */
  readonly from?: number;
}

/** Seeds that a mistake may hide from at most. */
const mostSeeds = 60;

/** Few nodes make fast runs. */
const smallMesh = { traceLines: 0, mostNodes: 6 };

const realLimits = { ...beatLimits };

const mutations: readonly Mutation[] = [
  {
    mistake: 'nobody is asked about a silent node before it is held dead',
    plant: () => {
      vi.spyOn(Probes.prototype, 'mayFollow').mockReturnValue(false);
    },
    foundBy: ['silent-for-cause'],
  },
  {
    mistake: 'the verdict of one neighbour is enough',
    plant: () => condemn((verdicts) => verdicts.present > 0),
    foundBy: ['no-false-death'],
    from: 21,
  },
  {
    mistake: 'a verdict is never refuted',
    plant: () => condemn((verdicts) => verdicts.all > 1),
    foundBy: ['no-false-death'],
    from: 8,
  },
  {
    mistake: 'a process that did not run blames others for it',
    plant: () => {
      vi.spyOn(Liveness.prototype, 'begin').mockReturnValue();
    },
    foundBy: ['silent-for-cause'],
  },
  {
    mistake: 'any nonce is as good as that of a beat',
    plant: () => {
      const { answered } = Pulse.prototype;
      vi.spyOn(Pulse.prototype, 'answered').mockImplementation(function (this: Pulse, nonce, nowMs) {
        this.sent(nonce, nowMs);
        return answered.call(this, nonce, nowMs);
      });
    },
    foundBy: ['rtt-true'],
  },
  {
    mistake: 'a word does not end a silence',
    plant: () => {
      const { heard } = Pulse.prototype;
      vi.spyOn(Pulse.prototype, 'heard').mockImplementation(function (this: Pulse, nowMs) {
        const { silence } = this;
        heard.call(this, nowMs);
        this.silence = silence;
      });
    },
    foundBy: ['heard-again', 'no-false-death'],
  },
  {
    mistake: 'a node that is cut off from everybody holds the others dead',
    plant: () => {
      vi.spyOn(RecordTable.prototype, 'speakers').mockReturnValue(2);
    },
    foundBy: ['no-voice'],
  },
  {
    mistake: 'silence is found a second late',
    plant: () => {
      Object.assign(beatLimits, { silentMs: realLimits.silentMs + 1_000 });
    },
    foundBy: ['silent-in-time'],
  },
  {
    mistake: 'silence is found a beat early',
    plant: () => {
      Object.assign(beatLimits, { silentMs: 900 });
    },
    foundBy: ['silent-for-cause'],
  },
  {
    mistake: 'a broken link is no silence',
    plant: () => {
      vi.spyOn(Liveness.prototype, 'lost').mockReturnValue();
    },
    foundBy: ['gone-in-time'],
    from: 9,
  },
  {
    mistake: 'each is beaten twice a second',
    plant: () => {
      Object.assign(beatLimits, { beatMs: 500 });
    },
    foundBy: ['rests'],
    from: 5,
  },
];

describe('a mistake in the heartbeat is found', () => {
  afterEach(() => {
    vi.restoreAllMocks();
    Object.assign(beatLimits, realLimits);
  });

  /** The seeds that were needed to find a mistake. */
  const finders = new Set<number>();

  it.each(mutations.map((mutation) => [mutation.mistake, mutation] as const))(
    '%s',
    (_, { plant, foundBy, from = 1 }) => {
      plant();
      const seeds = Array.from({ length: mostSeeds }, (_, index) => from + index);
      const seed = seeds.find((candidate) => {
        const { failure } = runLivenessSeed(candidate, smallMesh);
        return failure !== undefined && foundBy.includes(failure.invariant);
      });
      expect(seed, `one of ${mostSeeds} seeds fails by ${foundBy.join(' or ')}`).toBeDefined();
      finders.add(seed ?? 0);
    },
  );

  it('where there is one: the same seeds find nothing wrong with the heartbeat as it is', () => {
    for (const seed of finders) {
      expect(runLivenessSeed(seed, smallMesh).failure, `seed ${seed}`).toBeUndefined();
    }
    expect(finders.size).toBeGreaterThan(0);
  });
});

/** Who is not heard here is held dead by other rules: by the verdicts on its present record, and on all that it had. */
function condemn(isDead: (verdicts: { readonly present: number; readonly all: number }) => boolean): void {
  const { status } = RecordTable.prototype;
  vi.spyOn(RecordTable.prototype, 'status').mockImplementation(function (
    this: RecordTable,
    peer,
    wallMs,
    heard,
  ) {
    const sequence = this.get(peer)?.record.sequence ?? 0;
    const all = [...this.deaths()].filter(({ death }) => death.subject === peer);
    const present = all.filter(({ death }) => death.sequence >= sequence).length;
    const real = status.call(this, peer, wallMs, heard);
    return real === 'alive' && !heard(peer) && isDead({ present, all: all.length }) ? 'dead' : real;
  });
}
