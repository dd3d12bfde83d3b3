// The messages of `/meshnode/join/1`, `/meshnode/gossip/1` and `/meshnode/heartbeat/1` as plain values. What follows on
// what is the membership machine's; their bytes are message-codec.ts's.
import type { MeshId, PeerId } from '../trust/keys.ts';
import type { ItemVersion } from './digest.ts';
import type { ModelLoad } from './model-load.ts';

export type MeshMessage =
  | Hello
  | Admitted
  | Refused
  | Digest
  | Buckets
  | Entries
  | Want
  | Items
  | Renewal
  | Beat
  | BeatAnswer
  | Probe
  | ProbeAnswer
  /** Of a later version; to be ignored. */
  | { readonly type: 'unknown' };

/** Who I am, to a peer whose key the transport has proved. */
export interface Hello {
  readonly type: 'hello';
  readonly protocol: number;
  readonly meshId: MeshId;
  /** Encoded Certificate; not yet verified. */
  readonly certificate: Uint8Array;
  /** Unix time in milliseconds by the sender's clock. */
  readonly clockMs: number;
  /** Encoded Envelopes: uses and revocations that bear on the certificate. */
  readonly proofs: readonly Uint8Array[];
  /** Your hello has come here. */
  readonly heard: boolean;
}

/** You are a member to me. */
export interface Admitted {
  readonly type: 'admitted';
  /** Encoded Envelopes: the use of your invite, revocations. */
  readonly proofs: readonly Uint8Array[];
  /** Encoded Envelope: the newest record of you that I know. */
  readonly yourRecord?: Uint8Array;
  readonly peers: readonly PeerAddresses[];
  readonly clockMs: number;
}

/** Where a member can be dialled: multiaddrs without `/p2p`. */
export interface PeerAddresses {
  readonly peerId: PeerId;
  readonly addresses: readonly string[];
}

/** You are no member to me. */
export interface Refused {
  readonly type: 'refused';
  /** Of the error table of the sender's version. */
  readonly code: string;
  /** For a person. Written cut to meshMessageLimits.textBytes and without control characters. */
  readonly message: string;
  /** Encoded Envelopes: the uses and revocations by which your certificate does not stand. */
  readonly proofs: readonly Uint8Array[];
}

/** Everything that I hold, as ItemDigest sums it up: the opening of an exchange. */
export interface Digest {
  readonly type: 'digest';
  /** 8 bytes. */
  readonly root: Uint8Array;
  readonly items: number;
}

/** My 256 buckets; the answer to a digest that differs. */
export interface Buckets {
  readonly type: 'buckets';
  /** 2048 bytes. */
  readonly hashes: Uint8Array;
}

/** All that I hold in some buckets. */
export interface Entries {
  readonly type: 'entries';
  /** Which buckets: a bit each, 32 bytes. */
  readonly buckets: Uint8Array;
  readonly entries: readonly ItemVersion[];
}

/** Send me these. */
export interface Want {
  readonly type: 'want';
  /** Of 16 bytes each. */
  readonly keys: readonly Uint8Array[];
}

/** What was wanted, or what you lack. */
export interface Items {
  readonly type: 'items';
  /** Encoded Envelopes. */
  readonly envelopes: readonly Uint8Array[];
}

/** Your certificate made anew, before the old one ends. */
export interface Renewal {
  readonly type: 'renewal';
  /** Encoded Certificate; not yet verified. */
  readonly certificate: Uint8Array;
}

/** I am here, and this busy. */
export interface Beat {
  readonly type: 'beat';
  /** 8 random bytes, which the answer returns. */
  readonly nonce: Uint8Array;
  /** Models that have something to do; the others are idle. */
  readonly loads: readonly ModelLoad[];
}

/** Your beat has come. */
export interface BeatAnswer {
  readonly type: 'beat-answer';
  readonly nonce: Uint8Array;
  readonly loads: readonly ModelLoad[];
}

/** Does this member answer you? I hear nothing of it. */
export interface Probe {
  readonly type: 'probe';
  readonly nonce: Uint8Array;
  readonly subject: PeerId;
}

/** It does. */
export interface ProbeAnswer {
  readonly type: 'probe-answer';
  readonly nonce: Uint8Array;
}
