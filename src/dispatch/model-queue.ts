// The queue before one model: runs the admission state machine for callers that await their turn, and
// learns how long an answer takes, to tell refused callers when to come back.
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits/api.ts';
import { peerLimits } from '../util/limits/dispatch.ts';
import {
  type Admission,
  type AdmissionEvent,
  idleAdmission,
  slotsHeld,
  stepAdmission,
  type Ticket,
  type WaitingBound,
  waitingCount,
} from './admission.ts';

/** A request's place in the queue. */
export interface Place {
  /** Whether it has to wait for its turn. */
  readonly waits: boolean;
  /** Resolves when it may run; rejects with `queue_full`. */
  readonly turn: Promise<void>;
  /** Gives the slot back, or leaves the queue. Idempotent. */
  leave(): void;
}

/** The load of one model: what the owner and the other nodes of the mesh are told of it. */
export interface QueueFigures {
  readonly slots: number;
  /** Requests that run. */
  readonly running: number;
  /** Slots that they hold: a request of several choices holds several. */
  readonly busySlots: number;
  /** Requests that wait for a slot. */
  readonly waiting: number;
}

/** Weight of the newest answer in the average time of one. */
const newestWeight = 0.2;
/** What an answer is taken to need before the first has been seen. */
const firstGuessMs = 5_000;

export class ModelQueue {
  readonly #model: string;
  readonly #nowMs: () => number;
  readonly #guests = new Map<number, Guest>();
  #state: Admission;
  #lastId = 0;
  #averageMs = firstGuessMs;
  /** Monotonic time of the owner's last request. */
  #ownerAskedMs = Number.NEGATIVE_INFINITY;

  /** `nowMs` is monotonic. */
  constructor(model: string, slots: number, nowMs: () => number) {
    this.#model = model;
    this.#nowMs = nowMs;
    this.#state = { ...idleAdmission(slots), isOwnerAway: true };
  }

  figures(): QueueFigures {
    const { capacity, running } = this.#state;
    const { local, peers } = slotsHeld(this.#state);
    return {
      slots: capacity,
      running: running.size,
      busySlots: local + peers,
      waiting: waitingCount(this.#state),
    };
  }

  /** The model's process may come back with another number of slots. */
  setSlots(slots: number): void {
    if (slots !== this.#state.capacity) {
      this.#apply({ type: 'capacity', slots });
    }
  }

  /** Joins the queue. A request of `n` choices wants `n` slots; without a caller it is the owner's. */
  enter(request: Omit<Ticket, 'id'>): Place {
    const id = ++this.#lastId;
    const turn = Promise.withResolvers<void>();
    // Who left early no longer listens.
    turn.promise.catch(() => {});
    this.#guests.set(id, { turn });
    this.#noteOwner(request.caller === undefined);
    this.#apply({ type: 'arrive', ticket: { ...request, id } });
    return {
      waits: this.#guests.has(id) && !this.#state.running.has(id),
      turn: turn.promise,
      leave: () => this.#leave(id),
    };
  }

  /** A machine that only serves others lends them all of its slots. */
  #noteOwner(isOwner: boolean): void {
    const nowMs = this.#nowMs();
    this.#ownerAskedMs = isOwner ? nowMs : this.#ownerAskedMs;
    const isAway = nowMs - this.#ownerAskedMs > peerLimits.ownerAwayMs;
    if (isAway !== this.#state.isOwnerAway) {
      this.#apply({ type: 'owner', isAway });
    }
  }

  #leave(id: number): void {
    const guest = this.#guests.get(id);
    if (guest === undefined) {
      return;
    }
    this.#guests.delete(id);
    if (guest.startedMs !== undefined) {
      this.#averageMs += newestWeight * (this.#nowMs() - guest.startedMs - this.#averageMs);
    }
    guest.turn.reject(new MeshnodeError('cancelled', 'The request left the queue.'));
    this.#apply({ type: 'leave', id });
  }

  #apply(event: AdmissionEvent): void {
    const [state, effects] = stepAdmission(this.#state, event);
    this.#state = state;
    for (const effect of effects) {
      const guest = this.#guests.get(effect.id);
      assertInvariant(guest !== undefined, 'admission speaks only of guests');
      if (effect.type === 'start') {
        guest.startedMs = this.#nowMs();
        guest.turn.resolve();
      } else {
        this.#guests.delete(effect.id);
        guest.turn.reject(this.#full(effect.bound));
      }
    }
  }

  #full(bound: WaitingBound): MeshnodeError {
    const { bounds, capacity } = this.#state;
    const untilRoomSeconds = Math.ceil(this.#averageMs / capacity / 1000);
    const waiting = `${bounds[bound]} ${requestsOf[bound]}`;
    return new MeshnodeError('queue_full', `${waiting} are waiting for ${this.#model} already.`, {
      retryAfterSeconds: Math.min(apiLimits.retryAfterSeconds, Math.max(1, untilRoomSeconds)),
    });
  }
}

/** Whose requests fill the queue, as the refused caller is told. */
const requestsOf: Readonly<Record<WaitingBound, string>> = {
  waiting: 'requests',
  queuedPerPeer: 'requests of the same node',
  queued: 'requests of other nodes',
};

/** A request in the queue or running. */
interface Guest {
  readonly turn: PromiseWithResolvers<void>;
  startedMs?: number;
}
