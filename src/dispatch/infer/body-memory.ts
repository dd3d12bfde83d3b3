// How much memory the bodies of requests may take that are being received and answered, of one peer and in all. Pure.
import type { PeerId } from '../../trust/keys.ts';
import { MeshnodeError } from '../../util/errors.ts';
import { inferLimits } from '../../util/limits/dispatch.ts';

export class BodyMemory {
  readonly #bytesOf = new Map<PeerId, number>();
  #bytes = 0;

  /** Takes room for a body before it comes; the returned function gives it back, once. Throws `queue_full`. */
  reserve(peer: PeerId, bytes: number): () => void {
    const ofPeer = this.#bytesOf.get(peer) ?? 0;
    if (ofPeer + bytes > inferLimits.bodyBytesPerPeer || this.#bytes + bytes > inferLimits.bodyBytesInAll) {
      throw new MeshnodeError('queue_full', 'Too many large requests are being answered.', {
        retryAfterSeconds: inferLimits.retryAfterSeconds,
      });
    }
    this.#add(peer, bytes);
    let held = true;
    return () => {
      if (held) {
        held = false;
        this.#add(peer, -bytes);
      }
    };
  }

  /** Bytes that are reserved. */
  get reservedBytes(): number {
    return this.#bytes;
  }

  #add(peer: PeerId, bytes: number): void {
    this.#bytes += bytes;
    const ofPeer = (this.#bytesOf.get(peer) ?? 0) + bytes;
    if (ofPeer > 0) {
      this.#bytesOf.set(peer, ofPeer);
    } else {
      this.#bytesOf.delete(peer);
    }
  }
}
