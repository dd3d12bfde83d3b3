// Who may run on a model now and who waits, as a pure state machine: (state, event) -> [state, effects].
// First come, first served within a priority; interactive before batch, but batch is never starved.
import type { Priority } from '../inference/request.ts';
import { queueLimits } from '../util/limits.ts';

/** A request that wants to run. */
export interface Ticket {
  readonly id: number;
  readonly priority: Priority;
  /** Slots it takes: one per choice. More than there are counts as all of them. */
  readonly slots: number;
}

export interface Admission {
  /** Slots of the model. */
  readonly capacity: number;
  /** Slots held, by ticket id. */
  readonly running: ReadonlyMap<number, number>;
  readonly waiting: { readonly [priority in Priority]: readonly Ticket[] };
  /** Interactive tickets started since a batch ticket last had its turn while it waited. */
  readonly streak: number;
}

export type AdmissionEvent =
  | { readonly type: 'arrive'; readonly ticket: Ticket }
  /** It has finished, or given up waiting. */
  | { readonly type: 'leave'; readonly id: number }
  | { readonly type: 'capacity'; readonly slots: number };

export type AdmissionEffect =
  | { readonly type: 'start'; readonly id: number }
  /** The queue is full. */
  | { readonly type: 'refuse'; readonly id: number };

type Step = [state: Admission, effects: readonly AdmissionEffect[]];

/** An idle queue before a model with `capacity` slots. */
export function idleAdmission(capacity: number): Admission {
  return { capacity, running: new Map(), waiting: { interactive: [], batch: [] }, streak: 0 };
}

/** The state after an event, and what is to be done about it, in order. */
export function stepAdmission(state: Admission, event: AdmissionEvent): Step {
  switch (event.type) {
    case 'arrive':
      return arrive(state, event.ticket);
    case 'leave':
      return startWaiting(without(state, event.id));
    case 'capacity':
      return startWaiting({ ...state, capacity: Math.max(1, event.slots) });
  }
}

export function waitingCount(state: Admission): number {
  return state.waiting.interactive.length + state.waiting.batch.length;
}

function arrive(state: Admission, ticket: Ticket): Step {
  const [started, effects] = startWaiting(withWaiting(state, ticket.priority, (line) => [...line, ticket]));
  const isWaiting = !started.running.has(ticket.id);
  if (isWaiting && waitingCount(started) > queueLimits.waiting) {
    return [without(started, ticket.id), [...effects, { type: 'refuse', id: ticket.id }]];
  }
  return [started, effects];
}

/** Starts tickets while the one whose turn it is fits. A wide one is not passed, or it would wait for ever. */
function startWaiting(state: Admission): Step {
  const effects: AdmissionEffect[] = [];
  let current = state;
  for (let next = nextInTurn(current); next !== undefined; next = nextInTurn(current)) {
    const slots = Math.min(next.slots, current.capacity);
    if (slotsHeld(current) + slots > current.capacity) {
      break;
    }
    current = started(current, next, slots);
    effects.push({ type: 'start', id: next.id });
  }
  return [current, effects];
}

function nextInTurn({ waiting, streak }: Admission): Ticket | undefined {
  const [interactive] = waiting.interactive;
  const [batch] = waiting.batch;
  const isBatchTurn = streak >= queueLimits.interactiveStreak;
  return isBatchTurn ? (batch ?? interactive) : (interactive ?? batch);
}

function started(state: Admission, ticket: Ticket, slots: number): Admission {
  const passedBatch = ticket.priority === 'interactive' && state.waiting.batch.length > 0;
  return {
    ...withWaiting(state, ticket.priority, (line) => line.slice(1)),
    running: new Map(state.running).set(ticket.id, slots),
    streak: passedBatch ? state.streak + 1 : 0,
  };
}

function slotsHeld(state: Admission): number {
  let held = 0;
  for (const slots of state.running.values()) {
    held += slots;
  }
  return held;
}

function without(state: Admission, id: number): Admission {
  const running = new Map(state.running);
  if (running.delete(id)) {
    return { ...state, running };
  }
  const others = (line: readonly Ticket[]): readonly Ticket[] => line.filter((ticket) => ticket.id !== id);
  return {
    ...state,
    waiting: { interactive: others(state.waiting.interactive), batch: others(state.waiting.batch) },
  };
}

function withWaiting(
  state: Admission,
  priority: Priority,
  change: (line: readonly Ticket[]) => readonly Ticket[],
): Admission {
  return { ...state, waiting: { ...state.waiting, [priority]: change(state.waiting[priority]) } };
}
