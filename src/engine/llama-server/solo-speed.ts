// How fast a model reads its weights while one answer runs alone: what a planner needs to know of a device, and what only
// real answers tell. A pure counter that hears of answers as they begin and end.
import { engineLimits } from '../../util/limits/engine.ts';

/** One answer, from its begin to its end. */
export interface SoloRun {
  /** Answers that had begun when this one did. */
  readonly begun: number;
  readonly wasAlone: boolean;
}

export class SoloSpeed {
  readonly #activeBytes: number;
  readonly #speeds: number[] = [];
  #begun = 0;

  /** `activeBytes` of weights are read for each token. */
  constructor(activeBytes: number) {
    this.#activeBytes = activeBytes;
  }

  /** An answer begins; `running` are under way with it. */
  begin(running: number): SoloRun {
    return { begun: ++this.#begun, wasAlone: running === 1 };
  }

  /** It generated so many tokens at this speed. Counts only if nothing else began meanwhile. */
  end({ begun, wasAlone }: SoloRun, tokens: number, tokensPerSecond: number): void {
    if (wasAlone && begun === this.#begun && tokens >= engineLimits.soloTokens) {
      this.#speeds.push(tokensPerSecond);
      this.#speeds.splice(0, this.#speeds.length - engineLimits.soloAnswers);
    }
  }

  /** Median of the last answers; undefined before the first, and for models whose overhead would be measured. */
  get weightBytesPerSecond(): number | undefined {
    const middle = this.#speeds.toSorted((one, other) => one - other)[this.#speeds.length >> 1];
    return middle === undefined || this.#activeBytes < engineLimits.soloBytes
      ? undefined
      : middle * this.#activeBytes;
  }
}
