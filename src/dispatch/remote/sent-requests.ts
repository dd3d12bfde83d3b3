// Requests that this node has sent to one replica: what its last beat could not count yet. Pure.

interface Sent {
  readonly atMs: number;
  /** Undefined while it is under way. */
  endedMs: number | undefined;
}

export class SentRequests {
  readonly #sent = new Set<Sent>();
  /** Ended requests are of no interest after this long, ms: no beat that is believed is older. */
  readonly #memoryMs: number;

  constructor(memoryMs: number) {
    this.#memoryMs = memoryMs;
  }

  /** A request goes out; the returned function says that it is over. Times are monotonic. */
  begin(nowMs: number): (endedMs: number) => void {
    const sent: Sent = { atMs: nowMs, endedMs: undefined };
    this.#forget(nowMs);
    this.#sent.add(sent);
    return (endedMs) => {
      sent.endedMs ??= endedMs;
    };
  }

  /** Those that are kept in mind. */
  get remembered(): number {
    return this.#sent.size;
  }

  /** Those under way. */
  underWay(): number {
    return this.#count(({ endedMs }) => endedMs === undefined);
  }

  /**
   * How many the replica has now, by a beat that came at `atMs` and says `counted`. What was sent less than a round trip
   * before it comes on top: the two have crossed. What ended since is off. An estimate where a request was long on its
   * way; but it has those under way from here at least, whatever the beat says.
   */
  since(counted: number, atMs: number, rttMs: number): number {
    const isCounted = (sent: Sent): boolean => sent.atMs <= atMs - rttMs;
    const begun = this.#count((sent) => sent.endedMs === undefined && !isCounted(sent));
    const ended = this.#count((sent) => sent.endedMs !== undefined && sent.endedMs > atMs && isCounted(sent));
    return Math.max(this.underWay(), counted + begun - ended);
  }

  #forget(nowMs: number): void {
    for (const sent of this.#sent) {
      if (sent.endedMs !== undefined && nowMs - sent.endedMs > this.#memoryMs) {
        this.#sent.delete(sent);
      }
    }
  }

  #count(isMeant: (sent: Sent) => boolean): number {
    let count = 0;
    for (const sent of this.#sent) {
      count += isMeant(sent) ? 1 : 0;
    }
    return count;
  }
}
