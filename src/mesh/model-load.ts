// How busy one model of a node is, as its beats say. Whoever chooses between replicas reads it.

export interface ModelLoad {
  /** Its name in the node's record. */
  readonly model: string;
  /** Requests being answered. */
  readonly inFlight: number;
  /** Requests that wait for a slot. */
  readonly queued: number;
  /** Requests that can be answered at once; 0: not known. */
  readonly slots: number;
  /** Generated tokens a second over the last answers, all slots together. Of the precision of a float32. */
  readonly tokensPerSecond: number;
}
