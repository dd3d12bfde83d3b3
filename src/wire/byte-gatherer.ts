// Puts bytes together that come in pieces, up to a bound. What it holds is at most twice what has come,
// however small the pieces and whatever length was announced.
import { assertInvariant } from '../util/errors.ts';

/** Room for the first piece, bytes. */
const firstCapacity = 1024;

export class ByteGatherer {
  readonly #mostBytes: number;
  #bytes = new Uint8Array(0);
  #length = 0;

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** Bytes gathered so far. */
  get length(): number {
    return this.#length;
  }

  /** Adds a copy of `piece`. The caller has checked that it fits the bound. */
  add(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    assertInvariant(length <= this.#mostBytes, 'bytes were gathered past their bound');
    if (length > this.#bytes.length) {
      const capacity = Math.max(length, 2 * this.#bytes.length, firstCapacity);
      const larger = new Uint8Array(Math.min(capacity, this.#mostBytes));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = length;
  }

  /** What was gathered; the gatherer is empty again. */
  take(): Uint8Array {
    const gathered = this.#bytes.subarray(0, this.#length);
    this.#bytes = new Uint8Array(0);
    this.#length = 0;
    return gathered;
  }
}
