// A Clock that stands still until a test moves it. Timers fire in the order of their time, and what they
// set off (promises, microtasks) has run before the next one fires.
import type { Clock, Timer } from '../../src/util/clock.ts';

interface PendingTimer {
  readonly dueMs: number;
  readonly fire: () => void;
}

export class ManualClock implements Clock {
  readonly #startWallMs: number;
  #nowMs = 0;
  #timers: PendingTimer[] = [];

  constructor(startWallMs = Date.UTC(2026, 0, 1)) {
    this.#startWallMs = startWallMs;
  }

  wallMs(): number {
    return this.#startWallMs + Math.floor(this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, fire: () => void): Timer {
    const timer = { dueMs: this.#nowMs + Math.max(0, delayMs), fire };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Timers that have neither fired nor been cancelled. */
  get pendingTimers(): number {
    return this.#timers.length;
  }

  /** Milliseconds until the next timer fires; undefined if none is pending. */
  get nextTimerMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.dueMs - this.#nowMs;
  }

  /** Time passes while the process does not run: what is due fires late, with the next advance. */
  stall(byMs: number): void {
    this.#nowMs += byMs;
  }

  /** Moves time on, firing what is due on the way, timers set on the way included. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    await this.settle();
    for (let next = this.#next(); next !== undefined && next.dueMs <= untilMs; next = this.#next()) {
      const due = next;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.#nowMs = Math.max(this.#nowMs, due.dueMs);
      due.fire();
      await this.settle();
    }
    this.#nowMs = untilMs;
  }

  /** Lets every promise that can settle without time or input do so. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The earliest timer; of equal ones the one set first. */
  #next(): PendingTimer | undefined {
    return this.#timers.reduce<PendingTimer | undefined>(
      (first, timer) => (first === undefined || timer.dueMs < first.dueMs ? timer : first),
      undefined,
    );
  }
}
