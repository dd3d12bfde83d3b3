// How a node comes to its mesh at a start: by what it remembers, by a token, or by making one. Decides and signs;
// touches no file and no network, so a join that fails leaves nothing behind.
import type { MembershipMemory } from '../mesh/membership-memory.ts';
import type { PeerAddresses } from '../mesh/message.ts';
import { type Certificate, type Issuer, issueCertificate, renewalDue } from '../trust/certificate.ts';
import { readEnvelope } from '../trust/envelope.ts';
import { redeem, type Token } from '../trust/invite.ts';
import { checkSignature, KeyPair, keyText, type MeshId } from '../trust/keys.ts';
import { MeshTrust } from '../trust/mesh-trust.ts';
import { includesRole, type Role } from '../trust/roles.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { SavedMembership } from './mesh-folder.ts';

export interface EntryInit {
  readonly identity: KeyPair;
  readonly saved: SavedMembership | undefined;
  /** Seed of the mesh key, if the folder holds one. */
  readonly meshKey: Uint8Array | undefined;
  readonly token: Token | undefined;
  readonly asClient: boolean;
  /** For the key of a mesh that is made. */
  readonly newMeshKey: () => Uint8Array;
  readonly nowMs: number;
}

/** All that a membership begins with. */
export interface MeshEntry {
  readonly meshId: MeshId;
  readonly trust: MeshTrust;
  readonly certificate: Certificate;
  /** What the node wants to be; never more than its certificate says. */
  readonly role: Role;
  readonly isFounder: boolean;
  /** The mesh key, if this node holds it. */
  readonly meshKey: KeyPair | undefined;
  readonly bootstrap: readonly PeerAddresses[];
  readonly memory: MembershipMemory | undefined;
}

/**
 * Throws `mesh_joined` for a token of another mesh than the folder's, `token_expired`, `clock_skewed`,
 * `config_invalid` if what is remembered cannot be this node's, or `usage` for a client without a mesh.
 */
export function enterMesh(init: EntryInit): MeshEntry {
  const { saved, token, asClient } = init;
  const meshKey = init.meshKey === undefined ? undefined : KeyPair.fromSeed(init.meshKey);
  const keyMeshId = meshKey === undefined ? undefined : keyText(meshKey.publicKey);
  const meshId = saved?.meshId ?? keyMeshId;
  if (keyMeshId !== undefined && keyMeshId !== meshId) {
    throw new MeshnodeError('config_invalid', 'mesh.key in the data folder is the key of another mesh.', {
      hint: 'Import the key of this mesh again, or delete the file.',
    });
  }
  if (token !== undefined && meshId !== undefined && token.meshId !== meshId) {
    throw new MeshnodeError(
      'mesh_joined',
      `The token is for the mesh ${shortMeshId(token.meshId)}; this data folder belongs to ${shortMeshId(meshId)}.`,
    );
  }
  if (saved !== undefined) {
    return rejoin(init, saved, meshKey);
  }
  if (token !== undefined) {
    return join(init, token, meshKey);
  }
  if (asClient) {
    throw new MeshnodeError('usage', 'A client has no mesh of its own.', {
      hint: 'Join one with --join TOKEN, or leave --client out.',
    });
  }
  return found(init, meshKey ?? KeyPair.fromSeed(init.newMeshKey()));
}

/** Who makes members with this certificate or, if it is held, the mesh key; undefined: the node may not. */
export function issuerOf(
  { meshId, meshKey }: Pick<MeshEntry, 'meshId' | 'meshKey'>,
  identity: KeyPair,
  certificate: Certificate,
): Issuer | undefined {
  if (meshKey !== undefined) {
    return { meshId, key: meshKey };
  }
  const isIssuer = certificate.role === 'admin' && certificate.depth === 1;
  return isIssuer ? { meshId, key: identity, certificate } : undefined;
}

/** A mesh's id as people compare it. */
export function shortMeshId(meshId: MeshId): string {
  return meshId.slice(0, 8);
}

function found(init: EntryInit, meshKey: KeyPair): MeshEntry {
  const meshId = keyText(meshKey.publicKey);
  const trust = newTrust(meshId);
  const certificate = issueOwn(init, meshKey);
  return { ...common(init, certificate), meshId, trust, isFounder: true, meshKey, memory: undefined };
}

function join(init: EntryInit, token: Token, meshKey: KeyPair | undefined): MeshEntry {
  const { meshId } = token;
  const certificate = meshKey === undefined ? redeemFor(init, token) : issueOwn(init, meshKey);
  const trust = newTrust(meshId);
  return { ...common(init, certificate), meshId, trust, isFounder: false, meshKey, memory: undefined };
}

function rejoin(init: EntryInit, saved: SavedMembership, meshKey: KeyPair | undefined): MeshEntry {
  const { meshId, memory } = saved;
  const trust = newTrust(meshId);
  for (const proof of memory.proofs) {
    offerQuietly(trust, proof, init.nowMs);
  }
  const held = trust.certificate(memory.certificate);
  if (held.peerId !== init.identity.peerId) {
    throw new MeshnodeError('config_invalid', 'The membership in the data folder is that of another node.', {
      hint: 'Put identity.key and mesh.json of one node together, or run `meshnode leave`.',
    });
  }
  const parts = { meshId, trust, isFounder: false, meshKey };
  if (meshKey !== undefined) {
    const renews = renewalDue(held, init.nowMs) || held.role !== 'admin' || held.depth > 1;
    return { ...common(init, renews ? issueOwn(init, meshKey) : held), ...parts, memory };
  }
  if (init.token === undefined || isEnough(held, init.token, init, trust)) {
    return { ...common(init, held), ...parts, memory };
  }
  // A peer has to admit the new certificate before the node is a member by it.
  const anew = { ...memory, formers: [], hasJoined: false };
  return { ...common(init, redeemFor(init, init.token)), ...parts, memory: anew };
}

/**
 * Whether the token brings nothing that the certificate at hand does not. A fresh invite may be the answer to a
 * revocation that this node was not told of; an old one stays in the flags of a node that is started again.
 */
function isEnough(
  held: Certificate,
  token: Token,
  { asClient, nowMs }: EntryInit,
  trust: MeshTrust,
): boolean {
  const wanted = asClient ? 'client' : token.role;
  const isFresh = held.invite?.key !== token.inviteKey && nowMs <= token.expiresMs;
  if (!includesRole(held.role, wanted)) {
    return false;
  }
  return !isFresh || (held.role !== wanted && trust.judge(held, nowMs).standing);
}

function redeemFor({ identity, asClient, nowMs }: EntryInit, token: Token): Certificate {
  return redeem(token, identity, { nowMs, ...(asClient ? { role: 'client' } : {}) });
}

function issueOwn({ identity, nowMs }: EntryInit, meshKey: KeyPair): Certificate {
  return issueCertificate({
    issuer: { meshId: keyText(meshKey.publicKey), key: meshKey },
    peerKey: identity.publicKey,
    role: 'admin',
    nowMs,
  });
}

function common({ token, asClient, identity }: EntryInit, certificate: Certificate) {
  return {
    certificate,
    role: asClient ? ('client' as const) : certificate.role,
    bootstrap: token === undefined ? [] : bootstrapOf(token, identity.peerId),
  };
}

/** The nodes that a token names, with the addresses of each; never this one. */
function bootstrapOf(token: Token, self: string): PeerAddresses[] {
  const byPeer = Map.groupBy(token.addresses, ({ peerId }) => peerId);
  byPeer.delete(self);
  return [...byPeer].map(([peerId, addresses]) => ({
    peerId,
    addresses: addresses.map(({ address }) => address.slice(0, address.lastIndexOf('/p2p/'))),
  }));
}

function newTrust(meshId: MeshId): MeshTrust {
  return new MeshTrust({ meshId, check: checkSignature });
}

/** What is remembered was verified once; what has ended since is no loss. */
function offerQuietly(trust: MeshTrust, bytes: Uint8Array, nowMs: number): void {
  try {
    trust.offer(readEnvelope(bytes, trust.meshId), nowMs);
  } catch {
    // Not taken: the membership is judged without it.
  }
}
