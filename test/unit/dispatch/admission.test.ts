// The admission state machine under arbitrary arrivals, ends and changes of capacity, of the owner and of peers.
import fc from 'fast-check';
import { assert, describe, expect, it } from 'vitest';
import {
  type Admission,
  type AdmissionBounds,
  type AdmissionEffect,
  type AdmissionEvent,
  idleAdmission,
  slotsHeld,
  stepAdmission,
  type Ticket,
  waitingCount,
} from '../../../src/dispatch/admission.ts';
import { systemClock } from '../../../src/util/clock.ts';
import { peerLimits, queueLimits } from '../../../src/util/limits/dispatch.ts';
import { seededRandom } from '../../../src/util/random.ts';

const ticket = (id: number, priority: Ticket['priority'] = 'interactive', slots = 1): Ticket => ({
  id,
  priority,
  slots,
});

const ofPeer = (caller: string, id: number, fields: Partial<Ticket> = {}): Ticket => ({
  ...ticket(id),
  caller,
  ...fields,
});

/** Bounds that short runs reach. */
const tightBounds: AdmissionBounds = {
  waiting: 4,
  queuedPerPeer: 2,
  queued: 5,
  interactiveStreak: 2,
  ownerSlots: 1,
  ownerSlotsFrom: 4,
};

/**
 * A machine with what it did. It keeps books of its own of who waits and who runs, from tickets and effects alone,
 * and checks after every step what must always hold.
 */
class Machine {
  state: Admission;
  readonly started: number[] = [];
  readonly refused: number[] = [];
  readonly waiting = new Map<number, Ticket>();
  readonly running = new Map<number, Ticket>();
  /** Tickets that have ended, however. */
  readonly ended = new Set<number>();

  constructor(slots: number, bounds?: AdmissionBounds) {
    this.state = idleAdmission(slots, bounds);
  }

  step(event: AdmissionEvent): readonly AdmissionEffect[] {
    const before = slotsHeld(this.state);
    const [state, effects] = stepAdmission(this.state, event);
    if (event.type === 'arrive') {
      this.waiting.set(event.ticket.id, event.ticket);
    } else if (event.type === 'leave' && (this.waiting.delete(event.id) || this.running.delete(event.id))) {
      this.ended.add(event.id);
    }
    this.state = state;
    for (const effect of effects) {
      this.#book(effect);
    }
    this.#check(before);
    return effects;
  }

  arrive(...tickets: Ticket[]): void {
    for (const one of tickets) {
      this.step({ type: 'arrive', ticket: one });
    }
  }

  leave(...ids: number[]): void {
    for (const id of ids) {
      this.step({ type: 'leave', id });
    }
  }

  /** Ends the request that has run for longest. */
  endOldest(): Ticket | undefined {
    const [oldest] = this.running.values();
    this.leave(oldest?.id ?? -1);
    return oldest;
  }

  get held(): number {
    return [...this.state.running.values()].reduce((sum, { slots }) => sum + slots, 0);
  }

  /** Slots of peers at most. */
  get peersMost(): number {
    const { capacity, bounds } = this.state;
    return capacity >= bounds.ownerSlotsFrom ? capacity - bounds.ownerSlots : capacity;
  }

  waits(which: Partial<Ticket> & { local?: boolean }): Ticket[] {
    return [...this.waiting.values()].filter(
      ({ priority, caller }) =>
        (which.priority === undefined || which.priority === priority) &&
        (which.local === undefined || which.local === (caller === undefined)) &&
        (which.caller === undefined || which.caller === caller),
    );
  }

  #book({ type, id }: AdmissionEffect): void {
    const who = this.waiting.get(id);
    if (who === undefined) {
      throw new Error(`The machine would ${type} ${id}, who does not wait.`);
    }
    this.waiting.delete(id);
    if (type === 'refuse') {
      this.refused.push(id);
      this.ended.add(id);
      return;
    }
    if (who.caller !== undefined) {
      const passed = this.waits({ local: true, priority: 'interactive' });
      assert(passed.length === 0, `${id} of a peer passed a local request`);
    }
    this.started.push(id);
    this.running.set(id, who);
  }

  #check(before: { local: number; peers: number }): void {
    const { capacity, bounds, served, claims } = this.state;
    const { local, peers } = slotsHeld(this.state);
    // After a capacity cut more may run than there are slots, but no more are started.
    assert(local + peers <= Math.max(capacity, before.local + before.peers), 'more slots out than there are');
    assert(peers <= Math.max(this.peersMost, before.peers), 'the slot of the owner is taken');
    assert(local + peers === this.held, 'slots are lost');
    assert(waitingCount(this.state) === this.waiting.size, 'who waits is miscounted');
    assert(this.state.running.size === this.running.size, 'who runs is miscounted');
    assert(this.waits({ local: true }).length <= bounds.waiting, 'too many of the owner wait');
    const waitingPeers = this.waits({ local: false });
    assert(waitingPeers.length <= bounds.queued, 'too many of peers wait');
    for (const caller of new Set(waitingPeers.map((one) => one.caller))) {
      const count = waitingPeers.filter((one) => one.caller === caller).length;
      assert(count <= bounds.queuedPerPeer, `too many of ${caller} wait`);
    }
    assert(served.length <= bounds.queued, 'too many turns are remembered');
    assert(new Set(served).size === served.length, 'the turns of one peer take the place of others’');
    assert(claims.size <= 2 && [...claims].every((id) => this.waiting.has(id)), 'a claim of nobody');
  }
}

describe('admission', () => {
  it('starts what fits and makes the rest wait in order', () => {
    const machine = new Machine(2);
    machine.arrive(ticket(1), ticket(2), ticket(3), ticket(4));
    expect(machine.started).toEqual([1, 2]);
    machine.leave(2, 1);
    expect(machine.started).toEqual([1, 2, 3, 4]);
  });

  it('lets interactive requests pass batch ones', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(1), ticket(2, 'batch'), ticket(3));
    machine.leave(1);
    expect(machine.started).toEqual([1, 3]);
  });

  it('gives a batch request its turn after a bounded number of interactive ones', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(0), ticket(1000, 'batch'));
    for (let id = 1; !machine.started.includes(1000); id++) {
      machine.arrive(ticket(id));
      machine.leave(id - 1);
      expect(id).toBeLessThanOrEqual(queueLimits.interactiveStreak + 1);
    }
  });

  it('does not let narrow requests pass a wide one whose turn it is', () => {
    const machine = new Machine(2);
    machine.arrive(ticket(1), ticket(2, 'interactive', 2), ticket(3));
    expect(machine.started).toEqual([1]);
    machine.leave(1);
    expect(machine.started).toEqual([1, 2]);
  });

  it('gives a request wider than the model all its slots', () => {
    const machine = new Machine(2);
    machine.arrive(ticket(1, 'interactive', 16));
    expect(machine.started).toEqual([1]);
    expect(machine.held).toBe(2);
  });

  it('refuses who comes when the queue is full, and nobody else', () => {
    const machine = new Machine(1);
    machine.arrive(...Array.from({ length: queueLimits.waiting + 1 }, (_, id) => ticket(id)));
    expect(machine.refused).toEqual([]);
    const effects = machine.step({ type: 'arrive', ticket: ticket(1000, 'batch') });
    expect(effects).toEqual([{ type: 'refuse', id: 1000, bound: 'waiting' }]);
    expect(waitingCount(machine.state)).toBe(queueLimits.waiting);
  });

  it('forgets who gives up waiting', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(1), ticket(2), ticket(3));
    machine.leave(2, 1);
    expect(machine.started).toEqual([1, 3]);
  });

  it('starts more when the capacity grows', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(1), ticket(2), ticket(3));
    machine.step({ type: 'capacity', slots: 3 });
    expect(machine.started).toEqual([1, 2, 3]);
  });
});

describe('the owner and peers', () => {
  it('take their turns by lane: local, peers’, local batch, peers’ batch', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(0));
    machine.arrive(ofPeer('a', 4, { priority: 'batch' }), ticket(3, 'batch'), ofPeer('a', 2), ticket(1));
    machine.leave(0, 1, 2, 3);
    expect(machine.started).toEqual([0, 1, 2, 3, 4]);
  });

  it('are told apart at the bounds: no flood of peers refuses the owner', () => {
    const machine = new Machine(1);
    const flood = Array.from({ length: 1000 }, (_, id) => ofPeer(`peer ${id % 50}`, id));
    machine.arrive(...flood);
    expect(machine.waiting.size).toBe(peerLimits.queued);
    machine.arrive(...Array.from({ length: queueLimits.waiting }, (_, id) => ticket(2000 + id)));
    expect(machine.refused.filter((id) => id >= 2000)).toEqual([]);
    machine.arrive(ticket(3000));
    expect(machine.refused.at(-1)).toBe(3000);
  });

  it('leave the last of four slots to the owner', () => {
    const machine = new Machine(4);
    machine.arrive(...[1, 2, 3, 4].map((id) => ofPeer('a', id)));
    expect(machine.started).toEqual([1, 2, 3]);
    machine.arrive(ticket(5));
    expect(machine.started).toEqual([1, 2, 3, 5]);
    machine.leave(5);
    expect(machine.started).toEqual([1, 2, 3, 5]);
  });

  it('share all slots where there are fewer than four', () => {
    const machine = new Machine(3);
    machine.arrive(...[1, 2, 3, 4].map((id) => ofPeer('a', id)));
    expect(machine.started).toEqual([1, 2, 3]);
  });

  it('keep the owner’s slot of whatever number there is', () => {
    const machine = new Machine(2);
    machine.arrive(...[1, 2, 3, 4, 5].map((id) => ofPeer('a', id)));
    machine.step({ type: 'capacity', slots: 4 });
    expect(machine.started).toEqual([1, 2, 3]);
    machine.step({ type: 'capacity', slots: 3 });
    machine.leave(1);
    expect(machine.started).toEqual([1, 2, 3, 4]);
  });

  it('keep as many slots as the bounds say, but never more than are free', () => {
    const machine = new Machine(6, { ...tightBounds, ownerSlots: 2 });
    machine.arrive(ofPeer('a', 1, { slots: 6 }), ofPeer('b', 2));
    expect(machine.held).toBe(4);
    machine.step({ type: 'capacity', slots: 5 });
    machine.arrive(ticket(3, 'batch', 2));
    expect(machine.started).toEqual([1]);
    machine.step({ type: 'capacity', slots: 6 });
    expect(machine.started).toEqual([1, 3]);
  });

  it('let the owner’s batch have that slot while peers wait for theirs', () => {
    const machine = new Machine(4);
    machine.arrive(...[1, 2, 3, 4].map((id) => ofPeer('a', id)));
    machine.arrive(ticket(5, 'batch'), ticket(6, 'batch'));
    expect(machine.started).toEqual([1, 2, 3, 5]);
    machine.leave(1);
    expect(machine.started).toEqual([1, 2, 3, 5, 4]);
  });

  it('do not let the owner’s batch delay a wide request of a peer', () => {
    const machine = new Machine(4);
    machine.arrive(...[1, 2, 3].map((id) => ofPeer('a', id)), ofPeer('b', 4, { slots: 16 }));
    machine.arrive(...[5, 6, 7].map((id) => ticket(id, 'batch')));
    machine.leave(1, 2);
    expect(machine.started).toEqual([1, 2, 3, 5]);
    machine.leave(3);
    expect(machine.started).toEqual([1, 2, 3, 5, 4]);
    expect(machine.held).toBe(4);
  });

  it('never pass a local request, however wide it is', () => {
    const machine = new Machine(4);
    machine.arrive(ofPeer('a', 1), ticket(2, 'interactive', 4), ofPeer('a', 3));
    expect(machine.started).toEqual([1]);
    machine.leave(1);
    expect(machine.started).toEqual([1, 2]);
  });

  it('are not alike: an owner who always asks shuts peers out, and gets every slot', () => {
    const machine = new Machine(2);
    machine.arrive(ticket(0), ticket(1), ofPeer('a', 1000));
    for (let id = 2; id < 100; id++) {
      machine.arrive(ticket(id));
      machine.endOldest();
    }
    expect(machine.started).toEqual(Array.from({ length: 100 }, (_, id) => id));
  });
});

describe('peers among themselves', () => {
  it('are served by the fewest slots held, then by the oldest turn, then first come', () => {
    const machine = new Machine(3);
    machine.arrive(ofPeer('a', 1), ofPeer('a', 2), ofPeer('b', 3));
    machine.arrive(ofPeer('a', 4), ofPeer('b', 5), ofPeer('d', 6), ofPeer('c', 7));
    // d and c hold nothing and never had a turn; then, with b holding one slot and a none, it is a's.
    machine.leave(1, 2, 3);
    expect(machine.started).toEqual([1, 2, 3, 6, 7, 4]);
  });

  it('count the slots they hold, not the requests', () => {
    const machine = new Machine(3);
    machine.arrive(ofPeer('a', 1, { slots: 2 }), ofPeer('b', 2), ofPeer('a', 3), ofPeer('b', 4));
    machine.step({ type: 'capacity', slots: 5 });
    // One of five is the owner's: there is one more for peers.
    expect(machine.started).toEqual([1, 2, 4]);
  });

  it('keep their order while others’ turns come', () => {
    const machine = new Machine(1);
    machine.arrive(...[1, 2, 3, 4].map((id) => ofPeer('a', id)), ofPeer('b', 5));
    machine.leave(1, 5, 2, 3);
    expect(machine.started).toEqual([1, 5, 2, 3, 4]);
  });

  it('do not forget a turn whose request is over', () => {
    const machine = new Machine(1);
    machine.arrive(ofPeer('a', 1), ofPeer('b', 2));
    machine.leave(1, 2);
    machine.arrive(ofPeer('c', 3), ofPeer('b', 4), ofPeer('a', 5));
    machine.leave(3);
    expect(machine.started).toEqual([1, 2, 3, 5]);
  });

  it('may have all that is left over when nobody else waits', () => {
    const machine = new Machine(8);
    machine.arrive(...Array.from({ length: 10 }, (_, id) => ofPeer('a', id)));
    expect(machine.held).toBe(7);
  });

  it('are refused by the one that floods, not by the others', () => {
    const machine = new Machine(1);
    machine.arrive(...Array.from({ length: 100 }, (_, id) => ofPeer('a', id)));
    expect(machine.refused).toHaveLength(100 - 1 - peerLimits.queuedPerPeer);
    machine.arrive(...Array.from({ length: peerLimits.queuedPerPeer }, (_, id) => ofPeer('b', 1000 + id)));
    expect(machine.refused.filter((id) => id >= 1000)).toEqual([]);
    expect(machine.step({ type: 'arrive', ticket: ofPeer('b', 2000, { priority: 'batch' }) })).toEqual([
      { type: 'refuse', id: 2000, bound: 'queuedPerPeer' },
    ]);
  });

  it('make room for another one when a few have taken all places', () => {
    const machine = new Machine(1, tightBounds);
    machine.arrive(ofPeer('a', 0), ofPeer('a', 1), ofPeer('a', 2, { priority: 'batch' }));
    machine.arrive(ofPeer('b', 3), ofPeer('b', 4), ofPeer('c', 5));
    expect(machine.refused).toEqual([]);
    expect(machine.step({ type: 'arrive', ticket: ofPeer('d', 6) })).toEqual([
      { type: 'refuse', id: 2, bound: 'queued' },
    ]);
    expect(machine.step({ type: 'arrive', ticket: ofPeer('e', 7) })).toEqual([
      { type: 'refuse', id: 4, bound: 'queued' },
    ]);
    // Now all have one: the newcomer is no worse off than they are if it is refused.
    expect(machine.step({ type: 'arrive', ticket: ofPeer('f', 8) })).toEqual([
      { type: 'refuse', id: 8, bound: 'queued' },
    ]);
  });

  it('go on when the wide request that they wait for has to make room', () => {
    const machine = new Machine(2, tightBounds);
    machine.arrive(ofPeer('long', 0), ofPeer('a', 1, { priority: 'batch', slots: 2 }));
    // Once it was passed by two, it is the turn of the batch request, which needs both slots.
    for (const id of [2, 3]) {
      machine.arrive(ofPeer('b', id));
      machine.leave(id);
    }
    machine.arrive(ofPeer('a', 4), ofPeer('b', 5), ofPeer('c', 6), ofPeer('d', 7));
    expect(machine.started).toEqual([0, 2, 3]);
    expect(machine.step({ type: 'arrive', ticket: ofPeer('e', 8) })).toEqual([
      { type: 'refuse', id: 1, bound: 'queued' },
      { type: 'start', id: 4 },
    ]);
  });

  it('go on when the wide request that they wait for leaves', () => {
    const machine = new Machine(2);
    machine.arrive(ofPeer('a', 1), ofPeer('b', 2, { slots: 2 }), ofPeer('c', 3));
    expect(machine.started).toEqual([1]);
    machine.leave(2);
    expect(machine.started).toEqual([1, 3]);
  });
});

type Move =
  | ({ readonly kind: 'arrive' } & Omit<Ticket, 'id'>)
  | { readonly kind: 'leave'; readonly which: number }
  | { readonly kind: 'capacity'; readonly slots: number };

const callers = ['a', 'b', 'c', 'd', 'e', 'f'];

/** Rules of sharing, the usual one among them. */
const sharing: fc.Arbitrary<AdmissionBounds> = fc.constantFrom(
  tightBounds,
  { ...tightBounds, ownerSlots: 2 },
  { ...tightBounds, ownerSlots: 0 },
);

const movesOf = (widest: number): fc.Arbitrary<Move[]> => {
  const move: fc.Arbitrary<Move> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('arrive' as const),
        priority: fc.constantFrom('interactive' as const, 'batch' as const),
        slots: fc.integer({ min: 1, max: widest }),
        caller: fc.option(fc.constantFrom(...callers), { nil: undefined, freq: 2 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('leave' as const), which: fc.nat() }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('capacity' as const), slots: fc.integer({ min: 1, max: 6 }) }),
    },
  );
  return fc.array(move, { minLength: 1, maxLength: 100, size: 'max' });
};

/** Feeds moves in, looking at the machine after each. Returns it and its tickets. */
function play(
  moves: readonly Move[],
  bounds: AdmissionBounds,
  look: (machine: Machine) => void = () => {},
): { machine: Machine; tickets: Map<number, Ticket> } {
  const machine = new Machine(2, bounds);
  const tickets = new Map<number, Ticket>();
  for (const [id, one] of moves.entries()) {
    switch (one.kind) {
      case 'arrive': {
        const { kind, ...fields } = one;
        const arriving = { ...fields, id };
        tickets.set(id, arriving);
        machine.step({ type: 'arrive', ticket: arriving });
        break;
      }
      case 'leave': {
        const present = [...machine.running.keys(), ...machine.waiting.keys()];
        machine.leave(present[one.which % Math.max(1, present.length)] ?? -1);
        break;
      }
      case 'capacity':
        machine.step({ type: 'capacity', slots: one.slots });
        break;
    }
    look(machine);
  }
  return { machine, tickets };
}

function endAll(machine: Machine): void {
  while (machine.running.size > 0) {
    machine.endOldest();
  }
}

describe('admission, whatever happens', () => {
  // What Machine checks after every step: slots, bounds, and that no peer starts before a local request.
  it('keeps to its slots and bounds, and peers behind local requests', () => {
    fc.assert(
      fc.property(movesOf(4), sharing, (moves, bounds) => void play(moves, bounds)),
      { numRuns: 300 },
    );
  });

  it('reaches those bounds in these runs', () => {
    const reached = new Set<string>();
    fc.assert(
      fc.property(movesOf(4), (moves) => {
        const machine = new Machine(2, tightBounds);
        for (const [id, one] of moves.entries()) {
          const effects =
            one.kind === 'arrive'
              ? machine.step({ type: 'arrive', ticket: { ...one, id } })
              : machine.step({ type: 'leave', id: id - 5 });
          for (const effect of effects) {
            reached.add(effect.type === 'refuse' ? effect.bound : effect.type);
          }
        }
      }),
      { numRuns: 300 },
    );
    expect([...reached].sort()).toEqual(['queued', 'queuedPerPeer', 'start', 'waiting']);
  });

  it('leaves no slot idle that a waiting request may have', () => {
    const look = (machine: Machine): void => {
      const free = machine.state.capacity - machine.held;
      const peersFree = Math.min(free, machine.peersMost - slotsHeld(machine.state).peers);
      assert(machine.waits({ local: true }).length === 0 || free <= 0, 'a local request waits for nothing');
      assert(
        machine.waits({ local: false }).length === 0 || peersFree <= 0,
        'one of a peer waits for nothing',
      );
    };
    fc.assert(
      fc.property(movesOf(1), sharing, (moves, bounds) => void play(moves, bounds, look)),
      { numRuns: 300 },
    );
  });

  it('leaves a slot idle only for a wide request', () => {
    const look = (machine: Machine): void => {
      const free = machine.state.capacity - machine.held;
      const peersFree = Math.min(free, machine.peersMost - slotsHeld(machine.state).peers);
      const [interactive] = machine.waits({ local: true, priority: 'interactive' });
      const [batch] = machine.waits({ local: true, priority: 'batch' });
      const peers = machine.waits({ local: false });
      // Only who comes first in a lane of the owner holds others up; of peers it is the machine that says who is next.
      const ownerIsWide = [interactive, batch].some((one) => one !== undefined && one.slots > free);
      const peerIsWide = peers.some(({ slots }) => slots > peersFree);
      assert(interactive === undefined || free <= 0 || ownerIsWide, 'a local request waits for nothing');
      assert(
        batch === undefined || free <= 0 || ownerIsWide || peerIsWide,
        'a batch request waits for nothing',
      );
      assert(
        peers.length === 0 || peersFree <= 0 || ownerIsWide || peerIsWide,
        'a request of a peer waits for nothing',
      );
    };
    fc.assert(
      fc.property(movesOf(4), sharing, (moves, bounds) => void play(moves, bounds, look)),
      { numRuns: 300 },
    );
  });

  it('ends each request exactly once, and starts everybody whom it did not refuse', () => {
    fc.assert(
      fc.property(movesOf(4), sharing, (moves, bounds) => {
        const { machine, tickets } = play(moves, bounds);
        endAll(machine);
        expect(waitingCount(machine.state)).toBe(0);
        // Machine throws if a request is started or refused that does not wait.
        expect(machine.started.length).toBe(new Set(machine.started).size);
        expect([...machine.ended].sort()).toEqual([...tickets.keys()].sort());
      }),
      { numRuns: 300 },
    );
  });

  it('serves first come first within the owner’s lanes and within those of one peer', () => {
    fc.assert(
      fc.property(movesOf(4), sharing, (moves, bounds) => {
        const { machine, tickets } = play(moves, bounds);
        endAll(machine);
        for (const caller of [undefined, ...callers]) {
          for (const priority of ['interactive', 'batch']) {
            const ids = machine.started.filter((id) => {
              const one = tickets.get(id);
              return one?.caller === caller && one?.priority === priority;
            });
            expect(ids).toEqual([...ids].sort((a, b) => a - b));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('changes nothing that it is given', () => {
    fc.assert(
      fc.property(movesOf(4), sharing, (moves, bounds) => {
        const { machine } = play(moves, bounds);
        const before = structuredClone(machine.state);
        const { state } = machine;
        for (const [id] of machine.running) {
          stepAdmission(state, { type: 'leave', id });
        }
        stepAdmission(state, { type: 'arrive', ticket: ofPeer('a', 1e6, { slots: 2 }) });
        stepAdmission(state, { type: 'capacity', slots: 7 });
        expect(state).toEqual(before);
      }),
    );
  });
});

/** Peers that ask again as soon as they were answered, each with so many requests at once. */
function takeTurns(machine: Machine, peers: readonly string[], { atOnce = 1, turns = 200 } = {}): string[] {
  let lastId = 0;
  const ask = (caller: string): void => machine.arrive(ofPeer(caller, ++lastId));
  for (let round = 0; round < atOnce; round++) {
    peers.forEach(ask);
  }
  const served: string[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const caller = machine.endOldest()?.caller;
    if (caller === undefined) {
      throw new Error('Nobody runs though peers wait.');
    }
    served.push(caller);
    ask(caller);
  }
  return served;
}

const countOf = (served: readonly string[], caller: string): number =>
  served.filter((other) => other === caller).length;

describe('fairness between peers', () => {
  it('is exact with one slot: those that always ask are served as often as each other', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 200 }),
        (count, atOnce, turns) => {
          const peers = callers.slice(0, count);
          const served = takeTurns(new Machine(1), peers, { atOnce, turns });
          const counts = peers.map((peer) => countOf(served, peer));
          expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('does not depend on how many requests a peer has waiting', () => {
    const machine = new Machine(1);
    let lastId = 0;
    const askAll = (caller: string, waiting: number): void => {
      while (machine.waits({ caller }).length < waiting) {
        machine.arrive(ofPeer(caller, ++lastId));
      }
    };
    const served: string[] = [];
    for (let turn = 0; turn < 300; turn++) {
      askAll('greedy', peerLimits.queuedPerPeer);
      askAll('modest', 1);
      askAll('other', 2);
      served.push(machine.endOldest()?.caller ?? 'nobody');
    }
    expect(['greedy', 'modest', 'other'].map((peer) => countOf(served, peer))).toEqual([100, 100, 100]);
  });

  it('holds for peers that ask anew only when they were answered', () => {
    const served = takeTurns(new Machine(1), ['a', 'b', 'c'], { atOnce: 1, turns: 30 });
    expect(served.slice(0, 6)).toEqual([...served.slice(0, 3), ...served.slice(0, 3)]);
  });

  it('makes a newcomer wait for who runs and one turn, whatever another peer floods with', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.integer({ min: 1, max: 60 }),
        fc.constantFrom('interactive' as const, 'batch' as const),
        (slots, flood, priority) => {
          const machine = new Machine(slots);
          machine.arrive(...Array.from({ length: flood }, (_, id) => ofPeer('flood', id, { priority })));
          machine.arrive(ofPeer('modest', 1000, { priority }));
          const startsBefore = machine.started.length;
          // As many as run may end and others begin, but the newcomer is among the first.
          for (let ends = 0; !machine.started.includes(1000); ends++) {
            expect(ends).toBeLessThan(1);
            machine.arrive(ofPeer('flood', 2000 + ends, { priority }));
            machine.endOldest();
          }
          expect(machine.started.length - startsBefore).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('does not let anybody pass a wide one whose turn has come', () => {
    const machine = new Machine(2);
    machine.arrive(ofPeer('wide', 1), ofPeer('long', 2));
    machine.leave(1);
    machine.arrive(ofPeer('wide', 3, { slots: 2 }));
    // They never had a turn, so they would be next if it were not given away.
    machine.arrive(...Array.from({ length: 50 }, (_, index) => ofPeer(`new ${index}`, 100 + index)));
    expect(machine.started).toEqual([1, 2]);
    machine.leave(2);
    expect(machine.started).toEqual([1, 2, 3]);
  });

  it('does not let a stream of narrow requests pass a wide one for ever', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 6 }),
        fc.integer({ min: 2, max: 6 }),
        fc.boolean(),
        (slots, wide, isAlwaysAnother) => {
          const machine = new Machine(slots, tightBounds);
          machine.arrive(ofPeer('wide', 999));
          machine.leave(999);
          machine.arrive(...Array.from({ length: slots }, (_, id) => ofPeer(`first ${id}`, id)));
          machine.arrive(ofPeer('wide', 1000, { slots: wide }));
          // Who never had a turn goes first, until the one of the wide request's peer is forgotten.
          const mostTurns = 3 * slots + (isAlwaysAnother ? tightBounds.queued : 0);
          for (let turn = 0; !machine.started.includes(1000); turn++) {
            machine.arrive(ofPeer(isAlwaysAnother ? `other ${turn}` : `other ${turn % 2}`, 2000 + turn));
            machine.endOldest();
            expect(turn).toBeLessThanOrEqual(mostTurns);
          }
        },
      ),
    );
  });

  it('holds for more peers than it remembers turns of', () => {
    const machine = new Machine(1, { ...tightBounds, queuedPerPeer: 1 });
    machine.arrive(ofPeer('first', 0), ofPeer('patient', 1));
    for (let turn = 0; !machine.started.includes(1); turn++) {
      machine.arrive(ofPeer(`other ${turn % 50}`, 100 + turn));
      machine.endOldest();
      expect(turn).toBeLessThan(3);
    }
    expect(machine.state.served.length).toBeLessThanOrEqual(tightBounds.queued);
  });
});

describe('a batch request', () => {
  const streak = queueLimits.interactiveStreak;

  /** Turns that batch requests waited behind interactive ones that never end, one slot at a time. */
  function turnsOfBatch(
    slots: number,
    batch: readonly Ticket[],
    interactive: (id: number, turn: number) => Ticket,
  ): number {
    const machine = new Machine(slots);
    machine.arrive(...Array.from({ length: slots }, (_, id) => interactive(id, id)));
    machine.arrive(...batch);
    let turn = 0;
    for (; batch.some(({ id }) => machine.waiting.has(id)); turn++) {
      machine.arrive(interactive(10_000 + turn, turn));
      machine.endOldest();
      expect(turn).toBeLessThan(1000);
    }
    return turn;
  }

  const slotsAndCount = [fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 })] as const;
  const batchOf = (count: number, fields: Partial<Ticket>): Ticket[] =>
    Array.from({ length: count }, (_, index) => ({ ...ticket(1000 + index, 'batch'), ...fields }));

  it('of the owner is starved by nobody’s interactive ones', () => {
    const streams: ReadonlyArray<(id: number, turn: number) => Ticket> = [
      (id) => ticket(id),
      (id) => ofPeer('a', id),
      (id, turn) => ofPeer(`peer ${turn % 5}`, id),
      (id, turn) => (turn % 2 === 0 ? ticket(id) : ofPeer('a', id)),
    ];
    fc.assert(
      fc.property(...slotsAndCount, fc.constantFrom(...streams), (slots, count, stream) => {
        expect(turnsOfBatch(slots, batchOf(count, {}), stream)).toBeLessThanOrEqual(count * (streak + 1));
      }),
    );
  });

  it('of a peer is not starved by interactive ones of peers', () => {
    fc.assert(
      fc.property(...slotsAndCount, (slots, count) => {
        const turns = turnsOfBatch(slots, batchOf(count, { caller: 'b' }), (id) => ofPeer('a', id));
        expect(turns).toBeLessThanOrEqual(count * (streak + 1));
        // But they do pass it.
        expect(turns).toBeGreaterThan(streak);
      }),
    );
  });

  it('of a peer is not passed by what the owner starts: that is no turn of peers', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(0), ofPeer('b', 1000, { priority: 'batch' }), ofPeer('a', 1001));
    for (let id = 1; id < 50; id++) {
      machine.arrive(ticket(id));
      machine.leave(id - 1);
    }
    machine.leave(49);
    expect(machine.started.at(-1)).toBe(1001);
  });

  it('of a peer waits for the owner’s, interactive and batch', () => {
    for (const priority of ['interactive', 'batch'] as const) {
      const machine = new Machine(1);
      machine.arrive(ticket(0, priority), ofPeer('a', 1000, { priority: 'batch' }));
      for (let id = 1; id < 50; id++) {
        machine.arrive(ticket(id, priority));
        machine.leave(id - 1);
      }
      expect(machine.started).not.toContain(1000);
      machine.leave(49);
      expect(machine.started.at(-1)).toBe(1000);
    }
  });
});

describe('the work of one step', () => {
  it('stays small with every place taken', () => {
    const random = seededRandom(1);
    const draw = (below: number): number => (random.bytes(1)[0] ?? 0) % below;
    let state = idleAdmission(8);
    let lastId = 0;
    const step = (event: AdmissionEvent): void => {
      [state] = stepAdmission(state, event);
    };
    const arriveAndLeave = (): void => {
      const caller = draw(3) === 0 ? undefined : `peer ${draw(40)}`;
      const priority = draw(2) === 0 ? 'interactive' : 'batch';
      step({ type: 'arrive', ticket: { id: ++lastId, priority, slots: 1 + draw(3), caller } });
      if (draw(4) === 0) {
        const [running] = state.running.keys();
        step({ type: 'leave', id: running ?? -1 });
      }
    };
    const msOf = (count: number): number => {
      const startMs = systemClock.monotonicMs();
      for (let done = 0; done < count; done++) {
        arriveAndLeave();
      }
      return systemClock.monotonicMs() - startMs;
    };
    msOf(5_000);
    expect(waitingCount(state)).toBeGreaterThan(0.9 * (peerLimits.queued + queueLimits.waiting));
    // The fastest of ten thousands, so that a busy machine does not matter. It takes about 7 ms.
    const fastestMs = Math.min(...Array.from({ length: 10 }, () => msOf(1_000)));
    expect(fastestMs).toBeLessThan(100);
  });
});
