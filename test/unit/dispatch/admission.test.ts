// The admission state machine under arbitrary arrivals, ends and changes of capacity.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Admission,
  type AdmissionEffect,
  type AdmissionEvent,
  idleAdmission,
  stepAdmission,
  type Ticket,
  waitingCount,
} from '../../../src/dispatch/admission.ts';
import { queueLimits } from '../../../src/util/limits.ts';

const ticket = (id: number, priority: Ticket['priority'] = 'interactive', slots = 1): Ticket => ({
  id,
  priority,
  slots,
});

/** A machine with what it did, for tests that feed it event by event. */
class Machine {
  state: Admission;
  readonly started: number[] = [];
  readonly refused: number[] = [];

  constructor(slots: number) {
    this.state = idleAdmission(slots);
  }

  step(event: AdmissionEvent): readonly AdmissionEffect[] {
    const [state, effects] = stepAdmission(this.state, event);
    this.state = state;
    for (const { type, id } of effects) {
      (type === 'start' ? this.started : this.refused).push(id);
    }
    return effects;
  }

  arrive(...tickets: Ticket[]): void {
    for (const one of tickets) {
      this.step({ type: 'arrive', ticket: one });
    }
  }

  get held(): number {
    return [...this.state.running.values()].reduce((sum, slots) => sum + slots, 0);
  }
}

describe('admission', () => {
  it('starts what fits and makes the rest wait in order', () => {
    const machine = new Machine(2);
    machine.arrive(ticket(1), ticket(2), ticket(3), ticket(4));
    expect(machine.started).toEqual([1, 2]);
    machine.step({ type: 'leave', id: 2 });
    machine.step({ type: 'leave', id: 1 });
    expect(machine.started).toEqual([1, 2, 3, 4]);
  });

  it('lets interactive requests pass batch ones', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(1), ticket(2, 'batch'), ticket(3));
    machine.step({ type: 'leave', id: 1 });
    expect(machine.started).toEqual([1, 3]);
  });

  it('gives a batch request its turn after a bounded number of interactive ones', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(0), ticket(1000, 'batch'));
    for (let id = 1; !machine.started.includes(1000); id++) {
      machine.arrive(ticket(id));
      machine.step({ type: 'leave', id: id - 1 });
      expect(id).toBeLessThanOrEqual(queueLimits.interactiveStreak + 1);
    }
  });

  it('does not let narrow requests pass a wide one whose turn it is', () => {
    const machine = new Machine(2);
    machine.arrive(ticket(1), ticket(2, 'interactive', 2), ticket(3));
    expect(machine.started).toEqual([1]);
    machine.step({ type: 'leave', id: 1 });
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
    machine.arrive(...Array.from({ length: queueLimits.waiting + 2 }, (_, id) => ticket(id)));
    expect(machine.refused).toEqual([queueLimits.waiting + 1]);
    expect(waitingCount(machine.state)).toBe(queueLimits.waiting);
  });

  it('forgets who gives up waiting', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(1), ticket(2), ticket(3));
    machine.step({ type: 'leave', id: 2 });
    machine.step({ type: 'leave', id: 1 });
    expect(machine.started).toEqual([1, 3]);
  });

  it('starts more when the capacity grows', () => {
    const machine = new Machine(1);
    machine.arrive(ticket(1), ticket(2), ticket(3));
    machine.step({ type: 'capacity', slots: 3 });
    expect(machine.started).toEqual([1, 2, 3]);
  });
});

type Move =
  | { readonly kind: 'arrive'; readonly priority: Ticket['priority']; readonly slots: number }
  | { readonly kind: 'leave'; readonly which: number }
  | { readonly kind: 'capacity'; readonly slots: number };

const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('arrive' as const),
      priority: fc.constantFrom('interactive' as const, 'batch' as const),
      slots: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('leave' as const), which: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('capacity' as const), slots: fc.integer({ min: 1, max: 6 }) }),
  },
);

/** Feeds moves in, checking after each what must always hold. Returns the machine and its tickets. */
function play(moves: readonly Move[]): { machine: Machine; tickets: Map<number, Ticket> } {
  const machine = new Machine(2);
  const tickets = new Map<number, Ticket>();
  for (const [id, one] of moves.entries()) {
    const before = machine.held;
    switch (one.kind) {
      case 'arrive': {
        const arriving = ticket(id, one.priority, one.slots);
        tickets.set(id, arriving);
        machine.step({ type: 'arrive', ticket: arriving });
        break;
      }
      case 'leave': {
        const present = [...tickets.keys()];
        const leaving = present[one.which % Math.max(1, present.length)];
        if (leaving !== undefined) {
          tickets.delete(leaving);
          machine.step({ type: 'leave', id: leaving });
        }
        break;
      }
      case 'capacity':
        machine.step({ type: 'capacity', slots: one.slots });
        break;
    }
    // After a capacity cut more may run than there are slots, but no more are started.
    expect(machine.held).toBeLessThanOrEqual(Math.max(machine.state.capacity, before));
  }
  return { machine, tickets };
}

describe('admission, whatever happens', () => {
  it('never runs more than there are slots', () => {
    fc.assert(fc.property(fc.array(move, { maxLength: 60 }), (moves) => void play(moves)));
  });

  it('starts each request at most once, and first come first served within a priority', () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
        const { machine } = play(moves);
        expect(new Set(machine.started).size).toBe(machine.started.length);
        for (const priority of ['interactive', 'batch'] as const) {
          const ids = machine.started.filter((id) => {
            const one = moves[id];
            return one?.kind === 'arrive' && one.priority === priority;
          });
          expect(ids).toEqual([...ids].sort((a, b) => a - b));
        }
      }),
    );
  });

  it('starts everybody in the end if those who run come to an end', () => {
    fc.assert(
      fc.property(fc.array(move, { maxLength: 60 }), (moves) => {
        const { machine, tickets } = play(moves);
        while (machine.state.running.size > 0) {
          const [running] = machine.state.running.keys();
          machine.step({ type: 'leave', id: running ?? -1 });
        }
        expect(waitingCount(machine.state)).toBe(0);
        expect(machine.started).toEqual(expect.arrayContaining([...tickets.keys()]));
      }),
    );
  });

  it('never starves a batch request behind a stream of interactive ones', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 5 }), (slots, batches) => {
        const machine = new Machine(slots);
        machine.arrive(...Array.from({ length: slots }, (_, id) => ticket(id)));
        machine.arrive(...Array.from({ length: batches }, (_, index) => ticket(1000 + index, 'batch')));
        for (let turn = 0; turn < batches * (queueLimits.interactiveStreak + 1); turn++) {
          machine.arrive(ticket(10_000 + turn));
          const [running] = machine.state.running.keys();
          machine.step({ type: 'leave', id: running ?? -1 });
        }
        expect(machine.state.waiting.batch).toEqual([]);
      }),
    );
  });
});
