// The only time of a simulation: events in the order of their time, and of their insertion where times are
// equal. Nothing here waits; a node's own idea of the date is virtual time with an error.
import type { Now } from '../../src/mesh/membership-events.ts';

/** Something that will happen. Cancelling what has happened or was cancelled does nothing. */
export interface Scheduled {
  cancel(): void;
}

interface Entry {
  readonly timeMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** The date at virtual time 0, milliseconds since the Unix epoch: 2026-01-01. */
export const startOfTimeMs = 1_767_225_600_000;

/** A power of two: sums and differences of times are exact, so that nobody is woken a hair too early for ever. */
const ticksPerMs = 1024;

export class VirtualClock {
  #nowMs = 0;
  #insertions = 0;
  /** A binary heap, the earliest on top. */
  readonly #heap: Entry[] = [];

  /** Virtual milliseconds since the simulation began. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** `timeMs` is rounded up to a tick. */
  at(timeMs: number, run: () => void): Scheduled {
    const tick = Math.ceil(Math.max(timeMs, this.#nowMs) * ticksPerMs) / ticksPerMs;
    const entry: Entry = { timeMs: tick, order: this.#insertions++, run };
    this.#push(entry);
    return {
      cancel: () => {
        entry.run = undefined;
      },
    };
  }

  after(delayMs: number, run: () => void): Scheduled {
    return this.at(this.#nowMs + delayMs, run);
  }

  /** Runs everything that is due up to `timeMs`, which then is the time. */
  runUntil(timeMs: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.timeMs <= timeMs; next = this.#heap[0]) {
      this.#pop();
      this.#nowMs = next.timeMs;
      next.run?.();
    }
    this.#nowMs = Math.max(this.#nowMs, timeMs);
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let hole = heap.length;
    heap.push(entry);
    for (;;) {
      const above = (hole - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, entry)) {
        heap[hole] = entry;
        return;
      }
      heap[hole] = parent;
      hole = above;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) {
      return;
    }
    let hole = 0;
    for (;;) {
      const left = 2 * hole + 1;
      const [first, second] = [heap[left], heap[left + 1]];
      const child = first !== undefined && second !== undefined && isBefore(second, first) ? left + 1 : left;
      const smaller = heap[child];
      if (smaller === undefined || isBefore(last, smaller)) {
        heap[hole] = last;
        return;
      }
      heap[hole] = smaller;
      hole = child;
    }
  }
}

function isBefore(one: Entry, other: Entry): boolean {
  return one.timeMs < other.timeMs || (one.timeMs === other.timeMs && one.order < other.order);
}

/** How far a machine's idea of the date is off. */
export interface ClockError {
  readonly skewMs: number;
  /** Seconds gained in a million. */
  readonly driftPpm: number;
}

/** What one process reads off its machine: a date that is off, and a count of milliseconds since it began. */
export class ProcessClock {
  readonly #clock: VirtualClock;
  readonly #error: ClockError;
  readonly #startedMs: number;

  constructor(clock: VirtualClock, error: ClockError) {
    this.#clock = clock;
    this.#error = error;
    this.#startedMs = clock.nowMs;
  }

  now(): Now {
    const { nowMs } = this.#clock;
    const wallMs = Math.round(startOfTimeMs + nowMs * (1 + this.#error.driftPpm / 1e6) + this.#error.skewMs);
    return { wallMs, monotonicMs: nowMs - this.#startedMs };
  }

  /** The virtual time at which this process counts `monotonicMs`. */
  virtualMs(monotonicMs: number): number {
    return this.#startedMs + monotonicMs;
  }
}
