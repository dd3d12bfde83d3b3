// What can be seen and done of a node's mesh through the management API: a port that the node fills. Fields are
// added, never renamed.
import type { ModelStage } from '../serving/model-status.ts';

/** Roles by name, as everywhere between nodes. */
export const roleNames = ['client', 'serve', 'admin'] as const;

export type RoleName = (typeof roleNames)[number];

/** This node's place in its mesh. */
export interface MeshStatus {
  /** 64 hex digits. */
  readonly meshId: string;
  readonly role: RoleName;
  /** `expelled`: it was revoked, or its certificate has run out; it serves on by itself. */
  readonly state: 'joining' | 'member' | 'expelled';
  /** Members alive as far as this node knows, itself and suspects included. */
  readonly members: number;
  /** Those of them that this node does not hear at the moment. */
  readonly suspect: number;
  /** Members that are gone without having left. */
  readonly dead: number;
  /** Multiaddrs at which others can dial this node, without its peer id. */
  readonly addresses: readonly string[];
  readonly holdsMeshKey: boolean;
  /** ISO 8601. */
  readonly certificateExpiresAt: string;
  /** Memory that the living members can use for models, all together. */
  readonly usableBytes: number;
  /** What can be asked for, whoever serves it. */
  readonly models: readonly MeshModelView[];
  /** What was asked for of late and nobody serves, the most wanted first. */
  readonly wanted: readonly WantedModel[];
  /** Why it is expelled. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** A model of the mesh. */
export interface MeshModelView {
  /** What clients ask for: `name@digest` if others have the name with other weights. */
  readonly name: string;
  /** Of the replica that is furthest. */
  readonly stage: ModelStage;
  readonly fraction?: number;
  /** Nodes that serve it or load it. */
  readonly replicas: number;
  readonly digest?: string;
  readonly sizeBytes?: number;
  readonly contextTokens?: number;
  readonly kinds: readonly string[];
}

export interface WantedModel {
  readonly model: string;
  /** Requests of late, each fading from 1. */
  readonly requests: number;
}

/** One way to a peer. */
export interface PathView {
  readonly path: string;
  /** Who dialled. */
  readonly direction: 'inbound' | 'outbound';
  readonly remoteAddress: string;
}

/** How busy a model of a peer is. */
export interface LoadView {
  readonly model: string;
  /** Requests being answered. */
  readonly inFlight: number;
  /** Requests that wait for a slot. */
  readonly queued: number;
  /** Absent: not known. */
  readonly slots?: number;
  /** Over the last answers, all slots together; absent while it has nothing to do. */
  readonly tokensPerSecond?: number;
}

/** The last attempt to get into contact with a peer that came to nothing. */
export interface ContactFailure {
  readonly code: string;
  readonly message: string;
  readonly agoMs: number;
  /** Where it was dialled, and what came of each; none if it was reached and did not let this node in, or was not let in. */
  readonly attempts: readonly { readonly address: string; readonly reason: string }[];
}

export interface PeerView {
  readonly peerId: string;
  readonly name: string;
  readonly role: RoleName;
  readonly state: 'joined' | 'suspect' | 'dead' | 'left';
  /** None: no link to it. */
  readonly paths: readonly PathView[];
  /** Round trip by the beats of the last minute, milliseconds: median and 95th percentile; absent if nothing was measured. */
  readonly rttMs?: number;
  readonly rttP95Ms?: number;
  /** How long ago it said anything; absent of who is no neighbour. */
  readonly heardMsAgo?: number;
  /** Its models, by its last beat; absent before the first, and of who is no neighbour. */
  readonly load?: readonly LoadView[];
  readonly loadAgeMs?: number;
  /** Since the last link: absent if all is well. */
  readonly contactFailure?: ContactFailure;
  /**
   * How far its clock is ahead of this machine's, as of its last greeting: low by the way from there to here, less
   * than a round trip as a rule. Absent if it has never greeted this node.
   */
  readonly clockAheadMs?: number;
  readonly clockAgeMs?: number;
  /** ISO 8601. */
  readonly certificateExpiresAt: string;
  /** Build of llama.cpp's RPC worker by which it lends its devices; absent: it lends none. */
  readonly rpcBuild?: string;
  readonly version: string;
  readonly features: readonly string[];
  readonly addresses: readonly string[];
  readonly devices: readonly { name: string; kind: string; totalBytes: number; usableBytes: number }[];
  readonly models: readonly { name: string; digest?: string; state?: string; kind?: string }[];
}

export interface InviteRequest {
  readonly role: RoleName;
  readonly ttlMs: number;
  readonly uses: number;
  /** Only this node may admit by it. */
  readonly strict: boolean;
}

export interface InviteView {
  readonly token: string;
  /** What it is revoked by: the public half of its key, hex. */
  readonly invite: string;
  readonly role: RoleName;
  readonly uses: number;
  readonly strict: boolean;
  /** ISO 8601. */
  readonly expiresAt: string;
}

/** What a revocation has put out. */
export interface RevokedView {
  readonly peer?: { readonly peerId: string; readonly name: string };
  /** An invite that admits nobody any more. */
  readonly invite?: string;
  /** Signed statements that were sent out, uses signed anew included. */
  readonly statements: number;
}

/** How one path to a peer measures. */
export interface PathFigures extends PathView {
  readonly rttMs: { readonly p50: number; readonly least: number; readonly most: number };
  /** Absent if the peer would not be measured, or was not to be. */
  readonly bytesPerSecond?: number;
}

export interface PingRequest {
  readonly peer: string;
  /** Round trips on each path. */
  readonly count: number;
  /** False: bytes a second are not measured. */
  readonly throughput: boolean;
}

export interface PingView {
  readonly peerId: string;
  readonly name: string;
  readonly count: number;
  readonly paths: readonly PathFigures[];
}

/** `peer` is an id, a unique beginning or end of one, or a name. */
export interface ManagedMesh {
  peers(signal: AbortSignal): Promise<readonly PeerView[]>;
  /** Throws `role_forbidden` or `invalid_request`. */
  invite(request: InviteRequest): InviteView;
  /** `target` is a peer, an invite or its token. Throws `peer_unknown` or `role_forbidden`. */
  revoke(target: string): RevokedView;
  /** Rejects with `peer_unknown` or `peer_unreachable`. */
  ping(request: PingRequest, signal: AbortSignal): Promise<PingView>;
  /** Leaves the mesh for good. Rejects with `mesh_key_at_risk` unless `withKey` if the node holds the mesh key. */
  leave(withKey: boolean): Promise<void>;
}
