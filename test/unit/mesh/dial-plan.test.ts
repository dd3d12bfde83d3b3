import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DialPlan } from '../../../src/mesh/dial-plan.ts';
import { meshLimits } from '../../../src/util/limits/mesh.ts';

const addressOf = (peer: string, port = 1): string[] => [`/ip4/192.0.2.${peer.length}/tcp/${port}`];

function newPlan({ linked = new Set<string>(), isLocal = false } = {}): DialPlan {
  return new DialPlan({
    self: 'self',
    isLinked: (peer) => linked.has(peer),
    linked: () => linked,
    keepsToItsMachine: () => isLocal,
  });
}

/** Everybody that is dialled until `endMs`, whose dials all fail. */
function dialledUntil(plan: DialPlan, endMs: number): string[] {
  const dialled: string[] = [];
  for (let nowMs = plan.nextMs(); nowMs !== undefined && nowMs <= endMs; nowMs = plan.nextMs()) {
    for (const { peerId } of plan.due(nowMs)) {
      dialled.push(peerId);
      plan.failed(peerId, nowMs);
    }
  }
  return dialled;
}

describe('a dial plan', () => {
  it('waits longer after each failure, and never gives up a member', () => {
    const plan = newPlan();
    plan.trust([{ peerId: 'a', addresses: addressOf('a') }], 0);
    const dials = dialledUntil(plan, 60 * 60_000).length;
    expect(dials).toBeGreaterThan(60);
    expect(dials).toBeLessThan(80);
  });

  it('gives up what is only hearsay', () => {
    const plan = newPlan();
    plan.suggest([{ peerId: 'a', addresses: addressOf('a') }], 0);
    expect(dialledUntil(plan, 60 * 60_000)).toHaveLength(meshLimits.hearsayDials);
    expect(plan.nextMs()).toBeUndefined();
  });

  it('leaves it to a newcomer to dial first', () => {
    const plan = newPlan();
    plan.member('a', addressOf('a'), 1000);
    expect(plan.nextMs()).toBe(1000 + meshLimits.dialCourtesyMs);
  });

  it('of a large mesh chooses few, and others for those that do not answer', () => {
    const linked = new Set(['friend']);
    const plan = newPlan({ linked });
    const peers = Array.from({ length: 300 }, (_, index) => `peer-${index}`);
    for (const peer of [...peers, 'friend']) {
      plan.trust([{ peerId: peer, addresses: addressOf(peer) }], 0);
    }
    expect(plan.due(0)).toHaveLength(meshLimits.chosenNeighbours);
    for (const peer of peers) {
      plan.failed(peer, 0); // Whoever was dialled did not answer, nor did anybody else the first time.
    }
    const dialled = new Set(dialledUntil(plan, 10 * 60_000));
    expect(dialled.size).toBeGreaterThan(3 * meshLimits.chosenNeighbours);
  });

  it('tries everybody when nobody is left, so many at once as it may', () => {
    const plan = newPlan();
    const peers = Array.from({ length: 300 }, (_, index) => `peer-${index}`);
    plan.trust(
      peers.map((peerId) => ({ peerId, addresses: addressOf(peerId) })),
      0,
    );
    expect(plan.due(0)).toHaveLength(meshLimits.dials);
    // Woken by the end of a dial, not by the clock: else it would be woken without end.
    expect(plan.nextMs()).toBeUndefined();
    expect(new Set(dialledUntil(newPlanOf(peers), 60 * 60_000))).toEqual(new Set(peers));
  });

  it('is not made to knock at many doors by who announces new addresses all the time', () => {
    const plan = newPlan();
    plan.member('a', addressOf('a'), 0);
    let dials = 0;
    for (let nowMs = 0; nowMs < 10 * 60_000; nowMs += 1000) {
      const many = Array.from({ length: 32 }, (_, port) => addressOf('a', nowMs + port)[0] ?? '');
      plan.member('a', many, nowMs);
      for (const { peerId, addresses } of plan.due(nowMs)) {
        expect(addresses).toHaveLength(meshLimits.dialledAddresses);
        dials++;
        plan.failed(peerId, nowMs);
      }
    }
    // Its own back-off allows a few more at first.
    expect(dials).toBeLessThanOrEqual(6 + (10 * 60_000) / meshLimits.redialMs);
  });

  it.each(['/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1', '/ip4/169.254.1.1/tcp/1', '/dns4/localhost/tcp/1'])(
    'does not dial %s for another machine, unless it keeps to its own',
    (address) => {
      const plan = newPlan();
      plan.member('a', [address], 0);
      expect(plan.nextMs()).toBeUndefined();
      const local = newPlan({ isLocal: true });
      local.member('a', [address], 0);
      expect(local.nextMs()).toBeDefined();
    },
  );
});

function newPlanOf(peers: readonly string[]): DialPlan {
  const plan = newPlan();
  plan.trust(
    peers.map((peerId) => ({ peerId, addresses: addressOf(peerId) })),
    0,
  );
  return plan;
}

describe('what a dial plan says', () => {
  const peers = Array.from({ length: 80 }, (_, number) => `peer-${number}`);
  /** What may happen to a plan; `linked` is who is linked. */
  const happenings = {
    member: (plan: DialPlan, peer: string, nowMs: number) => {
      plan.member(peer, addressOf(peer, 1 + Math.floor(nowMs)), nowMs);
    },
    suggest: (plan: DialPlan, peer: string, nowMs: number) => {
      plan.suggest([{ peerId: peer, addresses: addressOf(peer) }], nowMs);
    },
    linked: (plan: DialPlan, peer: string, _: number, linked: Set<string>) => {
      linked.add(peer);
      plan.linked(peer);
    },
    lost: (plan: DialPlan, peer: string, nowMs: number, linked: Set<string>) => {
      linked.delete(peer);
      plan.unlinked();
      plan.lost(peer, nowMs);
    },
    failed: (plan: DialPlan, peer: string, nowMs: number) => {
      plan.failed(peer, nowMs);
    },
    postponed: (plan: DialPlan, peer: string, nowMs: number) => plan.postponed(peer, nowMs),
    up: (plan: DialPlan, peer: string) => plan.up(peer),
    forget: (plan: DialPlan, peer: string) => plan.forget(peer),
    wait: () => {},
  };
  type Step = { readonly what: keyof typeof happenings; readonly peer: string; readonly passedMs: number };
  const names = Object.keys(happenings) as (keyof typeof happenings)[];
  const step: fc.Arbitrary<Step> = fc.record({
    what: fc.constantFrom(...names),
    peer: fc.constantFrom(...peers),
    passedMs: fc.nat({ max: 2_000 }),
  });

  /** Everybody that is dialled, by a plan that is asked after each step or after every fifth. */
  function run(steps: readonly Step[], isAskedAlways: boolean): unknown {
    const linked = new Set<string>();
    const plan = newPlan({ linked });
    const dialled: unknown[] = [];
    let nowMs = 0;
    for (const [number, { what, peer, passedMs }] of steps.entries()) {
      nowMs += passedMs;
      happenings[what](plan, peer, nowMs, linked);
      if (isAskedAlways) {
        plan.nextMs();
      }
      if (number % 5 === 4) {
        dialled.push(plan.due(nowMs).map(({ peerId }) => peerId));
      }
    }
    return [dialled, plan.nextMs()];
  }

  it('does not depend on whether it was asked before', () => {
    const known = peers.slice(0, 70).map((peer): Step => ({ what: 'member', peer, passedMs: 0 }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, isLarge) => {
        const all = isLarge ? [...known, ...steps] : steps;
        expect(run(all, true)).toEqual(run(all, false));
      }),
      { numRuns: 300 },
    );
  });
});
