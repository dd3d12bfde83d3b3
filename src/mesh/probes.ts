// Asks a member on behalf of another whether it lives: a beat goes to it, and its answer is passed on. Who gets no
// answer says nothing, so that silence needs no message.
import type { PeerId } from '../trust/keys.ts';
import { beatLimits } from '../util/limits/mesh.ts';

interface Followed {
  readonly asker: PeerId;
  readonly nonce: Uint8Array;
  readonly untilMs: number;
}

export class Probes {
  /** By the hex of the nonce of the beat that went out for it, the oldest first. */
  readonly #followed = new Map<string, Followed>();
  /** When the probes of each member were followed. */
  readonly #times = new Map<PeerId, number[]>();

  /** Whether one more probe of `asker` is followed now. */
  mayFollow(asker: PeerId, nowMs: number): boolean {
    const times = this.#recent(asker, nowMs);
    return times.length < beatLimits.probes && this.#followed.size < beatLimits.probesInAll;
  }

  /** A beat went out to answer `asker`. */
  follow(asker: PeerId, nonce: Uint8Array, beat: string, nowMs: number): void {
    this.#followed.set(beat, { asker, nonce, untilMs: nowMs + beatLimits.probeMs });
    this.#times.set(asker, [...this.#recent(asker, nowMs), nowMs]);
  }

  /** A beat was answered: whom to tell, if it was for somebody who still waits. */
  answered(beat: string, nowMs: number): { readonly asker: PeerId; readonly nonce: Uint8Array } | undefined {
    const followed = this.#followed.get(beat);
    this.#followed.delete(beat);
    return followed !== undefined && nowMs <= followed.untilMs ? followed : undefined;
  }

  /** Forgets what nobody waits for any more. */
  tidy(nowMs: number): void {
    for (const [beat, { untilMs }] of this.#followed) {
      if (untilMs < nowMs) {
        this.#followed.delete(beat);
      }
    }
    for (const asker of [...this.#times.keys()]) {
      if (this.#recent(asker, nowMs).length === 0) {
        this.#times.delete(asker);
      }
    }
  }

  #recent(asker: PeerId, nowMs: number): number[] {
    return (this.#times.get(asker) ?? []).filter((atMs) => nowMs - atMs < beatLimits.reprobeMs);
  }
}
