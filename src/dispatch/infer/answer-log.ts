// The event frames of one answer between its source and its caller: those that wait to be written, and the newest
// of those that were, because a lost connection takes some with it. Pure; frames are counted from 0.
import { assertInvariant } from '../../util/errors.ts';
import { netLimits } from '../../util/limits/net.ts';

/** Whether a caller that has so many frames can be given the rest: yes, no more, or it cannot have as many. */
export type Standing = 'kept' | 'dropped' | 'unwritten';

const none = new Uint8Array();

/** Sizes are of frames and what keeping one costs (netLimits.pieceBytes), so that many tiny ones are bounded too. */
export class AnswerLog {
  readonly #mostWrittenBytes: number;
  /** Frames from number `#base` on; what was before `#first` has been dropped. */
  #frames: Uint8Array[] = [];
  #base = 0;
  #first = 0;
  /** Number of the frame that is written next. */
  #next = 0;
  /** Frames that were written at least once, as far as the writer knows. */
  #everWritten = 0;
  #writtenBytes = 0;
  #waitingBytes = 0;
  #isComplete = false;

  /** `mostWrittenBytes` is the size of the frames that are kept after they were written. */
  constructor(mostWrittenBytes: number) {
    this.#mostWrittenBytes = mostWrittenBytes;
  }

  add(frame: Uint8Array): void {
    assertInvariant(!this.#isComplete, 'nothing is added to a complete answer');
    this.#frames.push(frame);
    this.#waitingBytes += sizeOf(frame);
  }

  /** The last frame was added. */
  complete(): void {
    this.#isComplete = true;
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Size of the frames that wait to be written. They are never dropped. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get keptBytes(): number {
    return this.#writtenBytes + this.#waitingBytes;
  }

  standingOf(framesHeld: number): Standing {
    if (framesHeld > this.#everWritten) {
      return 'unwritten';
    }
    return framesHeld < this.#first ? 'dropped' : 'kept';
  }

  /** From now on the frames from number `framesHeld` on wait, all of which are kept. */
  goOnFrom(framesHeld: number): void {
    assertInvariant(this.standingOf(framesHeld) === 'kept', 'an answer goes on from a frame that is kept');
    this.#moveTo(framesHeld);
  }

  /**
   * Frames to be written now, hardly more than `mostBytes`; empty if none waits. From here on they count as written:
   * even of a write that fails the caller may have all. The oldest frames above what is kept are dropped.
   */
  take(mostBytes: number): readonly Uint8Array[] {
    const frames: Uint8Array[] = [];
    const end = this.#base + this.#frames.length;
    for (let number = this.#next, bytes = 0; number < end && bytes < mostBytes; number++) {
      const frame = this.#frame(number);
      frames.push(frame);
      bytes += frame.length;
    }
    this.#moveTo(this.#next + frames.length);
    this.#everWritten = Math.max(this.#everWritten, this.#next);
    while (this.#writtenBytes > this.#mostWrittenBytes) {
      this.#dropFirst();
    }
    return frames;
  }

  /** Drops everything: nobody will take the answer up. */
  clear(): void {
    this.#frames = [];
    this.#writtenBytes = 0;
    this.#waitingBytes = 0;
    this.#base = this.#everWritten;
    this.#first = this.#everWritten;
    this.#next = this.#everWritten;
  }

  #moveTo(number: number): void {
    for (; this.#next < number; this.#next++) {
      this.#countAsWritten(sizeOf(this.#frame(this.#next)));
    }
    for (; this.#next > number; this.#next--) {
      this.#countAsWritten(-sizeOf(this.#frame(this.#next - 1)));
    }
  }

  #countAsWritten(bytes: number): void {
    this.#writtenBytes += bytes;
    this.#waitingBytes -= bytes;
  }

  /** Taking the first away from a long array would cost as much as it is long: places are freed many at a time. */
  #dropFirst(): void {
    const place = this.#first - this.#base;
    this.#writtenBytes -= sizeOf(this.#frame(this.#first));
    this.#frames[place] = none;
    this.#first++;
    if (2 * (place + 1) > this.#frames.length) {
      this.#frames = this.#frames.slice(place + 1);
      this.#base = this.#first;
    }
  }

  #frame(number: number): Uint8Array {
    const frame = this.#frames[number - this.#base];
    assertInvariant(frame !== undefined, 'a frame of an answer is kept');
    return frame;
  }
}

function sizeOf(frame: Uint8Array): number {
  return frame.length + netLimits.pieceBytes;
}
