// The queue before one model: runs the admission state machine for callers that await their turn, and
// learns how long an answer takes, to tell refused callers when to come back.
import type { Priority } from '../inference/request.ts';
import { assertInvariant, MeshnodeError } from '../util/errors.ts';
import { apiLimits } from '../util/limits.ts';
import {
  type Admission,
  type AdmissionEvent,
  idleAdmission,
  stepAdmission,
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

export interface QueueFigures {
  readonly slots: number;
  readonly running: number;
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

  /** `nowMs` is monotonic. */
  constructor(model: string, slots: number, nowMs: () => number) {
    this.#model = model;
    this.#nowMs = nowMs;
    this.#state = idleAdmission(slots);
  }

  figures(): QueueFigures {
    const { capacity, running } = this.#state;
    return { slots: capacity, running: running.size, waiting: waitingCount(this.#state) };
  }

  /** The model's process may come back with another number of slots. */
  setSlots(slots: number): void {
    if (slots !== this.#state.capacity) {
      this.#apply({ type: 'capacity', slots });
    }
  }

  /** Joins the queue. A request of `n` choices wants `n` slots. */
  enter(priority: Priority, slots: number): Place {
    const id = ++this.#lastId;
    const turn = Promise.withResolvers<void>();
    // Who left early no longer listens.
    turn.promise.catch(() => {});
    this.#guests.set(id, { turn });
    this.#apply({ type: 'arrive', ticket: { id, priority, slots } });
    return {
      waits: this.#guests.has(id) && !this.#state.running.has(id),
      turn: turn.promise,
      leave: () => this.#leave(id),
    };
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
    for (const { type, id } of effects) {
      const guest = this.#guests.get(id);
      assertInvariant(guest !== undefined, 'admission speaks only of guests');
      if (type === 'start') {
        guest.startedMs = this.#nowMs();
        guest.turn.resolve();
      } else {
        this.#guests.delete(id);
        guest.turn.reject(this.#full());
      }
    }
  }

  #full(): MeshnodeError {
    const { slots, waiting } = this.figures();
    const untilRoomSeconds = Math.ceil(this.#averageMs / slots / 1000);
    return new MeshnodeError('queue_full', `${waiting} requests are waiting for ${this.#model} already.`, {
      retryAfterSeconds: Math.min(apiLimits.retryAfterSeconds, Math.max(1, untilRoomSeconds)),
    });
  }
}

/** A request in the queue or running. */
interface Guest {
  readonly turn: PromiseWithResolvers<void>;
  startedMs?: number;
}
