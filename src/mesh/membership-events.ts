// What the membership machine is told and what it wants done: the whole contract between the pure core and
// whatever runs it, a node on real sockets or the simulator.
import type { PeerId } from '../trust/keys.ts';
import type { ErrorCode } from '../util/errors.ts';
import type { MeshMessage } from './message.ts';
import type { LocalFacts } from './record.ts';

/** The time of one step. `wallMs` is the machine's own idea of the date, for signing and judging; it may be off or jump. */
export interface Now {
  readonly wallMs: number;
  /** Rises steadily; for waits. */
  readonly monotonicMs: number;
}

export type MembershipEvent =
  /** The first step of all. */
  | { readonly type: 'started' }
  /** There is a link to a peer whose key the transport has proved, and there was none before. */
  | { readonly type: 'linked'; readonly peer: PeerId }
  /** The last link to a peer is gone. */
  | { readonly type: 'unlinked'; readonly peer: PeerId }
  /** What was sent to a peer last may not have arrived; it is still linked. */
  | { readonly type: 'lost'; readonly peer: PeerId }
  /** A `dial` effect came to nothing. */
  | {
      readonly type: 'dial-failed';
      readonly peer: PeerId;
      readonly code: ErrorCode;
      /** False: nothing was tried, for its addresses have failed too often of late. */
      readonly isTried: boolean;
    }
  | { readonly type: 'message'; readonly peer: PeerId; readonly message: MeshMessage }
  /** An envelope came by broadcast, by way of `peer`. */
  | { readonly type: 'heard'; readonly peer: PeerId; readonly envelope: Uint8Array }
  /** What this node says of itself has changed. */
  | { readonly type: 'facts'; readonly facts: LocalFacts }
  /** The time that `nextWakeMs` named has come. */
  | { readonly type: 'woken' }
  /** An envelope made by this node itself (a revocation, a use) is to be taken and spread. */
  | { readonly type: 'publish'; readonly envelopes: readonly Uint8Array[] }
  /** This node sends requests to a member: it wants a link to it for a while, and beats. `addresses` are hearsay. */
  | { readonly type: 'routed'; readonly peer: PeerId; readonly addresses: readonly string[] }
  /** This node leaves the mesh for good. */
  | { readonly type: 'leave' };

export type MembershipEffect =
  /** Messages to one peer arrive in order or not at all; no answer is promised. */
  | { readonly type: 'send'; readonly peer: PeerId; readonly message: MeshMessage }
  | { readonly type: 'dial'; readonly peer: PeerId; readonly addresses: readonly string[] }
  /** After what was sent to it before. */
  | { readonly type: 'disconnect'; readonly peer: PeerId; readonly reason: string }
  /** To every member, by whatever means; may be lost. */
  | { readonly type: 'broadcast'; readonly envelope: Uint8Array }
  /** The memory has changed in a way that must outlive the process (see `Membership.memory`). */
  | { readonly type: 'remember' }
  | { readonly type: 'notice'; readonly notice: MembershipNotice };

/** What the node's owner, its API and its dispatch hear of. */
export type MembershipNotice =
  /** This node is a member: a peer has admitted it, or it made the mesh; or it is one again after `expelled`. */
  | { readonly type: 'joined' }
  /** A peer does not let this node in. */
  | { readonly type: 'refused'; readonly peer: PeerId; readonly code: ErrorCode; readonly message: string }
  /** A peer that this node dialled or was dialled by is not let in. */
  | { readonly type: 'rejected'; readonly peer: PeerId; readonly code: ErrorCode; readonly message: string }
  /** A member can be talked to: both sides have admitted each other. */
  | { readonly type: 'up'; readonly peer: PeerId }
  | { readonly type: 'down'; readonly peer: PeerId }
  /** A neighbour says nothing any more, or its last link broke: it may come back at any moment. */
  | { readonly type: 'silent'; readonly peer: PeerId }
  /** It does, over the link that there was. */
  | { readonly type: 'heard'; readonly peer: PeerId }
  /** Nobody who was asked hears of a silent one: this node does not wait for it any more. */
  | { readonly type: 'gone'; readonly peer: PeerId }
  /** The table of records has changed for these peers. */
  | { readonly type: 'changed'; readonly peers: readonly PeerId[] }
  /** A member's own word that it has left. */
  | { readonly type: 'left'; readonly peer: PeerId }
  /** The certificate of this node was revoked or has run out: it is out of the mesh. */
  | { readonly type: 'expelled'; readonly code: ErrorCode; readonly message: string }
  /** Another live process announces itself with the key of this node: this one must stop. */
  | { readonly type: 'key-conflict' };

/** What a broadcast did: whether it deserves to be passed on. */
export type HearingVerdict = 'accept' | 'ignore' | 'reject';
