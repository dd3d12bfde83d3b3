// Which of two announcements of one node is the newer one.

/** Where an announcement stands in the life of its node: the epoch counts starts, the sequence announcements. */
export interface RecordVersion {
  readonly epoch: number;
  readonly sequence: number;
}

/** Negative if `a` is older than `b`, 0 if they are the same, positive if it is newer. */
export function compareVersions(a: RecordVersion, b: RecordVersion): number {
  return a.epoch === b.epoch ? a.sequence - b.sequence : a.epoch - b.epoch;
}
