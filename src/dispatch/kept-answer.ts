// The pieces of an answer that its reader does not have yet, so that it may be begun anew elsewhere: as many bytes as
// this is worth, and no more.
import type { InferenceEvent } from '../inference/events.ts';
import { passLimits } from '../util/limits/dispatch.ts';

export class KeptAnswer {
  readonly #events: InferenceEvent[] = [];
  #bytes = 0;

  /** Keeps an event, full or not. */
  keep(event: InferenceEvent): void {
    this.#events.push(event);
    this.#bytes += passLimits.keptEventBytes + bytesOf(event);
  }

  get isFull(): boolean {
    return this.#bytes > passLimits.keptBytes;
  }

  /** All events, in their order; none of them is kept any more. */
  take(): InferenceEvent[] {
    this.#bytes = 0;
    return this.#events.splice(0);
  }
}

/** About what an event takes in memory beside itself. */
function bytesOf(event: InferenceEvent): number {
  switch (event.type) {
    case 'delta': {
      const { text = '', reasoning = '', toolCall, tokenIds = [], logprobs, extra } = event;
      // Rare, and in shapes that only writing them out measures.
      const others = [toolCall, logprobs, extra].map((part) =>
        part === undefined ? 0 : JSON.stringify(part).length,
      );
      return (
        others.reduce((sum, bytes) => sum + 2 * bytes, 2 * (text.length + reasoning.length)) +
        8 * tokenIds.length
      );
    }
    case 'vector':
      return event.values.byteLength;
    default:
      return 0;
  }
}
