// What a member must not forget when its process ends.
import type { PeerAddresses } from './message.ts';

export interface MembershipMemory {
  /** The epoch of the last announcement. */
  readonly epoch: number;
  /** A peer has admitted this node before, or it made the mesh. */
  readonly hasJoined: boolean;
  /** This node's Certificate, encoded. */
  readonly certificate: Uint8Array;
  /** Those it had before and could fall back on, encoded. */
  readonly formers: readonly Uint8Array[];
  /** Uses and revocations, as Envelopes. */
  readonly proofs: readonly Uint8Array[];
  /** Members to dial at the next start, best first. */
  readonly peers: readonly PeerAddresses[];
}
