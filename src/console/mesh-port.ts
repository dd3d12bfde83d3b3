// What can be seen and done of a node's mesh through the management API: a port that the node fills. Fields are
// added, never renamed.

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
  /** Members alive as far as this node knows, itself included. */
  readonly members: number;
  /** Multiaddrs at which others can dial this node, without its peer id. */
  readonly addresses: readonly string[];
  readonly holdsMeshKey: boolean;
  /** ISO 8601. */
  readonly certificateExpiresAt: string;
  /** Why it is expelled. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** One way to a peer. */
export interface PathView {
  readonly path: string;
  /** Who dialled. */
  readonly direction: 'inbound' | 'outbound';
  readonly remoteAddress: string;
}

export interface PeerView {
  readonly peerId: string;
  readonly name: string;
  readonly role: RoleName;
  readonly state: 'joined' | 'suspect' | 'dead' | 'left';
  /** None: no link to it. */
  readonly paths: readonly PathView[];
  /** Milliseconds, measured for this answer; absent if no answer came in time. */
  readonly rttMs?: number;
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
  /** Absent if the peer would not be measured. */
  readonly bytesPerSecond?: number;
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
  ping(peer: string, count: number, signal: AbortSignal): Promise<PingView>;
  /** Leaves the mesh for good. Rejects with `mesh_key_at_risk` unless `withKey` if the node holds the mesh key. */
  leave(withKey: boolean): Promise<void>;
}
