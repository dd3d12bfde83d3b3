// How a start leads to a mesh: made, joined, remembered or refused, each decided without files and sockets.
import { describe, expect, it } from 'vitest';
import { type EntryInit, enterMesh, type MeshEntry } from '../../../src/node/mesh-entry.ts';
import { issueCertificate } from '../../../src/trust/certificate.ts';
import { createInvite, parseToken, type Token } from '../../../src/trust/invite.ts';
import { KeyPair, keyText } from '../../../src/trust/keys.ts';
import type { Role } from '../../../src/trust/roles.ts';
import { seededRandom } from '../../../src/util/random.ts';
import { thrownBy } from '../../support/thrown.ts';

const random = seededRandom(1);
const newKey = (): KeyPair => KeyPair.fromSeed(random.bytes(32));
const dayMs = 24 * 60 * 60_000;
const startMs = Date.UTC(2026, 0, 1);

const meshKey = newKey();
const meshId = keyText(meshKey.publicKey);
const identity = newKey();
const inviter = newKey().peerId;

function tokenOf({
  role = 'serve',
  key = meshKey,
  nowMs = startMs,
}: {
  role?: Role;
  key?: KeyPair;
  nowMs?: number;
} = {}): Token {
  const { token } = createInvite(
    {
      issuer: { meshId: keyText(key.publicKey), key },
      role,
      ttlMs: dayMs,
      maxUses: 3,
      strict: false,
      addresses: [`/ip4/192.0.2.1/tcp/1/p2p/${inviter}`, `/ip4/192.0.2.1/udp/1/quic-v1/p2p/${inviter}`],
    },
    { random, nowMs },
  );
  return parseToken(token);
}

function enter(init: Partial<EntryInit> = {}): MeshEntry {
  return enterMesh({
    identity,
    saved: undefined,
    meshKey: undefined,
    token: undefined,
    asClient: false,
    newMeshKey: () => meshKey.seed,
    nowMs: startMs,
    ...init,
  });
}

/** What a folder holds after such an entry. */
function savedFrom(entry: MeshEntry): NonNullable<EntryInit['saved']> {
  const memory = {
    epoch: 3,
    hasJoined: true,
    certificate: entry.certificate.bytes,
    formers: [],
    proofs: [],
    peers: [],
  };
  return { meshId: entry.meshId, memory };
}

describe('a node without a mesh', () => {
  it('makes one, and is its admin by the mesh key', () => {
    const entry = enter();
    expect(entry).toMatchObject({ meshId, role: 'admin', isFounder: true, bootstrap: [], memory: undefined });
    expect(entry.certificate).toMatchObject({ peerId: identity.peerId, role: 'admin', depth: 1 });
    expect(entry.meshKey?.seed).toEqual(meshKey.seed);
  });

  it('joins by a token, at the addresses it names', () => {
    const entry = enter({ token: tokenOf() });
    expect(entry).toMatchObject({ meshId, role: 'serve', isFounder: false, meshKey: undefined });
    expect(entry.bootstrap).toEqual([
      { peerId: inviter, addresses: ['/ip4/192.0.2.1/tcp/1', '/ip4/192.0.2.1/udp/1/quic-v1'] },
    ]);
  });

  it('joins as a client if it wants to be no more', () => {
    expect(enter({ token: tokenOf(), asClient: true })).toMatchObject({
      role: 'client',
      certificate: { role: 'client' },
    });
  });

  it('joins the mesh whose key was imported as its admin', () => {
    expect(enter({ token: tokenOf(), meshKey: meshKey.seed })).toMatchObject({
      role: 'admin',
      isFounder: false,
    });
  });

  it('cannot be a client of nothing', () => {
    expect(thrownBy(() => enter({ asClient: true }))).toMatchObject({ code: 'usage' });
  });

  it('is refused by a token that has expired, or is not made yet', () => {
    const token = tokenOf();
    expect(thrownBy(() => enter({ token, nowMs: startMs + 2 * dayMs }))).toMatchObject({
      code: 'token_expired',
    });
    expect(thrownBy(() => enter({ token, nowMs: startMs - dayMs }))).toMatchObject({ code: 'clock_skewed' });
  });
});

describe('a node with a mesh', () => {
  const token = tokenOf();
  const saved = savedFrom(enter({ token }));

  it('comes back by what it remembers, without a token', () => {
    expect(enter({ saved })).toMatchObject({ meshId, role: 'serve', isFounder: false, memory: saved.memory });
  });

  it('just starts with the token it joined by, however old', () => {
    const entry = enter({ saved, token, nowMs: startMs + 20 * dayMs });
    expect(entry.memory).toEqual(saved.memory);
    expect(entry.certificate.bytes).toEqual(saved.memory.certificate);
  });

  it('redeems a token of a larger role, and is no member by it until a peer says so', () => {
    const entry = enter({ saved, token: tokenOf({ role: 'admin' }) });
    expect(entry).toMatchObject({ role: 'admin', memory: { epoch: 3, hasJoined: false } });
  });

  it('redeems a fresh invite, for it may have been revoked without knowing', () => {
    const entry = enter({ saved, token: tokenOf() });
    expect(entry.certificate.bytes).not.toEqual(saved.memory.certificate);
    expect(entry.memory?.hasJoined).toBe(false);
  });

  it('keeps what it has if a token would give it less', () => {
    expect(enter({ saved, token: tokenOf({ role: 'client' }) })).toMatchObject({
      role: 'serve',
      memory: saved.memory,
    });
  });

  it('takes a new invite when its certificate has ended', () => {
    const nowMs = startMs + 200 * dayMs;
    expect(enter({ saved, token: tokenOf({ nowMs }), nowMs }).certificate.expiresMs).toBeGreaterThan(nowMs);
  });

  it('does not join another one, and says how to', () => {
    const error = thrownBy(() => enter({ saved, token: tokenOf({ key: newKey() }) }));
    expect(error).toMatchObject({ code: 'mesh_joined', hint: expect.stringContaining('meshnode leave') });
    expect(error.message).toContain(meshId.slice(0, 8));
  });

  it('renews its certificate itself if it holds the mesh key, once that is due', () => {
    const own = savedFrom(enter());
    const early = enter({ saved: own, meshKey: meshKey.seed, nowMs: startMs + 29 * dayMs });
    expect(early.certificate.bytes).toEqual(own.memory.certificate);
    const due = enter({ saved: own, meshKey: meshKey.seed, nowMs: startMs + 31 * dayMs });
    expect(due.certificate.expiresMs).toBe(startMs + 31 * dayMs + 90 * dayMs);
  });

  it('becomes an admin by an imported mesh key', () => {
    expect(enter({ saved, meshKey: meshKey.seed })).toMatchObject({ role: 'admin', memory: saved.memory });
  });

  it('takes the highest rank by an imported mesh key, if it was an admin by another admin', () => {
    const admin = newKey();
    const issued = {
      meshId,
      key: admin,
      certificate: issueCertificate({
        issuer: { meshId, key: meshKey },
        peerKey: admin.publicKey,
        role: 'admin',
        nowMs: startMs,
      }),
    };
    const { bytes } = issueCertificate({
      issuer: issued,
      peerKey: identity.publicKey,
      role: 'admin',
      nowMs: startMs,
    });
    const below = { ...saved, memory: { ...saved.memory, certificate: bytes } };
    expect(enter({ saved: below }).certificate.depth).toBe(2);
    expect(enter({ saved: below, meshKey: meshKey.seed }).certificate.depth).toBe(1);
  });

  it('refuses the membership of another node, and the key of another mesh', () => {
    expect(thrownBy(() => enter({ saved, identity: newKey() }))).toMatchObject({ code: 'config_invalid' });
    expect(thrownBy(() => enter({ saved, meshKey: newKey().seed }))).toMatchObject({
      code: 'config_invalid',
    });
  });
});
