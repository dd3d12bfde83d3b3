// The mesh as the planner wants it, through the management API: who asks for a plan says which model it is about.
import type { Cluster } from '../placement/cluster.ts';

/** The model that is to be placed, as far as nodes can be known to have it. */
export interface WantedFile {
  readonly name: string;
  /** SHA-256 of the weights, lower-case hex; undefined: not known. */
  readonly digest?: string | undefined;
  readonly sizeBytes: number;
  /** Whether its files are on this machine. */
  readonly isHere: boolean;
}

/** Members with their devices, and round trips between them; this machine alone where there is no mesh. */
export type ClusterOf = (wanted: WantedFile, signal: AbortSignal) => Promise<Cluster>;
