// The tokens of one answer: as its usage says, or, where it broke off before that, those that were seen.
import type { InferenceEvent } from '../inference/events.ts';

export class TokenCount {
  #seen = 0;
  #told: number | undefined;

  event(event: InferenceEvent): void {
    if (event.type === 'delta') {
      this.#seen += event.tokenIds?.length ?? 1;
    } else if (event.type === 'usage') {
      this.#told = event.prompt + event.completion;
    }
  }

  get total(): number {
    return this.#told ?? this.#seen;
  }
}
